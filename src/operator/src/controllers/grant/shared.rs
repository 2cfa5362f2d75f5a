//! Shares the index of grants between the tasks of the operator.

use cognito_reset_core::grants::GrantIndex;
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
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns a receiver that is notified of every change that may affect the status of a grant.
    #[must_use]
    pub(crate) fn status_changes(&self) -> watch::Receiver<()> {
        self.status_changes.subscribe()
    }

    /// Returns a value from the index.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&GrantIndex) -> T) -> T {
        read(&self.index.read())
    }

    /// Changes the index where it affects neither which requests are allowed nor the status of a
    /// grant, and notifies nobody.
    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut GrantIndex) -> T) -> T {
        update(&mut self.index.write())
    }

    /// Changes grants or namespaces. If the closure returns true, all receivers are notified.
    pub(crate) fn change(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        if self.update(change) {
            self.changes.send_replace(());
            self.status_changes.send_replace(());
        }
    }

    /// Changes what the status of a grant is made from. If the closure returns true, the receivers
    /// of status changes are notified.
    pub(crate) fn change_status(&self, change: impl FnOnce(&mut GrantIndex) -> bool) {
        if self.update(change) {
            self.status_changes.send_replace(());
        }
    }
}
