//! Shares the index of grants between the tasks of the operator.

use std::collections::BTreeSet;

use cognito_reset_api::{PasswordResetRequest, UserPoolGrant};
use cognito_reset_core::{
    action::port::SessionFailure,
    grants::{Evaluation, GrantIndex, GrantRole, Labels, NamespacedName, StaleStatus},
};
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::watch;

/// A [`GrantIndex`] behind a lock, with a notification of its changes.
#[derive(Debug)]
pub struct SharedGrants {
    index: RwLock<GrantIndex>,
    changes: watch::Sender<()>,
    status_changes: watch::Sender<()>,
}

impl Default for SharedGrants {
    fn default() -> Self {
        Self { index: RwLock::default(), changes: watch::Sender::new(()), status_changes: watch::Sender::new(()) }
    }
}

impl SharedGrants {
    /// Returns a receiver that is notified of every change that may affect which requests are
    /// allowed, except for pending requests.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns a receiver that is notified of every change that may affect the status of a grant.
    #[must_use]
    pub fn status_changes(&self) -> watch::Receiver<()> {
        self.status_changes.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        let changed = change(&mut self.index.write());
        if changed {
            self.changes.send_replace(());
            self.status_changes.send_replace(());
        }
    }

    /// See [`GrantIndex::put_grant`].
    pub fn put_grant(&self, grant: UserPoolGrant) {
        self.change(|index| index.put_grant(grant));
    }

    /// See [`GrantIndex::status_written`].
    pub fn status_written(&self, stored: &UserPoolGrant) {
        self.index.write().status_written(stored);
    }

    /// See [`GrantIndex::remove_grant`].
    pub fn remove_grant(&self, name: &str) {
        self.change(|index| index.remove_grant(name));
    }

    /// See [`GrantIndex::retain_grants`].
    pub fn retain_grants(&self, names: &BTreeSet<String>) {
        self.change(|index| index.retain_grants(names));
    }

    /// See [`GrantIndex::put_namespace`].
    pub fn put_namespace(&self, name: String, labels: Labels) {
        self.change(|index| index.put_namespace(name, labels));
    }

    /// See [`GrantIndex::remove_namespace`].
    pub fn remove_namespace(&self, name: &str) {
        self.change(|index| index.remove_namespace(name));
    }

    /// See [`GrantIndex::retain_namespaces`].
    pub fn retain_namespaces(&self, names: &BTreeSet<String>) {
        self.change(|index| index.retain_namespaces(names));
    }

    /// See [`GrantIndex::put_pending`].
    pub fn put_pending(&self, request: &PasswordResetRequest) -> Vec<NamespacedName> {
        self.index.write().put_pending(request)
    }

    /// See [`GrantIndex::remove_pending`].
    pub fn remove_pending(&self, name: &NamespacedName) -> Vec<NamespacedName> {
        self.index.write().remove_pending(name)
    }

    /// See [`GrantIndex::retain_pending`].
    pub fn retain_pending(&self, names: &BTreeSet<NamespacedName>) -> Vec<NamespacedName> {
        self.index.write().retain_pending(names)
    }

    /// See [`GrantIndex::evaluate`].
    #[must_use]
    pub fn evaluate(&self, request: &PasswordResetRequest) -> Evaluation {
        self.index.read().evaluate(request)
    }

    /// See [`GrantIndex::stale_statuses`].
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<StaleStatus> {
        self.index.read().stale_statuses(now)
    }

    /// See [`GrantIndex::roles`].
    #[must_use]
    pub fn roles(&self) -> Vec<GrantRole> {
        self.index.read().roles()
    }

    /// See [`GrantIndex::role_checked`].
    pub fn role_checked(&self, tried: &GrantRole, assumable: Result<(), SessionFailure>) {
        let is_new = self.index.write().role_checked(tried, assumable);
        if is_new {
            self.status_changes.send_replace(());
        }
    }
}
