//! One request at a time for each user, in one process; and how long an open claim has been seen.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::ledger::Identity;

/// Locks; what these locks guard is consistent after each statement, so a panic elsewhere is no matter.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        if !lock(&self.busy).insert(user.clone()) {
            return None;
        }
        Some(Inside { turnstile: self, user })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.turnstile.busy).remove(&self.user);
    }
}

/// Claims that were seen this long after they could be resolved were settled by somebody else.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// Since when this process has seen open claims, by record. Never compares two machines' clocks.
#[derive(Debug, Default)]
pub struct OpenClaims {
    seen: Mutex<HashMap<String, (String, Instant)>>,
}

impl OpenClaims {
    /// How much of `in_flight` is left for this attempt of this record; it starts when the attempt is first seen.
    pub fn left(&self, record: &str, attempt_id: &str, in_flight: Duration, now: Instant) -> Duration {
        let mut seen = lock(&self.seen);
        if !seen.contains_key(record) {
            // What was settled elsewhere is never forgotten by name.
            seen.retain(|_, (_, since)| now.saturating_duration_since(*since) < in_flight + LONG_AGO);
        }
        let entry = seen.entry(record.to_owned()).or_insert_with(|| (attempt_id.to_owned(), now));
        if entry.0 != attempt_id {
            *entry = (attempt_id.to_owned(), now);
        }
        in_flight.saturating_sub(now.saturating_duration_since(entry.1))
    }

    /// Forgets a record that is settled.
    pub fn forget(&self, record: &str) {
        lock(&self.seen).remove(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RequestRef;

    fn identity(name: &str, username: &str) -> Identity {
        Identity {
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
    fn an_open_claim_is_waited_for_from_when_it_is_first_seen_and_anew_for_another_attempt() {
        let claims = OpenClaims::default();
        let (start, limit) = (Instant::now(), Duration::from_secs(45));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(claims.left("r1", "a", limit, at(0)), limit);
        assert_eq!(claims.left("r1", "a", limit, at(40)), Duration::from_secs(5));
        assert_eq!(claims.left("r1", "a", limit, at(46)), Duration::ZERO);
        assert_eq!(claims.left("r1", "b", limit, at(46)), limit);
        assert_eq!(claims.left("r2", "a", limit, at(46)), limit);
    }
}
