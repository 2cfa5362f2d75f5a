//! The metrics of grants. All of them are shared with other parts of the operator.

use cognito_reset_core::{action::port::SessionFailure, machine::note::AwsStep, refusal::Refuser};

use crate::telemetry::metrics::ProcessMetrics;

/// Counts the failures of grants.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(ProcessMetrics);

impl Metrics {
    /// Creates the metrics, which `process` counts.
    #[must_use]
    pub(crate) const fn new(process: ProcessMetrics) -> Self {
        Self(process)
    }

    /// Counts a role that could not be assumed.
    pub(crate) fn role_failed(&self, failure: SessionFailure) {
        self.0.aws_failed(AwsStep::Role.as_str(), failure.as_str());
    }

    /// Counts a rejected write of a status.
    pub(crate) fn status_refused(&self, by: &Refuser) {
        self.0.write_refused("status", by.kind());
    }
}
