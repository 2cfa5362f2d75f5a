//! Shares the index of grants between the tasks of the operator.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cognito_reset_api::{PasswordResetRequest, UserStateSource};
use cognito_reset_core::{
    action::user_names::KnownUser,
    dispatch::key::Key,
    grants::{Evaluation, GrantIndex, Learned, Moment},
    watched_namespaces::WatchedNamespaces,
};
use futures::channel::mpsc;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::{sync::watch, time::Instant};

/// A [`GrantIndex`] behind a lock, with a notification of its changes.
///
/// The index is only lent to closures, so that the lock is never held while something is awaited.
#[derive(Debug)]
pub(crate) struct SharedGrants {
    index: RwLock<GrantIndex>,
    /// The start of the monotonic clock.
    started: Instant,
    /// True if a request waits until grants and holds are confirmed.
    waited_for: AtomicBool,
    /// Requests that may proceed because a user was read.
    moved_up: Mutex<Option<mpsc::UnboundedSender<Key>>>,
    changes: watch::Sender<()>,
    status_changes: watch::Sender<()>,
    hold_status_changes: watch::Sender<()>,
}

impl Default for SharedGrants {
    fn default() -> Self {
        Self::new(Duration::ZERO, UserStateSource::default(), WatchedNamespaces::All)
    }
}

impl SharedGrants {
    /// Creates an empty index, in which a confirmation is valid for this time, grants without a
    /// source of their own have this one, and pending requests are those of these namespaces.
    #[must_use]
    pub(crate) fn new(fresh_for: Duration, default_source: UserStateSource, watched: WatchedNamespaces) -> Self {
        let index = GrantIndex::new(fresh_for).with_default_source(default_source).with_watched_namespaces(watched);
        let [changes, status_changes, hold_status_changes] = std::array::from_fn(|_| watch::Sender::new(()));
        Self {
            index: RwLock::new(index),
            started: Instant::now(),
            waited_for: AtomicBool::new(false),
            moved_up: Mutex::default(),
            changes,
            status_changes,
            hold_status_changes,
        }
    }

    /// Returns the time by which confirmations are dated.
    #[must_use]
    pub(crate) fn now(&self) -> Moment {
        Moment { monotonic: self.started.elapsed(), wall: Timestamp::now() }
    }

    /// Returns true if grants and holds were confirmed recently enough.
    #[must_use]
    pub(crate) fn is_confirmed(&self) -> bool {
        self.read(|index| index.is_confirmed(self.now()))
    }

    /// Returns true if the last confirmation is recent enough, except for events since.
    #[must_use]
    pub(crate) fn is_confirming(&self) -> bool {
        self.read(|index| index.is_confirming(self.now()))
    }

    /// Returns the age of the last confirmation; `None` if there was none.
    #[must_use]
    pub(crate) fn confirmation_age(&self) -> Option<Duration> {
        self.read(|index| index.confirmation_age(self.now()))
    }

    /// Returns the time for which a confirmation is valid.
    #[must_use]
    pub(crate) fn fresh_for(&self) -> Duration {
        self.read(GrantIndex::fresh_for)
    }

    /// Returns the namespace of a request if its labels have to be read first.
    #[must_use]
    pub(crate) fn namespace_to_read(&self, request: &PasswordResetRequest) -> Option<String> {
        self.read(|index| index.namespace_to_read(request, self.now()))
    }

    /// Lets requests be looked at again if any was evaluated by grants that were not confirmed.
    pub(crate) fn wake_unconfirmed(&self) {
        if self.waited_for.swap(false, Ordering::Relaxed) {
            self.changes.send_replace(());
        }
    }

    /// Returns a receiver that is notified of every change that may affect which requests are
    /// allowed, except for pending requests.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns the requests that may proceed from now on because the user of an earlier one was
    /// read, for one receiver at a time.
    #[must_use]
    pub(crate) fn moved_up(&self) -> mpsc::UnboundedReceiver<Key> {
        let (sender, moved_up) = mpsc::unbounded();
        *self.moved_up.lock() = Some(sender);
        moved_up
    }

    /// Returns a receiver that is notified of every change that may affect the status of a grant.
    #[must_use]
    pub(crate) fn status_changes(&self) -> watch::Receiver<()> {
        self.status_changes.subscribe()
    }

    /// Returns a receiver that is notified of every change that may affect the status of a hold.
    #[must_use]
    pub(crate) fn hold_status_changes(&self) -> watch::Receiver<()> {
        self.hold_status_changes.subscribe()
    }

    /// Returns a value from the index.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&GrantIndex) -> T) -> T {
        read(&self.index.read())
    }

    /// Changes the index where it affects neither which requests are allowed nor the status of a
    /// grant or hold, and notifies nobody.
    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut GrantIndex) -> T) -> T {
        update(&mut self.index.write())
    }

    /// Changes grants or holds. If the closure returns true, all receivers are
    /// notified.
    pub(crate) fn change(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        if self.update(change) {
            self.changes.send_replace(());
            self.status_changes.send_replace(());
            self.hold_status_changes.send_replace(());
        }
    }

    /// Changes namespaces, whose number the statuses of grants contain. If the closure returns
    /// true, the receivers of status changes are notified, and the others only if labels or uids
    /// of namespaces decide about requests.
    pub(crate) fn change_namespaces(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        let (is_changed, decide) = self.update(|index| (change(index), index.selects_by_namespaces()));
        if is_changed && decide {
            self.changes.send_replace(());
        }
        if is_changed {
            self.status_changes.send_replace(());
            self.hold_status_changes.send_replace(());
        }
    }

    /// Changes what the status of a grant is made from. If the closure returns true, the receivers
    /// of status changes are notified.
    pub(crate) fn change_status(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        if self.update(change) {
            self.status_changes.send_replace(());
        }
    }

    /// Changes the pending requests, which the statuses of holds count. Returns the requests that
    /// may proceed as a result.
    pub(crate) fn change_pending(&self, change: impl FnOnce(&mut GrantIndex) -> Vec<Key>) -> Vec<Key> {
        let (moved_up, has_holds) = self.update(|index| (change(index), index.has_holds()));
        if has_holds {
            self.hold_status_changes.send_replace(());
        }
        moved_up
    }

    /// Evaluates grants and holds. A user that was read is remembered, if a hold or a grant asks
    /// for users.
    #[must_use]
    pub(crate) fn evaluate(&self, request: &PasswordResetRequest, user: &KnownUser) -> Evaluation {
        if *user != KnownUser::NotRead && self.read(GrantIndex::asks_for_users) {
            let Learned { is_new, moved_up } = self.update(|index| index.learn_user(Key::of(request), user));
            if is_new {
                self.hold_status_changes.send_replace(());
            }
            if let Some(sender) = &*self.moved_up.lock() {
                // Nobody listens any more while stopping.
                moved_up.into_iter().for_each(|key| drop(sender.unbounded_send(key)));
            }
        }
        let now = self.now();
        let evaluation = self.read(|index| index.evaluate_confirmed(request, user, now));
        if !evaluation.confirmed && !self.is_confirmed() {
            self.waited_for.store(true, Ordering::Relaxed);
        }
        evaluation
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cognito_reset_core::{action::user_names::UserNames, grants::Watched, shared::Shared};
    use futures::{FutureExt, StreamExt};
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn request_moves_up_when_an_earlier_one_is_of_another_user() -> Result<(), serde_json::Error> {
        let shared = SharedGrants::default();
        let spec = json!({
            "userPoolID": "eu-west-1_Example01", "namespaces": ["support"], "usernamePattern": "alice",
            "maxPendingPerNamespace": 1,
        });
        let grant = from_value(json!({ "metadata": { "name": "limited" }, "spec": spec }))?;
        shared.update(|index| index.put_grant(grant));
        let request = |name: &str| {
            let spec = json!({ "userPoolID": "eu-west-1_Example01", "username": "7" });
            from_value(json!({ "metadata": { "name": name, "namespace": "support", "uid": name }, "spec": spec }))
        };
        let (first, second) = (request("a")?, request("b")?);
        for request in [&first, &second] {
            let watched = Arc::new(Watched::of(request, &mut Shared::default()));
            shared.update(|index| index.put_pending(&watched));
        }
        let mut moved_up = shared.moved_up();
        let bob = KnownUser::Read(UserNames { username: Some("bob".into()), ..UserNames::default() });
        assert!(shared.evaluate(&second, &KnownUser::NotRead).authorization.is_err());
        assert!(shared.evaluate(&first, &bob).authorization.is_err());
        assert_eq!(moved_up.next().now_or_never(), Some(Some(Key::of_uid("b"))));
        assert!(shared.evaluate(&second, &KnownUser::NotRead).authorization.is_ok());
        Ok(())
    }
}
