//! Locks users, so that one process works on one request for each at a time; and remembers when attempts were first observed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cognito_reset_core::ledger::Identity;
use parking_lot::Mutex;
use tokio::time::Instant;

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

/// The time after which an attempt that was not observed again counts as settled by another process. A request that waits is
/// read at least once an hour.
pub(super) const LONG_AGO: Duration = Duration::from_secs(2 * 3600);

/// The time of the first observation of each attempt that requests wait for, by record. It never compares the clocks of two
/// machines.
#[derive(Debug, Default)]
pub(super) struct FirstObserved {
    seen: Mutex<HashMap<String, Observation>>,
}

#[derive(Debug)]
struct Observation {
    attempt_id: String,
    settled: bool,
    first: Instant,
    last: Instant,
}

impl FirstObserved {
    /// Returns the time since the record's last attempt was first observed as it is, open or settled; zero at the first time.
    pub(super) fn observed_for(&self, record: &str, attempt_id: &str, settled: bool, now: Instant) -> Duration {
        let mut seen = self.seen.lock();
        if !seen.contains_key(record) {
            // What was settled elsewhere is never forgotten by name.
            seen.retain(|_, attempt| now.saturating_duration_since(attempt.last) < LONG_AGO);
        }
        let first_observation = || Observation { attempt_id: attempt_id.to_owned(), settled, first: now, last: now };
        let attempt = seen.entry(record.to_owned()).or_insert_with(first_observation);
        if attempt.attempt_id != attempt_id || attempt.settled != settled {
            *attempt = first_observation();
        }
        attempt.last = now;
        now.saturating_duration_since(attempt.first)
    }

    /// Forgets a record whose request has ended.
    pub(super) fn forget(&self, record: &str) {
        self.seen.lock().remove(record);
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

    #[test]
    fn an_attempt_is_observed_again_after_each_change() {
        let observed = FirstObserved::default();
        let start = Instant::now();
        for (seconds, record, attempt_id, settled, observed_for) in [
            (0, "r1", "a", false, 0),
            (40, "r1", "a", false, 40),
            (46, "r1", "a", true, 0),
            (50, "r1", "a", true, 4),
            (51, "r1", "b", false, 0),
            (52, "r2", "a", false, 0),
            (52, "r1", "b", false, 1),
            (53, "within-two-hours", "a", false, 0),
            (100, "for-two-hours", "a", false, 0),
            (200, "itself", "a", false, 0),
            // What is looked at again is kept, and what is not, for two hours, is forgotten when something new is seen.
            (4000, "new", "a", false, 0),
            (4001, "within-two-hours", "a", false, 3948),
            (7000, "r1", "b", false, 6949),
            (7300, "r3", "a", false, 0),
            (7301, "r1", "b", false, 7250),
            (7301, "for-two-hours", "a", false, 0),
            (7302, "r2", "a", false, 0),
            (7500, "itself", "a", false, 7300),
        ] {
            let now = start + Duration::from_secs(seconds);
            let wanted = Duration::from_secs(observed_for);
            let observed_for = observed.observed_for(record, attempt_id, settled, now);
            assert_eq!(observed_for, wanted, "{record} {attempt_id} at {seconds} s");
        }
        observed.forget("r1");
        let again = start + Duration::from_secs(7303);
        assert_eq!(observed.observed_for("r1", "b", false, again), Duration::ZERO);
    }
}
