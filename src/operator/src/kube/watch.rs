//! The configuration of watches.

use std::time::Duration;

use kube::runtime::watcher::Config;

/// Returns the configuration of a watch that the API server ends after this time.
#[must_use]
pub(crate) fn config(timeout: Duration) -> Config {
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    Config::default().timeout(seconds)
}
