//! The reads of namespaces whose labels or uid decide about requests.

use std::collections::BTreeMap;

use super::Moment;
use crate::grants::Namespace;

/// The reads of namespaces.
#[derive(Debug, Default)]
pub(super) struct NamespaceReads {
    /// Namespaces as they were read, `None` for those that do not exist, and the time before each
    /// read.
    read: BTreeMap<String, (Option<Namespace>, Moment)>,
    /// The reads in flight, and whether the watch has delivered the namespace since they were sent.
    in_flight: BTreeMap<String, bool>,
    /// The time before each read that failed.
    failed: BTreeMap<String, Moment>,
}

impl NamespaceReads {
    /// Returns a namespace as it was read.
    pub(super) fn namespace(&self, name: &str) -> Option<Option<&Namespace>> {
        self.read.get(name).map(|(namespace, _)| namespace.as_ref())
    }

    /// Returns the time before the last read of a namespace.
    pub(super) fn confirmed(&self, name: &str) -> Option<Moment> {
        self.read.get(name).map(|(_, sent)| *sent)
    }

    /// Returns the time before the last read of a namespace, if it failed.
    pub(super) fn failed(&self, name: &str) -> Option<Moment> {
        self.failed.get(name).copied()
    }

    /// Takes in a namespace from the watch, `None` if it is deleted. Forgets a read that returned
    /// another state.
    pub(super) fn delivered(&mut self, name: &str, namespace: Option<&Namespace>) {
        if let Some(delivered) = self.in_flight.get_mut(name) {
            *delivered = true;
        }
        if self.namespace(name).is_some_and(|read| read != namespace) {
            self.read.remove(name);
        }
    }

    /// Records that a read is about to be sent.
    pub(super) fn sent(&mut self, name: &str) {
        self.in_flight.insert(name.to_owned(), false);
    }

    /// Takes in what a read returned. If the watch has delivered another state since the read was
    /// sent, either may be the newer one, so that the read confirms nothing.
    pub(super) fn returned(
        &mut self,
        name: &str,
        namespace: Option<Namespace>,
        watched: Option<&Namespace>,
        sent: Moment,
    ) {
        self.failed.remove(name);
        let is_overtaken = self.in_flight.remove(name) == Some(true) && watched != namespace.as_ref();
        if !is_overtaken {
            self.read.insert(name.to_owned(), (namespace, sent));
        }
    }

    /// Records that a read failed.
    pub(super) fn ended_without_response(&mut self, name: &str, sent: Moment) {
        self.in_flight.remove(name);
        self.failed.insert(name.to_owned(), sent);
    }

    /// Forgets the reads that are of no use any more.
    pub(super) fn retain(&mut self, is_recent: impl Fn(Moment) -> bool) {
        self.read.retain(|_, (_, sent)| is_recent(*sent));
        self.failed.retain(|_, sent| is_recent(*sent));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.read.len() + self.in_flight.len() + self.failed.len()
    }
}
