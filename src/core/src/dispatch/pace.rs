//! The pace of a lane: a budget that is evenly spaced, halved by throttling, and regained in steps
//! (AIMD).
//!
//! The next turn is due one period after the last one was *due*, not after it was taken. So a timer
//! that fires late costs nothing, as long as it is late by at most [`LATE`]: the turns that were
//! missed follow at once. The price is exact. For any two turns i < j, the due time of j is at
//! least `taken(i) - LATE + (j - i) / B`. So a window of t seconds has at most `1 + B * (t + LATE)`
//! turns, and one whose turns are taken on time has at most `1 + B * t`. No pacer can keep that
//! second bound and make up for lateness as well: turns that are all late, and never closer than a
//! period, are fewer than the budget.
//!
//! After throttling the rate is halved, once for all calls that began before. It grows again after
//! a response that shows that Cognito accepts calls: by the same step each second, so that it is
//! back at the budget after [`RAMP`] regardless of its depth. As long as each call is throttled it
//! does not grow at all.

use std::time::{Duration, Instant};

/// The maximum time between two turns, regardless of throttling, unless the budget itself is lower.
pub const SLOWEST: Duration = Duration::from_secs(10);
/// The lateness that is made up for.
pub const LATE: Duration = Duration::from_millis(20);
/// The time between two steps of the rate.
pub const STEP: Duration = Duration::from_secs(1);
/// The number of steps from a rate near zero to the budget.
const STEPS: u32 = 15;
/// The time from the first accepted call after throttling to the budget. With a wait of at most
/// [`SLOWEST`] for that call, the budget is regained within 25 s and the time of one call.
pub const RAMP: Duration = Duration::from_secs(15);
/// The maximum pause that a response can demand. An intermediary could forge a longer one.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// A rate, between 0.001 and 10,000 per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    const LOWEST: f64 = 0.001;
    const HIGHEST: f64 = 10_000.0;

    /// Returns this rate, or the nearest one that is possible.
    #[must_use]
    pub const fn per_second(rate: f64) -> Self {
        if rate >= Self::LOWEST { Self(rate.min(Self::HIGHEST)) } else { Self(Self::LOWEST) }
    }

    /// Returns this number per minute, or the nearest rate that is possible.
    #[must_use]
    pub fn per_minute(number: u32) -> Self {
        Self::per_second(f64::from(number) / 60.0)
    }

    /// Returns the number per second.
    #[must_use]
    pub const fn as_per_second(self) -> f64 {
        self.0
    }

    /// Returns the time between two turns, rounded up.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0) + Duration::from_nanos(1)
    }

    fn half(self) -> Self {
        Self(self.0 / 2.0)
    }

    fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

/// The pace of one lane, or of one grant.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The rate without throttling.
    budget: Rate,
    /// The rate at the beginning of the growth.
    rate: Rate,
    /// The growth after throttling, once a call was accepted.
    growing: Option<Instant>,
    /// The last time at which the rate was halved.
    halved: Option<Instant>,
    /// The time at which the last turn was due, moved up by lateness beyond [`LATE`].
    last: Option<Instant>,
    /// The shortest time from the last turn to the next one, besides that of the rate.
    spacing: Duration,
    /// No turn is due before this.
    not_before: Instant,
}

impl Pace {
    /// Returns a pace whose first turn is due at once.
    #[must_use]
    pub const fn new(budget: Rate, now: Instant) -> Self {
        Self { budget, rate: budget, growing: None, halved: None, last: None, spacing: Duration::ZERO, not_before: now }
    }

    /// Returns the rate without throttling.
    #[must_use]
    pub const fn budget(&self) -> Rate {
        self.budget
    }

    /// Returns the time from which a turn is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        let Some(last) = self.last else { return self.not_before };
        let spaced = match self.growing {
            None => last + self.rate.period(),
            Some(growing) => self.due_while_growing(last, growing),
        };
        spaced.max(last + self.spacing).max(self.not_before)
    }

    /// Returns the first moment that is one period of the rate at that moment after `last`.
    fn due_while_growing(&self, last: Instant, growing: Instant) -> Instant {
        let steps = (0..STEPS).map(|step| {
            let (begin, end) = (growing + STEP * step, growing + STEP * (step + 1));
            (begin.max(last + self.after_steps(step).period()), end)
        });
        let full = (growing + STEP * STEPS).max(last + self.budget.period());
        steps.filter(|(due, end)| due < end).map(|(due, _)| due).next().unwrap_or(full)
    }

    /// Takes a turn if one is due.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_spaced(Duration::ZERO, now)
    }

    /// Takes a turn if one is due. The next one is not due within this time after it.
    pub fn take_spaced(&mut self, spacing: Duration, now: Instant) -> bool {
        let due = self.due();
        if now < due {
            return false;
        }
        self.last = Some(now.checked_sub(LATE).map_or(due, |earliest| due.max(earliest)));
        self.spacing = spacing;
        if self.growing.is_some() && self.rate_at(now) >= self.budget {
            (self.rate, self.growing) = (self.budget, None);
        }
        true
    }

    /// Slows down after Cognito throttled a call that began at this time. No turn is due before
    /// the pause that the response demands is over.
    pub fn throttled(&mut self, begun: Instant, retry_after: Option<Duration>, now: Instant) {
        if self.halved.is_none_or(|halved| begun > halved) {
            self.rate = self.rate_at(now).half().max(self.slowest());
            (self.growing, self.halved) = (None, Some(now));
            self.not_before = self.not_before.max(now + self.rate.period());
        }
        let pause = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.not_before = self.not_before.max(now + pause);
    }

    /// Begins to speed up after Cognito accepted a call that began at this time. A call that began
    /// before the rate was halved shows nothing.
    pub fn accepted(&mut self, begun: Instant, now: Instant) {
        let is_slow = self.rate < self.budget && self.growing.is_none();
        if is_slow && self.halved.is_none_or(|halved| begun > halved) {
            self.growing = Some(now);
        }
    }

    /// Changes the budget.
    pub fn set_budget(&mut self, budget: Rate) {
        if self.rate >= self.budget || self.rate > budget {
            (self.rate, self.growing) = (budget, None);
        }
        self.budget = budget;
    }

    /// Returns the time before which no call may begin, because Cognito throttled.
    #[must_use]
    pub const fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Returns true while the rate is below the budget.
    #[must_use]
    pub fn is_slowed(&self, now: Instant) -> bool {
        self.rate_at(now) < self.budget || now < self.not_before
    }

    /// Returns true if a new pace would behave in the same way.
    #[must_use]
    pub fn is_at_rest(&self, now: Instant) -> bool {
        self.due() <= now && !self.is_slowed(now)
    }

    fn rate_at(&self, now: Instant) -> Rate {
        let grown = self.growing.map_or(0, |growing| now.saturating_duration_since(growing).as_secs());
        self.after_steps(u32::try_from(grown).unwrap_or(STEPS))
    }

    fn after_steps(&self, steps: u32) -> Rate {
        let grown = self.budget.0 * f64::from(steps) / f64::from(STEPS);
        Rate((self.rate.0 + grown).min(self.budget.0))
    }

    fn slowest(&self) -> Rate {
        let slowest = Rate(1.0 / SLOWEST.as_secs_f64());
        if slowest < self.budget { slowest } else { self.budget }
    }
}

#[cfg(test)]
mod tests;
