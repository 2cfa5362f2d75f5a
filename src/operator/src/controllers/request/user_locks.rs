//! Locks users, so that one process works on one request for each at a time.

use std::collections::HashSet;

use cognito_reset_core::ledger::Identity;
use parking_lot::Mutex;

/// The users that reconciles of this process work on.
#[derive(Debug, Default)]
pub(super) struct UserLocks {
    busy: Mutex<HashSet<(String, String)>>,
}

/// The lock of a user, until it is dropped.
#[derive(Debug)]
pub(super) struct UserGuard<'a> {
    locks: &'a UserLocks,
    user: (String, String),
}

impl UserLocks {
    /// Locks the user, unless another reconcile has the lock.
    #[must_use]
    pub(super) fn try_lock(&self, identity: &Identity) -> Option<UserGuard<'_>> {
        let user = (identity.user_pool_id.clone(), identity.username.clone());
        if !self.busy.lock().insert(user.clone()) {
            return None;
        }
        Some(UserGuard { locks: self, user })
    }
}

impl Drop for UserGuard<'_> {
    fn drop(&mut self) {
        self.locks.busy.lock().remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cognito_reset_api::{Action, RequestRef};

    fn identity(name: &str, username: &str) -> Identity {
        Identity {
            action: Action::PasswordReset,
            request: RequestRef { namespace: "support".into(), name: name.into() },
            user_pool_id: "eu-west-1_Example01".into(),
            username: username.into(),
        }
    }

    #[test]
    fn a_user_is_locked_until_the_guard_is_dropped() {
        let locks = UserLocks::default();
        let first = locks.try_lock(&identity("one", "alice"));
        assert!(first.is_some());
        assert!(locks.try_lock(&identity("two", "alice")).is_none());
        assert!(locks.try_lock(&identity("two", "alice")).is_none(), "being refused lets nobody in");
        assert!(locks.try_lock(&identity("two", "bob")).is_some());
        drop(first);
        assert!(locks.try_lock(&identity("two", "alice")).is_some());
    }
}
