//! Computes the pause before a status that could not be written is retried. Pure.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Returns the pause after a failure, by the number of earlier failures: doubled each time, up to
/// five minutes.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(16))).min(LONGEST_PAUSE)
}
