//! Orders the pending requests of each namespace, oldest first, as the controller's watch shows
//! them.

use std::collections::{BTreeMap, BTreeSet};

use cognito_reset_api::PasswordResetRequest;
use jiff::Timestamp;
use kube::ResourceExt;

/// A request, by namespace and name.
pub type NamespacedName = (String, String);

/// The position of a request in its namespace: by its creation, then by its name.
pub(super) type Place = (Timestamp, String);

/// Returns a request's position.
pub(super) fn place(request: &PasswordResetRequest) -> Place {
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (created, request.name_any())
}

/// The parts of a pending request that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) created: Timestamp,
    pub(super) user_pool_id: String,
    pub(super) username: String,
}

impl Pending {
    pub(super) fn of(request: &PasswordResetRequest) -> Self {
        Self {
            created: place(request).0,
            user_pool_id: request.spec.user_pool_id.clone(),
            username: request.spec.username.clone(),
        }
    }
}

/// The pending requests that one grant matches, by namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(BTreeMap<String, BTreeSet<Place>>);

impl Queue {
    pub(super) fn insert(&mut self, namespace: &str, place: Place) {
        match self.0.get_mut(namespace) {
            Some(places) => {
                places.insert(place);
            }
            None => {
                self.0.insert(namespace.to_owned(), [place].into());
            }
        }
    }

    /// Removes a request, and returns the one that is now among the first `limit` and was not
    /// before.
    pub(super) fn remove(&mut self, namespace: &str, place: &Place, limit: usize) -> Option<String> {
        let places = self.0.get_mut(namespace)?;
        if !places.remove(place) {
            return None;
        }
        let last = places.iter().nth(limit.saturating_sub(1));
        let moved_up = last.filter(|last| *last > place).map(|(_, name)| name.clone());
        if places.is_empty() {
            self.0.remove(namespace);
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
