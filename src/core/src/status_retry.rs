//! How long a status that could not be written waits until it is tried again. Pure.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after a failure, by how many failures there were before: doubled each time, up to five minutes.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(failures.min(16))).min(LONGEST_PAUSE)
}
