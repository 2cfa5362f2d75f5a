//! One request at a time for each user, in one process; and how long what is waited for has been seen.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cognito_reset_core::ledger::Identity;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets one task at a time in for each user of a pool.
#[derive(Debug, Default)]
pub struct Turnstile {
    busy: Mutex<HashSet<(String, String)>>,
}

/// The right to work on a user, until it is dropped.
#[derive(Debug)]
pub struct Inside<'a> {
    turnstile: &'a Turnstile,
    user: (String, String),
}

impl Turnstile {
    /// Enters, unless somebody else is at work on this user.
    #[must_use]
    pub fn enter(&self, identity: &Identity) -> Option<Inside<'_>> {
        let user = (identity.user_pool_id.clone(), identity.username.clone());
        if !self.busy.lock().insert(user.clone()) {
            return None;
        }
        Some(Inside { turnstile: self, user })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.turnstile.busy.lock().remove(&self.user);
    }
}

/// What is waited for is looked at every hour at the least: what was not for this long was settled elsewhere.
pub(super) const LONG_AGO: Duration = Duration::from_secs(2 * 3600);

/// Since when this process has seen what it waits for, by record. Never compares two machines' clocks.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: Mutex<HashMap<String, Sighting>>,
}

#[derive(Debug)]
struct Sighting {
    attempt_id: String,
    settled: bool,
    first: Instant,
    last: Instant,
}

impl Sightings {
    /// For how long the record's last attempt has been seen as it stands, open or settled; none when it is seen first.
    pub fn seen_for(&self, record: &str, attempt_id: &str, settled: bool, now: Instant) -> Duration {
        let mut seen = self.seen.lock();
        if !seen.contains_key(record) {
            // What was settled elsewhere is never forgotten by name.
            seen.retain(|_, sighting| now.saturating_duration_since(sighting.last) < LONG_AGO);
        }
        let anew = || Sighting { attempt_id: attempt_id.to_owned(), settled, first: now, last: now };
        let sighting = seen.entry(record.to_owned()).or_insert_with(anew);
        if sighting.attempt_id != attempt_id || sighting.settled != settled {
            *sighting = anew();
        }
        sighting.last = now;
        now.saturating_duration_since(sighting.first)
    }

    /// Forgets a record whose request has ended.
    pub fn forget(&self, record: &str) {
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
    fn a_second_request_for_the_same_user_stays_outside_until_the_first_leaves() {
        let turnstile = Turnstile::default();
        let first = turnstile.enter(&identity("one", "alice"));
        assert!(first.is_some());
        assert!(turnstile.enter(&identity("two", "alice")).is_none());
        assert!(turnstile.enter(&identity("two", "alice")).is_none(), "being refused lets nobody in");
        assert!(turnstile.enter(&identity("two", "bob")).is_some());
        drop(first);
        assert!(turnstile.enter(&identity("two", "alice")).is_some());
    }

    #[test]
    fn an_attempt_is_seen_since_it_was_first_seen_and_anew_when_it_is_settled_or_another() {
        let sightings = Sightings::default();
        let start = Instant::now();
        for (seconds, record, attempt_id, settled, seen_for) in [
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
            let wanted = Duration::from_secs(seen_for);
            let told = sightings.seen_for(record, attempt_id, settled, now);
            assert_eq!(told, wanted, "{record} {attempt_id} at {seconds} s");
        }
        sightings.forget("r1");
        let again = start + Duration::from_secs(7303);
        assert_eq!(sightings.seen_for("r1", "b", false, again), Duration::ZERO);
    }
}
