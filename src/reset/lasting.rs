//! Waits for AWS that last: one Event tells of all the requests of a namespace that wait for the same.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use super::turnstile::lock;
use crate::api::conditions::Reason;

/// How many waits, and how many requests of one, are counted; what comes on top is not.
const MOST: usize = 1024;

/// What requests of a namespace wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// The namespace.
    pub namespace: String,
    /// Why they wait.
    pub reason: Reason,
    /// The role that cannot be assumed, or the Region that cannot be reached.
    pub scope: String,
}

/// Which requests wait for what, and what was told already.
#[derive(Debug, Default)]
pub struct LastingWaits {
    known: Mutex<HashMap<Awaited, Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: HashSet<String>,
    told: bool,
}

impl LastingWaits {
    /// A request has tried and has to wait. Where that is to be told now, gives how many requests wait: when one of them has
    /// failed a second time, and then not again until the wait is over.
    pub fn failed(&self, awaited: Awaited, request: &str) -> Option<usize> {
        let mut known = lock(&self.known);
        if known.len() >= MOST && !known.contains_key(&awaited) {
            known.clear();
        }
        let waiting = known.entry(awaited).or_default();
        let again = waiting.requests.contains(request);
        if waiting.requests.len() < MOST {
            waiting.requests.insert(request.to_owned());
        }
        let tell = again && !waiting.told;
        waiting.told |= tell;
        tell.then_some(waiting.requests.len())
    }

    /// What was waited for is there.
    pub fn over(&self, awaited: &Awaited) {
        lock(&self.known).remove(awaited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(namespace: &str) -> Awaited {
        let (reason, scope) = (Reason::AwsCredentialsUnavailable, String::new());
        Awaited { namespace: namespace.into(), reason, scope }
    }

    #[test]
    fn a_wait_is_told_once_when_a_request_fails_again_and_anew_after_it_is_over() {
        let waits = LastingWaits::default();
        for (namespace, request, told) in [
            ("a", "one", None),
            ("a", "two", None),
            ("b", "one", None),
            ("a", "three", None),
            ("a", "two", Some(3)),
            ("a", "one", None),
            ("a", "four", None),
            ("b", "one", Some(1)),
            ("b", "one", None),
        ] {
            assert_eq!(waits.failed(awaited(namespace), request), told, "{namespace} {request}");
        }
        waits.over(&awaited("a"));
        assert_eq!(waits.failed(awaited("a"), "one"), None);
        assert_eq!(waits.failed(awaited("a"), "one"), Some(1));
        assert_eq!(waits.failed(awaited("b"), "one"), None, "that wait has gone on");
    }

    #[test]
    fn whatever_number_waits_memory_is_bounded() {
        let waits = LastingWaits::default();
        for number in 0..3 * MOST {
            assert_eq!(waits.failed(awaited(&number.to_string()), "one"), None);
            assert_eq!(waits.failed(awaited("crowded"), &number.to_string()), None);
        }
        let known = lock(&waits.known);
        assert!(known.len() <= MOST && known.values().all(|waiting| waiting.requests.len() <= MOST));
    }
}
