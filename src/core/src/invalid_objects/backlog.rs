//! Remembers which objects that cannot be parsed still have to be reported in their status, and
//! when.

use std::{collections::HashMap, time::Instant};

use k8s_openapi::api::core::v1::ObjectReference;

use super::Kind;
use crate::{recent::RecentSet, status_retry::pause_after};

/// The number of objects that are remembered. Each takes less than 2 kB.
const MOST: usize = 2000;

/// A state of an object that cannot be parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The kind.
    pub kind: Kind,
    /// The object.
    pub object: ObjectReference,
    /// The generation that cannot be parsed.
    pub generation: Option<i64>,
    /// The error, without values of the object.
    pub error: String,
}

impl Found {
    /// Returns true if the report is the same. A different resourceVersion alone makes no
    /// difference: our own status write changes it, and so does that of a newer operator, to which
    /// this one must not respond endlessly.
    fn is_of_the_state(&self, other: &Self) -> bool {
        (&self.object.uid, self.generation, &self.error) == (&other.object.uid, other.generation, &other.error)
    }
}

/// The key of an object: kind, namespace and name.
type Key = (Kind, Option<String>, Option<String>);

fn key(found: &Found) -> Key {
    (found.kind, found.object.namespace.clone(), found.object.name.clone())
}

#[derive(Debug)]
struct Entry {
    found: Found,
    /// The time of the next try; `None` once it has been reported.
    due: Option<Instant>,
    failures: u32,
    /// The texts that an Event has reported for this state.
    published: RecentSet<String>,
}

/// The result of adding a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The state is new, and will be reported.
    New,
    /// The state is known already.
    Known,
    /// Too many states are waiting, so there is no room for this one.
    TooMany {
        /// True for the first state since there was room.
        first: bool,
    },
}

/// The objects that cannot be parsed, each with its last state.
#[derive(Debug, Default)]
pub struct Backlog {
    entries: HashMap<Key, Entry>,
    /// True if there was no room for the last new state.
    full: bool,
}

impl Backlog {
    /// Adds a state that was found.
    pub fn put(&mut self, found: Found, now: Instant) -> Taken {
        let key = key(&found);
        if self.entries.get(&key).is_some_and(|entry| entry.found.is_of_the_state(&found)) {
            return Taken::Known;
        }
        if self.entries.len() >= MOST {
            // If they are found again, they are read again, and nothing is written.
            self.entries.retain(|_, entry| entry.due.is_some());
        }
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            return Taken::TooMany { first: !std::mem::replace(&mut self.full, true) };
        }
        self.full = false;
        self.entries.insert(key, Entry { found, due: Some(now), failures: 0, published: RecentSet::default() });
        Taken::New
    }

    /// Returns the states that are due.
    pub fn due(&self, now: Instant) -> Vec<Found> {
        let due = self.entries.values().filter(|entry| entry.due.is_some_and(|due| due <= now));
        due.map(|entry| entry.found.clone()).collect()
    }

    /// Returns the time when the next state is due.
    pub fn next(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Records that this state was reported. It is never reported again.
    pub fn reported(&mut self, found: &Found) {
        if let Some(entry) = self.entry(found) {
            entry.due = None;
        }
    }

    /// Drops a state whose object is gone, or can be parsed by now.
    pub fn forget(&mut self, found: &Found) {
        let key = key(found);
        if self.entries.get(&key).is_some_and(|entry| entry.found == *found) {
            self.entries.remove(&key);
        }
    }

    /// Records that a report failed, and schedules the next try.
    pub fn failed(&mut self, found: &Found, now: Instant) {
        if let Some(entry) = self.entry(found) {
            entry.due = Some(now + pause_after(entry.failures));
            entry.failures += 1;
        }
    }

    /// Returns true if no Event has reported this text for the state, and records that one has.
    pub fn is_new_text(&mut self, found: &Found, text: &str) -> bool {
        self.entry(found).is_some_and(|entry| entry.published.is_new(&text.to_owned()))
    }

    /// Returns true if an Event has reported any text for the state.
    pub fn is_published(&mut self, found: &Found) -> bool {
        self.entry(found).is_some_and(|entry| entry.published.newest().is_some())
    }

    fn entry(&mut self, found: &Found) -> Option<&mut Entry> {
        self.entries.get_mut(&key(found)).filter(|entry| entry.found == *found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn found(name: &str, uid: &str, generation: i64, error: &str) -> Found {
        let object = ObjectReference { name: Some(name.into()), uid: Some(uid.into()), ..ObjectReference::default() };
        Found { kind: Kind::Grant, object, generation: Some(generation), error: error.into() }
    }

    #[test]
    fn a_state_is_reported_once_regardless_of_other_changes() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        let first = found("a", "1", 1, "bad");
        assert_eq!(backlog.put(first.clone(), now), Taken::New);
        assert_eq!(backlog.due(now), vec![first.clone()]);
        backlog.reported(&first);
        let mut labelled = first.clone();
        labelled.object.resource_version = Some("9".into());
        assert_eq!(backlog.put(labelled, now), Taken::Known);
        assert_eq!((backlog.due(now), backlog.next()), (vec![], None));
        for other in [found("a", "2", 1, "bad"), found("a", "2", 2, "bad"), found("a", "2", 2, "worse")] {
            assert_eq!(backlog.put(other.clone(), now), Taken::New);
            backlog.reported(&first);
            backlog.forget(&first);
            assert_eq!(backlog.due(now), [other], "a report of an earlier state is none of this one");
        }
    }

    #[test]
    fn failed_report_is_retried_with_growing_pauses() {
        let mut now = Instant::now();
        let mut backlog = Backlog::default();
        let found = found("a", "1", 1, "bad");
        backlog.put(found.clone(), now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            backlog.failed(&found, now);
            let due = now + Duration::from_secs(seconds);
            assert_eq!((backlog.next(), backlog.due(due - Duration::from_millis(1))), (Some(due), vec![]));
            now = due;
        }
        backlog.forget(&found);
        assert_eq!(backlog.next(), None);
    }

    #[test]
    fn each_failure_of_a_state_is_reported_once() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        let (state, next) = (found("a", "1", 1, "bad"), found("a", "1", 2, "bad"));
        backlog.put(state.clone(), now);
        // A conflict reports nothing.
        backlog.failed(&state, now);
        assert!(!backlog.is_published(&state));
        for (text, is_new) in [("503", true), ("422", true), ("422", false), ("503", false), ("refused by a", true)] {
            backlog.failed(&state, now);
            assert_eq!(backlog.is_new_text(&state, text), is_new, "{text}");
            assert!(backlog.is_published(&state));
        }
        assert!(!backlog.is_new_text(&next, "503"), "nothing is published about a state that was not added");
        backlog.put(next.clone(), now);
        assert!(
            !backlog.is_published(&next) && backlog.is_new_text(&next, "503") && !backlog.is_new_text(&state, "504")
        );
    }

    #[test]
    fn backlog_is_bounded_and_drops_reported_states() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        let reported = found("reported", "1", 1, "bad");
        backlog.put(reported.clone(), now);
        backlog.reported(&reported);
        let numbered = |number: usize| found(&number.to_string(), "1", 1, "bad");
        for number in 0..2 * MOST {
            let wanted = if number < MOST { Taken::New } else { Taken::TooMany { first: number == MOST } };
            assert_eq!(backlog.put(numbered(number), now), wanted, "{number}");
        }
        assert_eq!(backlog.due(now).len(), MOST);
        let known = [numbered(7), found("7", "1", 2, "bad")].map(|found| backlog.put(found, now));
        assert_eq!(known, [Taken::Known, Taken::New], "what is remembered already may change");
        backlog.reported(&numbered(8));
        let next = [MOST, MOST, MOST + 1, MOST + 1].map(|number| backlog.put(numbered(number), now));
        let (first, later) = (Taken::TooMany { first: true }, Taken::TooMany { first: false });
        assert_eq!(next, [Taken::New, Taken::Known, first, later]);
    }
}
