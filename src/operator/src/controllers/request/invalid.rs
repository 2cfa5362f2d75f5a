//! Requests that cannot be parsed, and are not reported yet because too many others wait for that.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use cognito_reset_core::dispatch::key::Key;
use kube::ResourceExt;

use crate::{controllers::invalid_objects::InvalidObjects, kube::trimmed::TrimmedRequest};

/// The pause before these requests are reported.
const REPORT_AGAIN: Duration = Duration::from_secs(300);

/// The requests that are not reported yet.
pub(super) struct Unreported {
    reporter: InvalidObjects,
    requests: BTreeMap<Key, TrimmedRequest>,
    report_at: Option<Instant>,
}

impl Unreported {
    pub(super) const fn new(reporter: InvalidObjects) -> Self {
        Self { reporter, requests: BTreeMap::new(), report_at: None }
    }

    /// Reports a request that cannot be parsed, now or later.
    pub(super) fn report(&mut self, key: Key, object: TrimmedRequest) {
        if let Err(invalid) = &object.0.0
            && !self.reporter.request(&object.0, &invalid.error)
        {
            self.requests.insert(key, object);
            self.report_at.get_or_insert_with(|| Instant::now() + REPORT_AGAIN);
        }
    }

    /// Forgets a request that can be parsed, or is gone.
    pub(super) fn forget(&mut self, key: Key) {
        self.requests.remove(&key);
    }

    /// Forgets all requests but these.
    pub(super) fn retain(&mut self, keys: &HashSet<Key>) {
        self.requests.retain(|key, _| keys.contains(key));
    }

    /// Returns the requests of all other namespaces.
    pub(super) fn outside(&self, namespace: &str) -> impl Iterator<Item = Key> {
        let elsewhere =
            self.requests.iter().filter(move |(_, object)| object.namespace().as_deref() != Some(namespace));
        elsewhere.map(|(key, _)| *key)
    }

    /// Returns the time of [`Self::report_again`].
    pub(super) const fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Reports the requests that could not be reported before, if it is time.
    pub(super) fn report_again(&mut self) {
        if self.report_at.is_some_and(|time| time <= Instant::now()) {
            self.report_at = None;
            for (key, object) in std::mem::take(&mut self.requests) {
                self.report(key, object);
            }
        }
    }
}
