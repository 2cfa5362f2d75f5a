//! Locks users, so that one process works on one request for each at a time.
//!
//! Locks are only tried and never waited for. A user has many spellings, and Cognito accepts the
//! `sub` as one of them. So a reconcile locks the spelling in its request from the beginning, and
//! the `sub` as soon as it has read the user.

use std::collections::{HashMap, HashSet};

use cognito_reset_core::ledger::Identity;
use parking_lot::Mutex;

/// A spelling of a user of a pool.
type Spelling = (String, String);

/// The users that reconciles of this process work on.
#[derive(Debug, Default)]
pub(super) struct UserLocks(Mutex<Locked>);

#[derive(Debug, Default)]
struct Locked {
    busy: HashSet<Spelling>,
    /// The `sub` of users who were read while their `sub` was locked. Their requests are not tried
    /// before it is free, so that the wait causes no further read.
    others: HashMap<Spelling, Spelling>,
}

/// The lock of a user, until it is dropped.
#[derive(Debug)]
pub(super) struct UserGuard<'a> {
    locks: &'a UserLocks,
    spelling: Spelling,
    sub: Mutex<Option<Spelling>>,
}

impl UserLocks {
    /// Locks the user by the spelling in the request, unless another reconcile has the lock.
    #[must_use]
    pub(super) fn try_lock(&self, identity: &Identity) -> Option<UserGuard<'_>> {
        let spelling = (identity.user_pool_id.clone(), identity.username.clone());
        let mut locked = self.0.lock();
        if locked.others.contains_key(&spelling) || !locked.busy.insert(spelling.clone()) {
            return None;
        }
        drop(locked);
        Some(UserGuard { locks: self, spelling, sub: Mutex::default() })
    }
}

impl UserGuard<'_> {
    /// Locks the user by the `sub` as well. Returns false if another reconcile has the lock.
    #[must_use]
    pub(super) fn try_lock_sub(&self, sub: &str) -> bool {
        let sub = (self.spelling.0.clone(), sub.to_owned());
        let mut own = self.sub.lock();
        if sub == self.spelling || own.as_ref() == Some(&sub) {
            return true;
        }
        let mut locked = self.locks.0.lock();
        if !locked.busy.insert(sub.clone()) {
            locked.others.insert(self.spelling.clone(), sub);
            return false;
        }
        // The spelling is of another user than at the last read.
        if let Some(earlier) = own.replace(sub) {
            locked.release(&earlier);
        }
        true
    }
}

impl Locked {
    fn release(&mut self, user: &Spelling) {
        self.busy.remove(user);
        self.others.retain(|_, sub| sub != user);
    }
}

impl Drop for UserGuard<'_> {
    fn drop(&mut self) {
        let mut locked = self.locks.0.lock();
        locked.release(&self.spelling);
        self.sub.lock().iter().for_each(|sub| locked.release(sub));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cognito_reset_api::{Action, RequestRef};

    fn identity(name: &str, username: &str) -> Identity {
        of_pool("eu-west-1_Example01", name, username)
    }

    fn of_pool(pool: &str, name: &str, username: &str) -> Identity {
        Identity {
            action: Action::PasswordReset,
            request: RequestRef { namespace: "support".into(), name: name.into() },
            user_pool_id: pool.into(),
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

    #[test]
    fn a_user_is_locked_by_the_sub_once_it_is_known() {
        let locks = UserLocks::default();
        let first = locks.try_lock(&identity("one", "alice")).unwrap();
        assert!(first.try_lock_sub("7"));
        assert!(first.try_lock_sub("7"), "it is read again");
        assert!(locks.try_lock(&identity("two", "7")).is_none(), "the sub is a spelling");
        assert!(locks.try_lock(&of_pool("eu-west-1_Example02", "two", "7")).is_some(), "another pool");
        let second = locks.try_lock(&identity("two", "alice@example.com")).unwrap();
        assert!(!second.try_lock_sub("7"));
        drop(second);
        assert!(locks.try_lock(&identity("two", "alice@example.com")).is_none(), "no other read");
        drop(first);
        let second = locks.try_lock(&identity("two", "alice@example.com")).unwrap();
        assert!(second.try_lock_sub("7"));
        assert!(second.try_lock_sub("8"), "the address is of another user by now");
        assert!(locks.try_lock(&identity("three", "7")).is_some());
        assert!(locks.try_lock(&identity("three", "8")).is_none());
        drop(second);
        let locked = locks.0.lock();
        assert!(locked.busy.is_empty() && locked.others.is_empty(), "{locked:?}");
    }

    #[test]
    fn requests_by_sub_and_by_name_do_not_block_each_other() {
        let locks = UserLocks::default();
        let by_name = locks.try_lock(&identity("one", "alice")).unwrap();
        let by_sub = locks.try_lock(&identity("two", "7")).unwrap();
        assert!(!by_name.try_lock_sub("7"));
        assert!(by_sub.try_lock_sub("7"), "it has the lock already");
    }
}
