//! Counts requests by their outcome.

use std::fmt;

use cognito_reset_api::Outcome;

use crate::request::Request;

/// The number of requests of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests for which a reset was performed.
    pub succeeded: usize,
    /// Requests that ended as Succeeded although nothing was sent for them.
    pub not_sent: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Requests of which it cannot be determined whether the reset happened.
    pub unknown: usize,
    /// Requests that have not ended.
    pub pending: usize,
}

impl Tally {
    /// Counts a request.
    pub fn add(&mut self, request: &Request) {
        match request.outcome() {
            Outcome::Succeeded if request.nothing_was_sent() => self.not_sent += 1,
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
            Outcome::Pending => self.pending += 1,
        }
    }

    /// Returns the number of requests.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.ended() + self.pending
    }

    /// Returns the number of requests that have ended.
    #[must_use]
    pub const fn ended(&self) -> usize {
        self.succeeded + self.not_sent + self.failed + self.unknown
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, not_sent, failed, unknown, pending } = self;
        write!(f, "{succeeded} succeeded, {failed} failed, {unknown} unknown, {pending} pending")?;
        if *not_sent > 0 {
            write!(f, ", {not_sent} performed before (nothing was sent now)")?;
        }
        Ok(())
    }
}
