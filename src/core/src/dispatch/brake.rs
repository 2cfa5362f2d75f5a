//! A brake: stops calls after failures that the next call would only repeat, and tries one at a
//! time until one shows that the cause is gone.
//!
//! The brake never tries by itself: a try is the turn of a request. If that request ends without a
//! call, or its call shows nothing, the next request may try at once.

use std::time::{Duration, Instant};

/// The identity of a turn. No two turns of a process have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnId(pub(super) u64);

/// The point at which a brake closes, and its pauses.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    /// The number of failures in a row at which the brake closes.
    closes_at: u32,
    /// The pause before the first try.
    first: Duration,
    /// The pauses after each failed try. The last one repeats.
    pauses: &'static [Duration],
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Stops a pool after one failed delivery, because each further one would lock out a user. What
/// causes it takes people minutes or hours to fix, or is a limit of the day.
pub const DELIVERY: Policy =
    Policy { closes_at: 1, first: seconds(60), pauses: &[seconds(5 * 60), seconds(15 * 60), seconds(60 * 60)] };

/// Stops a lane after three calls in a row without a response. A Region that comes back is noticed
/// within a minute and the time of one call, and one that hangs loses one call a minute.
pub const OUTAGE: Policy = Policy {
    closes_at: 3,
    first: seconds(1),
    pauses: &[seconds(2), seconds(4), seconds(8), seconds(16), seconds(32), seconds(60)],
};

/// A brake.
#[derive(Clone, Debug)]
pub struct Brake {
    policy: &'static Policy,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Open {
        /// The number of failures in a row.
        failures: u32,
    },
    Closed {
        /// Calls that began earlier are not responses to a try.
        since: Instant,
        /// The number of failed tries.
        failed: usize,
        /// The time of the next try.
        next: Instant,
        /// The turn that tries.
        tries: Option<TurnId>,
    },
}

impl Brake {
    /// Returns an open brake.
    #[must_use]
    pub const fn new(policy: &'static Policy) -> Self {
        Self { policy, state: State::Open { failures: 0 } }
    }

    /// Returns true if calls are stopped.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Returns true if the brake is open and counts no failures.
    #[must_use]
    pub const fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Open { failures: 0 })
    }

    /// Returns the time of the next try of a closed brake; `None` while one is under way.
    #[must_use]
    pub const fn next_try(&self) -> Option<Instant> {
        match self.state {
            State::Closed { next, tries: None, .. } => Some(next),
            State::Closed { tries: Some(_), .. } | State::Open { .. } => None,
        }
    }

    /// Returns true if this turn may begin its call.
    #[must_use]
    pub fn admits(&self, turn: TurnId) -> bool {
        match self.state {
            State::Open { .. } => true,
            State::Closed { tries, .. } => tries == Some(turn),
        }
    }

    /// Makes this turn the try of a closed brake. The caller has checked [`Self::next_try`].
    pub const fn begin_try(&mut self, turn: TurnId) {
        if let State::Closed { tries, .. } = &mut self.state {
            *tries = Some(turn);
        }
    }

    /// Counts a failure. Once the brake is closed, only tries count: the calls that were in flight
    /// failed for the same reason.
    pub fn failed(&mut self, turn: TurnId, now: Instant) {
        match &mut self.state {
            State::Open { failures } => {
                *failures += 1;
                if *failures >= self.policy.closes_at {
                    let next = now + self.policy.first;
                    self.state = State::Closed { since: now, failed: 0, next, tries: None };
                }
            }
            State::Closed { failed, next, tries, .. } if *tries == Some(turn) => {
                let pause = self.policy.pauses.get(*failed).or(self.policy.pauses.last());
                *next = now + pause.copied().unwrap_or(self.policy.first);
                *failed += 1;
                *tries = None;
            }
            State::Closed { .. } => {}
        }
    }

    /// Repeats the pause before a try whose result is not known.
    pub fn unclear(&mut self, turn: TurnId, now: Instant) {
        if let State::Closed { failed, next, tries, .. } = &mut self.state
            && *tries == Some(turn)
        {
            let pause =
                failed.checked_sub(1).and_then(|last| self.policy.pauses.get(last).or(self.policy.pauses.last()));
            *next = now + pause.copied().unwrap_or(self.policy.first);
            *tries = None;
        }
    }

    /// Lets another turn try at once, if this one was the try. It has shown nothing.
    pub fn ended(&mut self, turn: TurnId, now: Instant) {
        if let State::Closed { next, tries, .. } = &mut self.state
            && *tries == Some(turn)
        {
            *next = now;
            *tries = None;
        }
    }

    /// Opens the brake after a call that began at this time succeeded, unless it began before the
    /// brake was closed.
    pub fn succeeded(&mut self, begun: Instant) {
        match self.state {
            State::Closed { since, .. } if begun <= since => {}
            State::Open { .. } | State::Closed { .. } => self.open(),
        }
    }

    /// Opens the brake, whenever the call began that shows that the cause is gone.
    pub const fn open(&mut self) {
        self.state = State::Open { failures: 0 };
    }
}

#[cfg(test)]
mod tests;
