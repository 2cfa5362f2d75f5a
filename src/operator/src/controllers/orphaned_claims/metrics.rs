//! The metrics of orphaned claims.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// The metrics of orphaned claims.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    found: Counter,
    errors: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { found, errors } = self;
        let help = "Open claims found without a pending request, once for each scan";
        registry.register("orphaned_claims_found", help, found.clone());
        let help = "Open claims that could not be resolved, and scans of them that ended early";
        registry.register("orphaned_claims_errors", help, errors.clone());
    }

    /// Counts an open claim without a pending request.
    pub(crate) fn found(&self) {
        self.found.inc();
    }

    /// Counts a claim that could not be resolved, or a scan that ended early.
    pub(crate) fn error(&self) {
        self.errors.inc();
    }
}
