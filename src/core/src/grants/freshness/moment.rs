//! The moments by which confirmations are dated.

use std::time::Duration;

use jiff::Timestamp;

/// A moment by both clocks of the process.
///
/// The monotonic clock may stop while the machine is suspended, and the wall clock may be set. A
/// confirmation is as old as the clock says that has advanced more. A wall clock that is set back
/// therefore makes no confirmation younger, and one that is set ahead only forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The monotonic clock, as the time since a moment of this process.
    pub monotonic: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// Returns the time since an earlier moment, by the clock that has advanced more.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or_default();
        self.monotonic.saturating_sub(earlier.monotonic).max(by_wall)
    }
}
