//! Orders the pending requests of each namespace, oldest first, as the controller's watch shows
//! them.

use std::{collections::BTreeMap, sync::Arc};

use cognito_reset_api::PasswordResetRequest;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{dispatch::key::Key, grants::Watched};

/// The position of a request in its namespace: by its creation, then by its name.
pub(super) type Place = (Timestamp, Arc<str>);

/// Returns a request's position.
pub(super) fn place(request: &PasswordResetRequest) -> Place {
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (created, request.name_any().into())
}

/// The pending requests that one grant matches, by namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(BTreeMap<Arc<str>, BTreeMap<Place, Key>>);

impl Queue {
    pub(super) fn insert(&mut self, request: &Watched) {
        let places = self.0.entry(Arc::clone(&request.namespace)).or_default();
        places.insert(request.place(), request.key);
    }

    /// Removes a request, and returns the one that is now among the first `limit` and was not
    /// before.
    pub(super) fn remove(&mut self, request: &Watched, limit: usize) -> Option<Key> {
        let place = request.place();
        let places = self.0.get_mut(&request.namespace)?;
        // A request of the same name that was created since may have the place by now.
        if places.get(&place) != Some(&request.key) {
            return None;
        }
        places.remove(&place);
        let last = places.iter().nth(limit.saturating_sub(1));
        let moved_up = last.filter(|(last, _)| **last > place).map(|(_, key)| *key);
        if places.is_empty() {
            self.0.remove(&request.namespace);
        }
        moved_up
    }

    /// Returns true if fewer than `limit` requests are before this position. Reads at most `limit`
    /// of them.
    pub(super) fn is_among_first(&self, namespace: &str, place: &Place, limit: usize) -> bool {
        let before = self.0.get(namespace).map_or(0, |places| places.range(..place).take(limit).count());
        before < limit
    }
}
