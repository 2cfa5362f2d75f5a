//! Locks records and users, so that one process works on one request for each at a time.
//!
//! Locks are only tried and never waited for. A reconcile locks its record from the beginning. It
//! locks the user when all else allows the request: a request that no grant allows must not keep
//! others of the same user waiting. A user has many spellings, and Cognito accepts the `sub` as one
//! of them. So a reconcile locks the spelling in its request, and the `sub` as soon as it has read
//! the user.

use std::collections::{HashMap, HashSet};

use cognito_reset_core::ledger::Identity;
use parking_lot::Mutex;

/// A spelling of a user of a pool.
type Spelling = (String, String);

/// The records and users that reconciles of this process work on.
#[derive(Debug, Default)]
pub(super) struct UserLocks(Mutex<Locked>);

#[derive(Debug, Default)]
struct Locked {
    records: HashSet<String>,
    busy: HashSet<Spelling>,
    /// The `sub` of users who were read while their `sub` was locked. Their requests are not tried
    /// before it is free, so that the wait causes no further read.
    others: HashMap<Spelling, Spelling>,
}

/// The locks of a reconcile, until they are dropped.
#[derive(Debug)]
pub(super) struct Locks<'a> {
    all: &'a UserLocks,
    record: String,
    spelling: Spelling,
    user: Mutex<LockedUser>,
}

/// The locks of the user of a reconcile.
#[derive(Debug, Default)]
struct LockedUser {
    by_spelling: bool,
    sub: Option<Spelling>,
}

impl UserLocks {
    /// Locks the record, unless another reconcile has the lock.
    #[must_use]
    pub(super) fn try_lock(&self, identity: &Identity) -> Option<Locks<'_>> {
        let record = identity.record_name();
        if !self.0.lock().records.insert(record.clone()) {
            return None;
        }
        let spelling = (identity.user_pool_id.clone(), identity.username.clone());
        Some(Locks { all: self, record, spelling, user: Mutex::default() })
    }
}

impl Locks<'_> {
    /// Locks the user by the spelling in the request. Returns false if another reconcile has the
    /// lock.
    #[must_use]
    pub(super) fn try_lock_user(&self) -> bool {
        let mut user = self.user.lock();
        if user.by_spelling {
            return true;
        }
        let mut locked = self.all.0.lock();
        user.by_spelling = !locked.others.contains_key(&self.spelling) && locked.busy.insert(self.spelling.clone());
        user.by_spelling
    }

    /// Locks the user by the `sub` as well. Returns false if another reconcile has the lock.
    #[must_use]
    pub(super) fn try_lock_sub(&self, sub: &str) -> bool {
        let sub = (self.spelling.0.clone(), sub.to_owned());
        let mut user = self.user.lock();
        if (user.by_spelling && sub == self.spelling) || user.sub.as_ref() == Some(&sub) {
            return true;
        }
        let mut locked = self.all.0.lock();
        if !locked.busy.insert(sub.clone()) {
            locked.others.insert(self.spelling.clone(), sub);
            return false;
        }
        // The spelling is of another user than at the last read.
        if let Some(earlier) = user.sub.replace(sub) {
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

impl Drop for Locks<'_> {
    fn drop(&mut self) {
        let mut locked = self.all.0.lock();
        locked.records.remove(&self.record);
        let user = self.user.get_mut();
        if user.by_spelling {
            locked.release(&self.spelling);
        }
        user.sub.iter().for_each(|sub| locked.release(sub));
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
    fn a_record_is_locked_until_the_locks_are_dropped() {
        let locks = UserLocks::default();
        let first = locks.try_lock(&identity("one", "alice"));
        assert!(first.is_some());
        assert!(locks.try_lock(&identity("one", "alice")).is_none());
        assert!(locks.try_lock(&identity("one", "alice")).is_none(), "being refused lets nobody in");
        drop(first);
        assert!(locks.try_lock(&identity("one", "alice")).is_some());
    }

    #[test]
    fn a_user_is_locked_when_asked_for_until_the_locks_are_dropped() {
        let locks = UserLocks::default();
        let ungranted = locks.try_lock(&identity("ungranted", "alice")).unwrap();
        let first = locks.try_lock(&identity("one", "alice")).unwrap();
        let second = locks.try_lock(&identity("two", "alice")).unwrap();
        assert!(first.try_lock_user(), "a reconcile that has not asked for the user has no lock");
        assert!(first.try_lock_user(), "it has the lock already");
        assert!(!second.try_lock_user());
        drop(second);
        assert!(!ungranted.try_lock_user(), "being refused lets nobody in");
        assert!(locks.try_lock(&identity("two", "bob")).unwrap().try_lock_user());
        drop(first);
        assert!(ungranted.try_lock_user());
    }

    fn locked<'a>(locks: &'a UserLocks, name: &str, username: &str) -> Option<Locks<'a>> {
        locks.try_lock(&identity(name, username)).filter(Locks::try_lock_user)
    }

    #[test]
    fn a_user_is_locked_by_the_sub_once_it_is_known() {
        let locks = UserLocks::default();
        let first = locked(&locks, "one", "alice").unwrap();
        assert!(first.try_lock_sub("7"));
        assert!(first.try_lock_sub("7"), "it is read again");
        assert!(locked(&locks, "two", "7").is_none(), "the sub is a spelling");
        let elsewhere = locks.try_lock(&of_pool("eu-west-1_Example02", "two", "7")).unwrap();
        assert!(elsewhere.try_lock_user(), "another pool");
        drop(elsewhere);
        let second = locked(&locks, "two", "alice@example.com").unwrap();
        assert!(!second.try_lock_sub("7"));
        drop(second);
        assert!(locked(&locks, "two", "alice@example.com").is_none(), "no other read");
        drop(first);
        let second = locked(&locks, "two", "alice@example.com").unwrap();
        assert!(second.try_lock_sub("7"));
        assert!(second.try_lock_sub("8"), "the address is of another user by now");
        assert!(locked(&locks, "three", "7").is_some());
        assert!(locked(&locks, "three", "8").is_none());
        drop(second);
        let locked = locks.0.lock();
        assert!(locked.records.is_empty() && locked.busy.is_empty() && locked.others.is_empty(), "{locked:?}");
    }

    #[test]
    fn requests_by_sub_and_by_name_do_not_block_each_other() {
        let locks = UserLocks::default();
        let by_name = locked(&locks, "one", "alice").unwrap();
        let by_sub = locked(&locks, "two", "7").unwrap();
        assert!(!by_name.try_lock_sub("7"));
        assert!(by_sub.try_lock_sub("7"), "it has the lock already");
    }
}
