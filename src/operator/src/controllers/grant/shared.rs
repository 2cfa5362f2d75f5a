//! Shares the index of grants between the tasks of the operator.

use cognito_reset_api::PasswordResetRequest;
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{Evaluation, GrantIndex, NamespacedName},
};
use kube::ResourceExt;
use parking_lot::RwLock;
use tokio::sync::watch;

/// A [`GrantIndex`] behind a lock, with a notification of its changes.
///
/// The index is only lent to closures, so that the lock is never held while something is awaited.
#[derive(Debug)]
pub(crate) struct SharedGrants {
    index: RwLock<GrantIndex>,
    changes: watch::Sender<()>,
    status_changes: watch::Sender<()>,
    hold_status_changes: watch::Sender<()>,
}

impl Default for SharedGrants {
    fn default() -> Self {
        let [changes, status_changes, hold_status_changes] = std::array::from_fn(|_| watch::Sender::new(()));
        Self { index: RwLock::default(), changes, status_changes, hold_status_changes }
    }
}

impl SharedGrants {
    /// Returns a receiver that is notified of every change that may affect which requests are
    /// allowed, except for pending requests.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
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

    /// Changes grants, holds or namespaces. If the closure returns true, all receivers are notified.
    pub(crate) fn change(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        if self.update(change) {
            self.changes.send_replace(());
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
    pub(crate) fn change_pending(
        &self,
        change: impl FnOnce(&mut GrantIndex) -> Vec<NamespacedName>,
    ) -> Vec<NamespacedName> {
        let (moved_up, has_holds) = self.update(|index| (change(index), index.has_holds()));
        if has_holds {
            self.hold_status_changes.send_replace(());
        }
        moved_up
    }

    /// Evaluates grants and holds. A user that was read is remembered, if a hold or a grant asks for
    /// users.
    #[must_use]
    pub(crate) fn evaluate(&self, request: &PasswordResetRequest, user: &KnownUser) -> Evaluation {
        if *user != KnownUser::NotRead && self.read(GrantIndex::asks_for_users) {
            let name = (request.namespace().unwrap_or_default(), request.name_any());
            if self.update(|index| index.learn_user(&name, user)) {
                self.hold_status_changes.send_replace(());
            }
        }
        self.read(|index| index.evaluate(request, user))
    }
}
