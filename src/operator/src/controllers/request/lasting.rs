//! Reports waits for AWS that last: one Event for all requests of a namespace that wait for the same. The clock is an
//! argument.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cognito_reset_api::conditions::WaitReason;
use cognito_reset_core::machine::note::Awaited;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The maximum number of waits, and of requests in one wait, that are counted.
const MOST: usize = 1024;
/// A wait that no request has met for so long is over: they have ended, or were deleted.
const UNSEEN: Duration = Duration::from_secs(3600);

/// The requests that wait for AWS, by their need, and the waits that were reported.
#[derive(Debug)]
pub(super) struct LastingWaits {
    /// A wait that goes on for longer lasts.
    patience: Duration,
    known: Mutex<HashMap<(Awaited, WaitReason), Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    requests: HashSet<String>,
    first: Instant,
    last: Instant,
    told: bool,
}

impl LastingWaits {
    /// Waits that last longer than `patience` are reported.
    #[must_use]
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, known: Mutex::default() }
    }

    /// A request has tried and has to wait. Gives how many requests wait, if an Event is due: once for each wait, at the
    /// first failure that comes at least `patience` after the wait began.
    pub(super) fn failed(&self, awaited: Awaited, reason: WaitReason, request: &str, now: Instant) -> Option<usize> {
        let mut known = self.known.lock();
        known.retain(|_, waiting| now.saturating_duration_since(waiting.last) < UNSEEN);
        let key = (awaited, reason);
        if known.len() >= MOST && !known.contains_key(&key) {
            return None;
        }
        let anew = || Waiting { requests: HashSet::new(), first: now, last: now, told: false };
        let waiting = known.entry(key).or_insert_with(anew);
        waiting.last = now;
        if waiting.requests.len() < MOST {
            waiting.requests.insert(request.to_owned());
        }
        let tell = !waiting.told && now.saturating_duration_since(waiting.first) >= self.patience;
        waiting.told |= tell;
        tell.then_some(waiting.requests.len())
    }

    /// Ends a wait, because AWS responds as needed.
    pub(super) fn over(&self, awaited: &Awaited) {
        self.known.lock().retain(|(known, _), _| known != awaited);
    }

    /// A request waits no longer: it has ended, or is gone.
    pub(super) fn forget(&self, namespace: &str, request: &str) {
        self.known.lock().retain(|(awaited, _), waiting| {
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
        let waits = LastingWaits::new(Duration::from_secs(60));
        let start = Instant::now();
        let failed = |second, namespace, request| {
            waits.failed(awaited(namespace), REASON, request, start + Duration::from_secs(second))
        };
        for (second, namespace, request, told) in [
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
            assert_eq!(failed(second, namespace, request), told, "{namespace} {request} at {second} s");
        }
        waits.over(&awaited("a"));
        assert_eq!(failed(201, "a", "one"), None);
        assert_eq!(failed(300, "a", "one"), Some(1));
        assert_eq!(failed(301, "b", "one"), None, "that wait has gone on");
        assert_eq!(failed(301 + 3600, "b", "one"), None, "it begins anew");
        assert_eq!(failed(301 + 3660, "b", "one"), Some(1));
    }

    #[test]
    fn only_requests_that_still_wait_are_counted() {
        let waits = LastingWaits::new(Duration::from_secs(60));
        let start = Instant::now();
        let failed = |second, request| waits.failed(awaited("a"), REASON, request, start + Duration::from_secs(second));
        for request in ["one", "two", "three"] {
            assert_eq!(failed(0, request), None);
        }
        waits.forget("a", "two");
        waits.forget("b", "three");
        assert_eq!(failed(60, "one"), Some(2));
        waits.forget("a", "one");
        waits.forget("a", "three");
        assert_eq!(failed(61, "four"), None, "with the last one the wait has ended");
    }

    #[test]
    fn whatever_number_waits_memory_is_bounded() {
        let waits = LastingWaits::new(Duration::from_secs(60));
        let now = Instant::now();
        for number in 0..3 * MOST {
            assert_eq!(waits.failed(awaited(&number.to_string()), REASON, "one", now), None);
            assert_eq!(waits.failed(awaited("crowded"), REASON, &number.to_string(), now), None);
        }
        let known = waits.known.lock();
        assert!(known.len() <= MOST && known.values().all(|waiting| waiting.requests.len() <= MOST));
    }
}
