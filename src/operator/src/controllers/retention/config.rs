//! The configuration of retention.

use std::time::Duration;

use cognito_reset_core::{machine::signed, watched_namespaces::WatchedNamespaces};
use jiff::SignedDuration;

use crate::cli::RunArgs;

/// The retention, and the intervals and rate of the scans.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The timeout of each call to the API server.
    pub(crate) api_timeout: Duration,
    /// The time for which a record is kept after its last write; `None` to keep all records.
    pub(crate) retention: Option<SignedDuration>,
    /// The time between two scans of all records.
    pub(crate) records_period: Duration,
    /// The time between two scans of the finished requests with a time to live, and of the records
    /// of ungranted requests.
    pub(crate) short_period: Duration,
    /// The maximum number of objects per second that are read again for deletion.
    pub(crate) rate: f64,
    /// The namespaces whose requests, and the records of whose requests, are deleted.
    pub(crate) watched: WatchedNamespaces,
}

impl Config {
    /// Returns about how many records of ungranted requests a scan reads again, at this rate.
    pub(crate) fn reads_per_scan(&self) -> u64 {
        let turn = Duration::from_secs_f64(1.0 / self.rate);
        let reads = self.short_period.as_nanos() / turn.as_nanos().max(1);
        u64::try_from(reads).unwrap_or(u64::MAX).max(1)
    }
}

impl From<&RunArgs> for Config {
    fn from(args: &RunArgs) -> Self {
        let retention = signed(args.record_retention);
        Self {
            api_timeout: args.api_timeout,
            retention: (!retention.is_zero()).then_some(retention),
            records_period: args.retention_scan_interval,
            short_period: args.sweep_interval,
            rate: args.retention_rate,
            watched: args.watch_namespaces.clone(),
        }
    }
}
