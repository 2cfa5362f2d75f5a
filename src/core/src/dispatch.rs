//! The pacer: limits the calls per second for each account and Region, and slows down when Cognito
//! throttles.
//!
//! A request that has to wait gets a slot in a queue, and comes back when its slot is due. No task
//! waits here. Pure: the monotonic clock is an argument.

pub mod brake;
pub mod closings;
mod fair;
pub mod key;
pub mod lane;
pub mod meaning;
mod names;
pub mod pace;
pub mod plan;
mod rounds;
mod steps;
pub mod turns;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::{Duration, Instant},
};

/// The key of a quota of Cognito: an account, if the grant's role names one, and a Region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaKey {
    /// The account of the role to assume; absent for the operator's own credentials.
    pub account: Option<String>,
    /// The Region of the pool.
    pub region: String,
}

/// The result of asking for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The call may be made now.
    Now,
    /// The call has to wait.
    Later {
        /// The time to ask again.
        at: Instant,
        /// True if the wait is due to throttling by Cognito.
        throttled: bool,
    },
}

/// The maximum time between two calls, regardless of throttling.
pub const SLOWEST: Duration = Duration::from_secs(10);
/// The time after which an unused slot is dropped: its request was deleted.
pub const ABANDONED: Duration = Duration::from_secs(60);
/// The time after which a stopped pacer is asked again, which is too short to be shown.
const STOPPED: Duration = Duration::from_secs(1);

/// The rates by key: those of calls by account and Region, or those of closings by namespace.
#[derive(Debug)]
pub struct Pacer<K = QuotaKey> {
    period: Duration,
    quotas: HashMap<K, Quota>,
    /// The time when quotas that nobody uses were last dropped.
    tidied: Option<Instant>,
    /// True if no slot is due any more.
    stopped: bool,
}

#[derive(Debug)]
struct Quota {
    /// The number of times that the period has been doubled.
    slowed: u32,
    /// The time of the last change: slower after throttling, or faster after acceptance.
    changed: Instant,
    /// The earliest time of the next call.
    next: Instant,
    /// The slot that the next new request gets.
    next_free: Instant,
    /// The assigned slots, by the request's uid.
    slots: HashMap<String, Instant>,
    /// The time when abandoned slots were last dropped.
    tidied: Instant,
}

impl<K: Clone + Eq + Hash> Pacer<K> {
    /// Creates a pacer with `per_second` evenly spaced slots for each key.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        Self::with_period(Duration::from_secs_f64(1.0 / per_second))
    }

    /// Creates a pacer with one slot per period for each key.
    #[must_use]
    pub fn with_period(period: Duration) -> Self {
        Self { period, quotas: HashMap::new(), tidied: None, stopped: false }
    }

    fn quota(&mut self, key: &K, now: Instant) -> &mut Quota {
        if self.tidied.is_none_or(|tidied| now >= tidied + ABANDONED) {
            self.quotas.retain(|_, quota| quota.is_used(now));
            self.tidied = Some(now);
        }
        self.quotas.entry(key.clone()).or_insert_with(|| Quota {
            slowed: 0,
            changed: now,
            next: now,
            next_free: now,
            slots: HashMap::new(),
            tidied: now,
        })
    }

    /// Lets no slot be due any more.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Asks for one slot, for the request with this uid.
    pub fn ask(&mut self, key: &K, uid: &str, now: Instant) -> Slot {
        if self.stopped {
            return Slot::Later { at: now + STOPPED, throttled: false };
        }
        let base = self.period;
        let quota = self.quota(key, now);
        let period = quota.period(base);
        let slot = quota.slots.get(uid).copied();
        let mine = slot.unwrap_or_else(|| quota.next_free.max(quota.next).max(now));
        let at = mine.max(quota.next);
        if at <= now {
            quota.slots.remove(uid);
            quota.next = now + period;
            quota.next_free = quota.next_free.max(quota.next);
            return Slot::Now;
        }
        if slot.is_none() {
            quota.tidy(now);
            quota.slots.insert(uid.to_owned(), mine);
            quota.next_free = mine + period;
        }
        Slot::Later { at, throttled: quota.slowed > 0 }
    }

    /// Releases the slot of a request that has ended, or is gone.
    pub fn forget(&mut self, uid: &str) {
        self.release(|slots| slots.remove(uid));
    }

    /// Releases the slots of all requests but these.
    pub fn retain(&mut self, uids: &HashSet<String>) {
        self.release(|slots| slots.extract_if(|uid, _| !uids.contains(uid)).map(|(_, slot)| slot).max());
    }

    /// Releases slots. `release` returns the latest of them. Where it was the last one of all, new
    /// requests get it.
    fn release(&mut self, mut release: impl FnMut(&mut HashMap<String, Instant>) -> Option<Instant>) {
        for quota in self.quotas.values_mut() {
            let period = quota.period(self.period);
            let released = release(&mut quota.slots);
            if released.is_some_and(|slot| slot + period >= quota.next_free) {
                quota.next_free = quota.slots.values().max().map_or(quota.next, |last| *last + period);
            }
        }
    }

    /// Halves the rate after Cognito throttled, once for all responses to calls of the same period.
    pub fn throttled(&mut self, key: &K, now: Instant) {
        let base = self.period;
        let quota = self.quota(key, now);
        let period = quota.period(base);
        if (quota.slowed == 0 || now >= quota.changed + period) && period < SLOWEST {
            quota.slowed += 1;
            quota.changed = now;
        }
        quota.next = quota.next.max(now + quota.period(base));
    }

    /// Doubles the rate again, step by step, after Cognito did not throttle.
    pub fn accepted(&mut self, key: &K, now: Instant) {
        let base = self.period;
        let quota = self.quota(key, now);
        if quota.slowed > 0 && now >= quota.changed + quota.period(base) * 10 {
            quota.slowed -= 1;
            quota.changed = now;
        }
    }
}

impl Quota {
    /// Returns true unless a new quota would behave in the same way.
    fn is_used(&self, now: Instant) -> bool {
        let waits = self.slots.values().any(|slot| *slot + ABANDONED > now);
        waits || self.slowed > 0 || self.next > now || self.next_free > now
    }

    fn tidy(&mut self, now: Instant) {
        if now >= self.tidied + ABANDONED {
            self.slots.retain(|_, slot| *slot + ABANDONED > now);
            self.tidied = now;
        }
    }

    fn period(&self, base: Duration) -> Duration {
        base.saturating_mul(1 << self.slowed.min(24)).min(SLOWEST.max(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(region: &str) -> QuotaKey {
        QuotaKey { account: None, region: region.into() }
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn slots_of_requests_that_are_gone_are_free_again() {
        let start = Instant::now();
        let (mut pacer, here) = (Pacer::new(10.0), key("eu-west-1"));
        let later = |wait| Slot::Later { at: start + millis(wait), throttled: false };
        assert_eq!(pacer.ask(&here, "a", start), Slot::Now);
        for number in 0..10_000 {
            let uid = format!("gone-{number}");
            assert_eq!(pacer.ask(&here, &uid, start), later(100), "{uid}");
            pacer.forget(&uid);
        }
        for (uid, wait) in [("b", 100), ("c", 200), ("d", 300), ("e", 400)] {
            assert_eq!(pacer.ask(&here, uid, start), later(wait), "{uid}");
        }
        pacer.retain(&["b".to_owned(), "c".to_owned()].into());
        for (uid, wait) in [("c", 200), ("f", 300), ("g", 400)] {
            assert_eq!(pacer.ask(&here, uid, start), later(wait), "{uid}");
        }
        pacer.forget("c");
        assert_eq!(pacer.ask(&here, "h", start), later(500), "a slot between others stays empty");
    }

    #[test]
    fn newcomers_queue_up_one_period_apart_and_keep_their_place() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10.0);
        let here = key("eu-west-1");
        assert_eq!(pacer.ask(&here, "a", start), Slot::Now);
        for (uid, wait) in [("b", 100), ("c", 200), ("d", 300), ("c", 200)] {
            let later = Slot::Later { at: start + millis(wait), throttled: false };
            assert_eq!(pacer.ask(&here, uid, start), later, "{uid}");
        }
        assert_eq!(pacer.ask(&here, "b", start + millis(100)), Slot::Now);
        assert!(matches!(pacer.ask(&here, "c", start + millis(150)), Slot::Later { .. }));
        assert_eq!(pacer.ask(&here, "c", start + millis(200)), Slot::Now);
    }

    #[test]
    fn calls_never_exceed_the_rate_for_any_requests() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10.0);
        let here = key("eu-west-1");
        let mut calls = 0;
        for tick in 0..1000u64 {
            for uid in 0..7u64 {
                let uid = (tick * 7 + uid) % 997;
                calls += u32::from(pacer.ask(&here, &uid.to_string(), start + millis(tick)) == Slot::Now);
            }
        }
        assert!((5..=11).contains(&calls), "{calls} calls in a second");
    }

    #[test]
    fn stopped_pacer_gives_no_slot() {
        let start = Instant::now();
        let (mut pacer, here) = (Pacer::new(10.0), key("eu-west-1"));
        assert_eq!(pacer.ask(&here, "a", start), Slot::Now);
        pacer.stop();
        for (uid, wait) in [("b", 1000), ("a", 61_000)] {
            let later = Slot::Later { at: start + millis(wait), throttled: false };
            assert_eq!(pacer.ask(&here, uid, start + millis(wait) - STOPPED), later, "{uid}");
        }
    }

    #[test]
    fn accounts_and_regions_do_not_wait_for_each_other() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1.0);
        let other = QuotaKey { account: Some("123456789012".into()), region: "eu-west-1".into() };
        for key in [key("eu-west-1"), key("us-east-1"), other] {
            assert_eq!(pacer.ask(&key, "a", start), Slot::Now);
        }
    }

    #[test]
    fn throttling_halves_the_rate_once_per_period_and_recovers() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10.0);
        let here = key("eu-west-1");
        pacer.throttled(&here, start);
        pacer.throttled(&here, start + millis(1));
        let slower = Slot::Later { at: start + millis(201), throttled: true };
        assert_eq!(pacer.ask(&here, "a", start + millis(100)), slower);
        pacer.accepted(&here, start + millis(200));
        assert_eq!(pacer.ask(&here, "a", start + millis(201)), Slot::Now);
        assert_eq!(
            pacer.ask(&here, "b", start + millis(201)),
            Slot::Later { at: start + millis(401), throttled: true }
        );
        pacer.accepted(&here, start + millis(2500));
        assert_eq!(pacer.ask(&here, "b", start + millis(2500)), Slot::Now);
        assert_eq!(
            pacer.ask(&here, "c", start + millis(2500)),
            Slot::Later { at: start + millis(2600), throttled: false }
        );
        pacer.accepted(&here, start + millis(9000));
        assert_eq!(pacer.ask(&here, "c", start + millis(9000)), Slot::Now, "at full pace there is no more to recover");
    }

    #[test]
    fn places_of_deleted_requests_are_given_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1000.0);
        let here = key("eu-west-1");
        for uid in 0..100 {
            pacer.ask(&here, &uid.to_string(), start);
        }
        let later = start + ABANDONED * 2;
        assert_eq!(pacer.ask(&here, "now", later), Slot::Now);
        assert!(matches!(pacer.ask(&here, "next", later), Slot::Later { .. }));
        assert_eq!(pacer.quotas.values().map(|quota| quota.slots.len()).sum::<usize>(), 1);
    }

    #[test]
    fn a_place_is_kept_until_its_turn_has_been_over_for_a_minute() {
        let start = Instant::now();
        let mut pacer = Pacer::new(0.01);
        let here = key("eu-west-1");
        let seconds = |number| start + Duration::from_secs(number);
        assert_eq!(pacer.ask(&here, "a", start), Slot::Now);
        for (asked, uid, at) in [(0, "b", 100), (0, "c", 200), (90, "d", 300)] {
            let later = Slot::Later { at: seconds(at), throttled: false };
            assert_eq!(pacer.ask(&here, uid, seconds(asked)), later, "{uid}");
        }
        let slots = |pacer: &Pacer| pacer.quotas.values().map(|quota| quota.slots.len()).sum::<usize>();
        assert_eq!(slots(&pacer), 3, "no slot has come");
        pacer.ask(&here, "e", seconds(160));
        assert_eq!(slots(&pacer), 3, "the slot of b is given up");
        assert_eq!(pacer.ask(&here, "c", seconds(200)), Slot::Now);
    }

    #[test]
    fn a_request_that_has_ended_gives_its_place_back() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10.0);
        let here = key("eu-west-1");
        assert_eq!(pacer.ask(&here, "a", start), Slot::Now);
        for (asks, wait) in [("b", 100), ("c", 200)] {
            assert_eq!(pacer.ask(&here, asks, start), Slot::Later { at: start + millis(wait), throttled: false });
        }
        pacer.forget("b");
        let last = Slot::Later { at: start + millis(300), throttled: false };
        assert_eq!(pacer.ask(&here, "b", start), last, "it queues up again");
        assert_eq!(pacer.ask(&here, "c", start + millis(200)), Slot::Now, "and nobody else has to");
    }

    #[test]
    fn however_much_cognito_throttles_the_pace_has_a_floor() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10.0);
        let here = key("eu-west-1");
        let mut now = start;
        for _ in 0..50 {
            pacer.throttled(&here, now);
            now += SLOWEST;
        }
        assert_eq!(pacer.ask(&here, "a", now), Slot::Now);
        assert_eq!(pacer.ask(&here, "b", now), Slot::Later { at: now + SLOWEST, throttled: true });
        // From there one step also leads to a higher rate: 6.4 s.
        now += SLOWEST * 10;
        pacer.accepted(&here, now);
        assert_eq!(pacer.ask(&here, "b", now), Slot::Now);
        assert_eq!(pacer.ask(&here, "c", now), Slot::Later { at: now + millis(6400), throttled: true });
    }
}
