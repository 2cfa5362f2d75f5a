//! Evenly spaced slots for each key.
//!
//! A request that has to wait gets a slot in the sequence, and comes back when its slot is due. No
//! task waits here.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::{Duration, Instant},
};

use crate::dispatch::key::Key;

/// The result of asking for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The slot is now.
    Now,
    /// The slot is later.
    Later {
        /// The time to ask again.
        at: Instant,
    },
}

/// The time after which an unused slot is dropped: its request was deleted.
pub(super) const ABANDONED: Duration = Duration::from_secs(60);

/// The slots by key.
#[derive(Debug)]
pub(super) struct Slots<K> {
    period: Duration,
    sequences: HashMap<K, Sequence>,
    /// The time when sequences that nobody uses were last dropped.
    tidied: Option<Instant>,
}

#[derive(Debug)]
struct Sequence {
    /// The earliest time of the next slot.
    next: Instant,
    /// The slot that the next new request gets.
    next_free: Instant,
    /// The assigned slots, by the key of the request.
    slots: HashMap<Key, Instant>,
    /// The time when abandoned slots were last dropped.
    tidied: Instant,
}

impl<K: Clone + Eq + Hash> Slots<K> {
    /// Returns one slot per period for each key.
    pub(super) fn with_period(period: Duration) -> Self {
        Self { period, sequences: HashMap::new(), tidied: None }
    }

    fn sequence(&mut self, key: &K, now: Instant) -> &mut Sequence {
        if self.tidied.is_none_or(|tidied| now >= tidied + ABANDONED) {
            self.sequences.retain(|_, sequence| sequence.is_used(now));
            self.tidied = Some(now);
        }
        self.sequences.entry(key.clone()).or_insert_with(|| Sequence {
            next: now,
            next_free: now,
            slots: HashMap::new(),
            tidied: now,
        })
    }

    /// Returns the number of keys with a sequence.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Asks for one slot, for this request.
    pub(super) fn ask(&mut self, key: &K, request: Key, now: Instant) -> Slot {
        let period = self.period;
        let sequence = self.sequence(key, now);
        let slot = sequence.slots.get(&request).copied();
        let mine = slot.unwrap_or_else(|| sequence.next_free.max(sequence.next).max(now));
        let at = mine.max(sequence.next);
        if at <= now {
            sequence.slots.remove(&request);
            sequence.next = now + period;
            sequence.next_free = sequence.next_free.max(sequence.next);
            return Slot::Now;
        }
        if slot.is_none() {
            sequence.tidy(now);
            sequence.slots.insert(request, mine);
            sequence.next_free = mine + period;
        }
        Slot::Later { at }
    }

    /// Releases the slot of a request that has ended, or is gone.
    pub(super) fn forget(&mut self, request: Key) {
        self.release(|slots| slots.remove(&request));
    }

    /// Releases the slots of all requests but these.
    pub(super) fn retain(&mut self, requests: &HashSet<Key>) {
        self.release(|slots| slots.extract_if(|request, _| !requests.contains(request)).map(|(_, slot)| slot).max());
    }

    /// Releases slots. `release` returns the latest of them. Where it was the last one of all, new
    /// requests get it.
    fn release(&mut self, mut release: impl FnMut(&mut HashMap<Key, Instant>) -> Option<Instant>) {
        for sequence in self.sequences.values_mut() {
            let released = release(&mut sequence.slots);
            if released.is_some_and(|slot| slot + self.period >= sequence.next_free) {
                sequence.next_free = sequence.slots.values().max().map_or(sequence.next, |last| *last + self.period);
            }
        }
    }
}

impl Sequence {
    /// Returns true unless a new sequence would behave in the same way.
    fn is_used(&self, now: Instant) -> bool {
        let waits = self.slots.values().any(|slot| *slot + ABANDONED > now);
        waits || self.next > now || self.next_free > now
    }

    fn tidy(&mut self, now: Instant) {
        if now >= self.tidied + ABANDONED {
            self.slots.retain(|_, slot| *slot + ABANDONED > now);
            self.tidied = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(per_second: f64) -> Slots<&'static str> {
        Slots::with_period(Duration::from_secs_f64(1.0 / per_second))
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn slots_of_requests_that_are_gone_are_free_again() {
        let start = Instant::now();
        let (mut all, here) = (slots(10.0), "support");
        let later = |wait| Slot::Later { at: start + millis(wait) };
        assert_eq!(all.ask(&here, Key::of_uid("a"), start), Slot::Now);
        for number in 0..10_000 {
            let uid = format!("gone-{number}");
            assert_eq!(all.ask(&here, Key::of_uid(&uid), start), later(100), "{uid}");
            all.forget(Key::of_uid(&uid));
        }
        for (uid, wait) in [("b", 100), ("c", 200), ("d", 300), ("e", 400)] {
            assert_eq!(all.ask(&here, Key::of_uid(uid), start), later(wait), "{uid}");
        }
        all.retain(&["b", "c"].map(Key::of_uid).into());
        for (uid, wait) in [("c", 200), ("f", 300), ("g", 400)] {
            assert_eq!(all.ask(&here, Key::of_uid(uid), start), later(wait), "{uid}");
        }
        all.forget(Key::of_uid("c"));
        assert_eq!(all.ask(&here, Key::of_uid("h"), start), later(500), "a slot between others stays empty");
    }

    #[test]
    fn newcomers_queue_up_one_period_apart_and_keep_their_place() {
        let start = Instant::now();
        let mut all = slots(10.0);
        let here = "support";
        assert_eq!(all.ask(&here, Key::of_uid("a"), start), Slot::Now);
        for (uid, wait) in [("b", 100), ("c", 200), ("d", 300), ("c", 200)] {
            let later = Slot::Later { at: start + millis(wait) };
            assert_eq!(all.ask(&here, Key::of_uid(uid), start), later, "{uid}");
        }
        assert_eq!(all.ask(&here, Key::of_uid("b"), start + millis(100)), Slot::Now);
        assert!(matches!(all.ask(&here, Key::of_uid("c"), start + millis(150)), Slot::Later { .. }));
        assert_eq!(all.ask(&here, Key::of_uid("c"), start + millis(200)), Slot::Now);
    }

    #[test]
    fn slots_never_exceed_the_rate_for_any_requests() {
        let start = Instant::now();
        let mut all = slots(10.0);
        let here = "support";
        let mut calls = 0;
        for tick in 0..1000u64 {
            for uid in 0..7u64 {
                let uid = (tick * 7 + uid) % 997;
                calls += u32::from(all.ask(&here, Key::of_uid(&uid.to_string()), start + millis(tick)) == Slot::Now);
            }
        }
        assert!((5..=11).contains(&calls), "{calls} slots in a second");
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let start = Instant::now();
        let mut all = slots(1.0);
        for key in ["support", "security"] {
            assert_eq!(all.ask(&key, Key::of_uid("a"), start), Slot::Now);
        }
    }

    #[test]
    fn places_of_deleted_requests_are_given_up() {
        let start = Instant::now();
        let mut all = slots(1000.0);
        let here = "support";
        for uid in 0..100 {
            all.ask(&here, Key::of_uid(&uid.to_string()), start);
        }
        let later = start + ABANDONED * 2;
        assert_eq!(all.ask(&here, Key::of_uid("now"), later), Slot::Now);
        assert!(matches!(all.ask(&here, Key::of_uid("next"), later), Slot::Later { .. }));
        assert_eq!(all.sequences.values().map(|sequence| sequence.slots.len()).sum::<usize>(), 1);
    }

    #[test]
    fn a_place_is_kept_until_its_turn_has_been_over_for_a_minute() {
        let start = Instant::now();
        let mut all = slots(0.01);
        let here = "support";
        let seconds = |number| start + Duration::from_secs(number);
        assert_eq!(all.ask(&here, Key::of_uid("a"), start), Slot::Now);
        for (asked, uid, at) in [(0, "b", 100), (0, "c", 200), (90, "d", 300)] {
            let later = Slot::Later { at: seconds(at) };
            assert_eq!(all.ask(&here, Key::of_uid(uid), seconds(asked)), later, "{uid}");
        }
        let number = |all: &Slots<&str>| all.sequences.values().map(|sequence| sequence.slots.len()).sum::<usize>();
        assert_eq!(number(&all), 3, "no slot has come");
        all.ask(&here, Key::of_uid("e"), seconds(160));
        assert_eq!(number(&all), 3, "the slot of b is given up");
        assert_eq!(all.ask(&here, Key::of_uid("c"), seconds(200)), Slot::Now);
    }

    #[test]
    fn a_request_that_has_ended_gives_its_place_back() {
        let start = Instant::now();
        let mut all = slots(10.0);
        let here = "support";
        assert_eq!(all.ask(&here, Key::of_uid("a"), start), Slot::Now);
        for (asks, wait) in [("b", 100), ("c", 200)] {
            assert_eq!(all.ask(&here, Key::of_uid(asks), start), Slot::Later { at: start + millis(wait) });
        }
        all.forget(Key::of_uid("b"));
        let last = Slot::Later { at: start + millis(300) };
        assert_eq!(all.ask(&here, Key::of_uid("b"), start), last, "it queues up again");
        assert_eq!(all.ask(&here, Key::of_uid("c"), start + millis(200)), Slot::Now, "and nobody else has to");
    }
}
