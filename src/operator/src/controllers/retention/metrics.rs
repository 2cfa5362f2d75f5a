//! The metrics of retention.

use cognito_reset_core::refusal::Refuser;
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    controllers::retention::store::Kind,
    telemetry::metrics::{ProcessMetrics, begin},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

impl From<Kind> for OfKind {
    fn from(kind: Kind) -> Self {
        Self { kind: kind.as_str() }
    }
}

/// The metrics of retention.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    deleted: Family<OfKind, Counter>,
    errors: Family<OfKind, Counter>,
    last_scan: Family<OfKind, Gauge>,
    process: ProcessMetrics,
}

impl Metrics {
    /// Creates the metrics; `process` also counts rejected deletions.
    #[must_use]
    pub(crate) fn new(process: ProcessMetrics) -> Self {
        let (deleted, errors) = (Family::default(), Family::default());
        for kind in Kind::ALL {
            begin(&deleted, &kind.into());
            begin(&errors, &kind.into());
        }
        Self { deleted, errors, last_scan: Family::default(), process }
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { deleted, errors, last_scan, process: _ } = self;
        let help = "Objects deleted because of their age, by kind: request (past its time to live), record (past its retention) or ungranted-record";
        registry.register("retention_deleted", help, deleted.clone());
        let help = "Objects that could not be checked or deleted, and scans that ended early, by kind";
        registry.register("retention_errors", help, errors.clone());
        let help = "The API server's time at the end of the last complete scan of a kind, since 1970; 0 before the first one, and absent on a standby";
        registry.register("retention_last_scan_timestamp_seconds", help, last_scan.clone());
    }

    /// Counts a deleted record or request.
    pub(crate) fn deleted(&self, kind: Kind) {
        self.deleted.get_or_create(&kind.into()).inc();
    }

    /// Counts a record or request that could not be checked or deleted, or a scan that ended early.
    pub(crate) fn error(&self, kind: Kind) {
        self.errors.get_or_create(&kind.into()).inc();
    }

    /// Begins to show the kinds that this process scans. They are 0 until their first scan ends, so
    /// that a kind that is never scanned is noticed.
    pub(crate) fn scanning(&self, kinds: &[Kind]) {
        for kind in kinds {
            drop(self.last_scan.get_or_create(&OfKind::from(*kind)));
        }
    }

    /// Records the end of a scan. Without the API server's time no object could count as old.
    pub(crate) fn scanned(&self, kind: Kind, now: Option<Timestamp>) {
        if let Some(now) = now {
            self.last_scan.get_or_create(&kind.into()).set(now.as_second());
        }
    }

    /// Counts a rejected deletion.
    pub(crate) fn deletion_refused(&self, kind: Kind, by: &Refuser) {
        self.process.write_refused(kind.as_str(), by.kind());
    }
}
