//! Counts requests by their outcome.

use std::fmt;

use cognito_reset_api::Outcome;

use crate::request::Request;

/// The state of a request, as its status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not ended.
    Pending,
    /// A reset was performed for it.
    Succeeded,
    /// It ended as Succeeded without a reset: one had been performed before, or the user already
    /// had to reset the password.
    NotNeeded,
    /// It failed.
    Failed,
    /// It cannot be determined whether the reset happened.
    Unknown,
    /// It was deleted before this program saw an outcome.
    Deleted,
}

impl From<&Request> for State {
    fn from(request: &Request) -> Self {
        match request.outcome() {
            Outcome::Succeeded if request.needed_no_reset() => Self::NotNeeded,
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Unknown => Self::Unknown,
            Outcome::Pending => Self::Pending,
        }
    }
}

/// The number of requests of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests for which a reset was performed.
    pub succeeded: usize,
    /// Requests that ended as Succeeded without a reset.
    pub not_needed: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Requests of which it cannot be determined whether the reset happened.
    pub unknown: usize,
    /// Requests that have not ended.
    pub pending: usize,
    /// Requests that were deleted before an outcome was seen. Only a command that watches counts
    /// them.
    pub deleted: usize,
}

impl Tally {
    /// Counts a request.
    pub fn add(&mut self, request: &Request) {
        *self.of(request.into()) += 1;
    }

    /// Returns the number of requests of a state.
    pub const fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Pending => &mut self.pending,
            State::Succeeded => &mut self.succeeded,
            State::NotNeeded => &mut self.not_needed,
            State::Failed => &mut self.failed,
            State::Unknown => &mut self.unknown,
            State::Deleted => &mut self.deleted,
        }
    }

    /// Returns the number of requests.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.ended() + self.pending
    }

    /// Returns the number of requests of which nothing more is expected.
    #[must_use]
    pub const fn ended(&self) -> usize {
        self.succeeded + self.not_needed + self.failed + self.unknown + self.deleted
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, not_needed, failed, unknown, pending, deleted } = self;
        write!(f, "{succeeded} succeeded, {failed} failed, {unknown} unknown, {pending} pending")?;
        if *not_needed > 0 {
            write!(f, ", {not_needed} succeeded without a reset now")?;
        }
        if *deleted > 0 {
            write!(f, ", {deleted} deleted before an outcome was seen")?;
        }
        Ok(())
    }
}
