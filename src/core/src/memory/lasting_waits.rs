//! Decides when a wait for AWS is reported: one Event for all requests of a namespace that wait for
//! the same.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use cognito_reset_api::conditions::WaitReason;

use crate::machine::note::Awaited;

/// The maximum number of waits, and of requests in one wait, that are counted.
const MOST: usize = 1024;
/// A wait that no request has met for so long is over: they have ended, or were deleted.
const UNSEEN: Duration = Duration::from_secs(3600);

/// The requests that wait for AWS, by their need, and the waits that were reported.
#[derive(Debug)]
pub struct LastingWaits {
    /// A wait that goes on for longer lasts.
    patience: Duration,
    waits: HashMap<(Awaited, WaitReason), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    requests: HashSet<String>,
    first: Instant,
    last: Instant,
    reported: bool,
}

impl LastingWaits {
    /// Returns an empty memory. A wait that lasts longer than `patience` is reported.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, waits: HashMap::new() }
    }

    /// Notes that a request tried and has to wait. Returns the number of requests that wait, if an
    /// Event is due: once for each wait, at the first failure that comes at least `patience` after
    /// the wait began.
    pub fn failed(&mut self, awaited: Awaited, reason: WaitReason, request: &str, now: Instant) -> Option<usize> {
        self.waits.retain(|_, waiting| now.saturating_duration_since(waiting.last) < UNSEEN);
        let key = (awaited, reason);
        if self.waits.len() >= MOST && !self.waits.contains_key(&key) {
            return None;
        }
        let begin = || Waiting { requests: HashSet::new(), first: now, last: now, reported: false };
        let waiting = self.waits.entry(key).or_insert_with(begin);
        waiting.last = now;
        if waiting.requests.len() < MOST {
            waiting.requests.insert(request.to_owned());
        }
        let is_due = !waiting.reported && now.saturating_duration_since(waiting.first) >= self.patience;
        waiting.reported |= is_due;
        is_due.then_some(waiting.requests.len())
    }

    /// Ends a wait, because AWS responds as needed.
    pub fn end(&mut self, awaited: &Awaited) {
        self.waits.retain(|(other, _), _| other != awaited);
    }

    /// Forgets a request that waits no longer, because it has ended or is gone.
    pub fn forget(&mut self, namespace: &str, request: &str) {
        self.waits.retain(|(awaited, _), waiting| {
            let was_one = awaited.namespace == namespace && waiting.requests.remove(request);
            !(was_one && waiting.requests.is_empty())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: WaitReason = WaitReason::AwsCredentialsUnavailable;

    fn awaited(namespace: &str) -> Awaited {
        Awaited { namespace: namespace.into(), scope: String::new() }
    }

    #[test]
    fn a_wait_is_reported_once_and_again_after_its_end() {
        let mut waits = LastingWaits::new(Duration::from_secs(60));
        let start = Instant::now();
        let failed = |waits: &mut LastingWaits, second, namespace, request| {
            waits.failed(awaited(namespace), REASON, request, start + Duration::from_secs(second))
        };
        for (second, namespace, request, requests) in [
            (0, "a", "one", None),
            (1, "a", "one", None),
            (30, "a", "two", None),
            (40, "b", "one", None),
            (59, "a", "one", None),
            (60, "a", "three", Some(3)),
            (90, "a", "one", None),
            (95, "b", "one", None),
            (100, "b", "one", Some(1)),
            (200, "a", "four", None),
        ] {
            assert_eq!(failed(&mut waits, second, namespace, request), requests, "{namespace} {request} at {second} s");
        }
        waits.end(&awaited("a"));
        assert_eq!(failed(&mut waits, 201, "a", "one"), None);
        assert_eq!(failed(&mut waits, 300, "a", "one"), Some(1));
        assert_eq!(failed(&mut waits, 301, "b", "one"), None, "that wait has gone on");
        assert_eq!(failed(&mut waits, 301 + 3600, "b", "one"), None, "it begins again");
        assert_eq!(failed(&mut waits, 301 + 3660, "b", "one"), Some(1));
    }

    #[test]
    fn only_requests_that_still_wait_are_counted() {
        let mut waits = LastingWaits::new(Duration::from_secs(60));
        let start = Instant::now();
        let failed = |waits: &mut LastingWaits, second, request| {
            waits.failed(awaited("a"), REASON, request, start + Duration::from_secs(second))
        };
        for request in ["one", "two", "three"] {
            assert_eq!(failed(&mut waits, 0, request), None);
        }
        waits.forget("a", "two");
        waits.forget("b", "three");
        assert_eq!(failed(&mut waits, 60, "one"), Some(2));
        waits.forget("a", "one");
        waits.forget("a", "three");
        assert_eq!(failed(&mut waits, 61, "four"), None, "with the last one the wait has ended");
    }

    #[test]
    fn number_of_remembered_waits_is_bounded() {
        let mut waits = LastingWaits::new(Duration::from_secs(60));
        let now = Instant::now();
        for number in 0..3 * MOST {
            assert_eq!(waits.failed(awaited(&number.to_string()), REASON, "one", now), None);
            assert_eq!(waits.failed(awaited("crowded"), REASON, &number.to_string(), now), None);
        }
        assert!(waits.waits.len() <= MOST && waits.waits.values().all(|waiting| waiting.requests.len() <= MOST));
    }
}
