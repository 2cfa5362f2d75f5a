//! The turns in which the records of a namespace are closed.
//!
//! Anybody who may create requests can make the operator close records: of requests that no grant
//! matches and that end at their deadline. Retention deletes these records soon, unless they
//! remember an expiry. So the number that exists at a time is bounded by the rate at which they are
//! written, and that rate depends on the time for which they are kept.

mod slots;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;

pub use self::slots::Slot;
use self::slots::Slots;
use crate::{
    dispatch::key::Key,
    retention::policy::{LONGEST_UNGRANTED, UNGRANTED_RETENTION},
};

/// The number of ungranted records of each queue that a namespace can cause within the time for
/// which they are kept.
pub const MOST_UNGRANTED: u32 = 4500;

/// The queue in which a record is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosingQueue {
    /// The queue of every other closing: 5 a second.
    Short,
    /// The queue of ungranted records that an expiry keeps for more than 15 minutes: one in 19.2 s.
    Long,
}

impl ClosingQueue {
    /// Returns the queue of a closing, by the expiry that the record will remember.
    #[must_use]
    pub fn of(ungranted: bool, expires: Option<Timestamp>, now: Timestamp) -> Self {
        let is_kept_longer = expires.is_some_and(|expires| expires.duration_since(now) > UNGRANTED_RETENTION);
        if ungranted && is_kept_longer { Self::Long } else { Self::Short }
    }

    /// Returns the time between two closings: the longest time for which retention keeps an
    /// ungranted record of this queue, divided by the most that may exist.
    #[must_use]
    pub fn period(self) -> Duration {
        let kept = match self {
            Self::Short => UNGRANTED_RETENTION,
            Self::Long => LONGEST_UNGRANTED,
        };
        kept.unsigned_abs() / MOST_UNGRANTED
    }
}

/// The closings of all namespaces.
#[derive(Debug)]
pub struct Closings {
    short: Slots<String>,
    long: Slots<String>,
}

impl Default for Closings {
    fn default() -> Self {
        let slots = |queue: ClosingQueue| Slots::with_period(queue.period());
        Self { short: slots(ClosingQueue::Short), long: slots(ClosingQueue::Long) }
    }
}

impl Closings {
    /// Asks for one slot of the namespace, for this request.
    pub fn ask(&mut self, namespace: &str, queue: ClosingQueue, request: Key, now: Instant) -> Slot {
        let slots = match queue {
            ClosingQueue::Short => &mut self.short,
            ClosingQueue::Long => &mut self.long,
        };
        slots.ask(&namespace.to_owned(), request, now)
    }

    /// Releases the slots of a request that has ended, or is gone.
    pub fn forget(&mut self, request: Key) {
        self.short.forget(request);
        self.long.forget(request);
    }

    /// Releases the slots of all requests but these.
    pub fn retain(&mut self, requests: &HashSet<Key>) {
        self.short.retain(requests);
        self.long.retain(requests);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn queue_depends_on_the_time_for_which_a_record_is_kept() {
        let minutes = |minutes| Some(NOW + SignedDuration::from_mins(minutes));
        for (name, ungranted, expires, queue) in [
            ("without an expiry", true, None, ClosingQueue::Short),
            ("expired", true, minutes(-1), ClosingQueue::Short),
            ("not kept longer by its expiry", true, minutes(15), ClosingQueue::Short),
            ("kept longer", true, minutes(16), ClosingQueue::Long),
            ("kept for a day", true, Some(Timestamp::MAX), ClosingQueue::Long),
            ("granted, and kept for a year anyway", false, Some(Timestamp::MAX), ClosingQueue::Short),
        ] {
            assert_eq!(ClosingQueue::of(ungranted, expires, NOW), queue, "{name}");
        }
    }

    #[test]
    fn ungranted_records_of_a_namespace_are_bounded() {
        for (queue, kept, period) in [
            (ClosingQueue::Short, UNGRANTED_RETENTION, millis(200)),
            (ClosingQueue::Long, LONGEST_UNGRANTED, millis(19_200)),
        ] {
            assert_eq!(queue.period(), period);
            let start = Instant::now();
            let mut closings = Closings::default();
            assert_eq!(closings.ask("noisy", queue, Key::of_uid("0"), start), Slot::Now);
            let waits = |number: u32| Slot::Later { at: start + period * number };
            for number in 1..MOST_UNGRANTED {
                assert_eq!(closings.ask("noisy", queue, Key::of_uid(&number.to_string()), start), waits(number));
            }
            // The next one is closed when the first one is deleted.
            assert_eq!(closings.ask("noisy", queue, Key::of_uid("next"), start), waits(MOST_UNGRANTED));
            assert_eq!(period * MOST_UNGRANTED, kept.unsigned_abs());
            assert_eq!(
                closings.ask("other", queue, Key::of_uid("0"), start),
                Slot::Now,
                "another namespace does not wait"
            );
        }
    }

    #[test]
    fn long_queue_does_not_delay_the_short_one() {
        let start = Instant::now();
        let mut closings = Closings::default();
        for uid in 0..100 {
            closings.ask("noisy", ClosingQueue::Long, Key::of_uid(&uid.to_string()), start);
        }
        assert_eq!(closings.ask("noisy", ClosingQueue::Short, Key::of_uid("granted"), start), Slot::Now);
        (0..100).for_each(|uid| closings.forget(Key::of_uid(&uid.to_string())));
        let later = start + ClosingQueue::Long.period() * 100;
        assert_eq!(closings.ask("noisy", ClosingQueue::Long, Key::of_uid("next"), later), Slot::Now);
    }

    #[test]
    fn sequences_that_nobody_uses_are_dropped() {
        use super::slots::ABANDONED;
        let start = Instant::now();
        let mut closings = Closings::default();
        for number in 0..100 {
            assert_eq!(
                closings.ask(&format!("namespace-{number}"), ClosingQueue::Short, Key::of_uid("uid"), start),
                Slot::Now
            );
        }
        let queue = |closings: &mut Closings, uid: &str| {
            closings.ask("long", ClosingQueue::Short, Key::of_uid(uid), start + ABANDONED)
        };
        for uid in 0..500 {
            queue(&mut closings, &uid.to_string());
        }
        assert_eq!(closings.short.len(), 1);
        let place = queue(&mut closings, "499");
        closings.ask("late", ClosingQueue::Short, Key::of_uid("uid"), start + ABANDONED * 2);
        assert_eq!(queue(&mut closings, "499"), place, "a queue that is not over is kept");
    }
}
