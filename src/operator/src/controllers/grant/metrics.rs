//! The metrics of grants, most of which are shared with other parts of the operator.

use std::{sync::atomic::AtomicU64, time::Duration};

use cognito_reset_core::{action::port::SessionFailure, machine::note::AwsStep, refusal::Refuser};

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

use crate::telemetry::metrics::ProcessMetrics;

/// The metrics of grants.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    process: ProcessMetrics,
    confirmation_age: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Creates the metrics, which `process` counts.
    #[must_use]
    pub(crate) fn new(process: ProcessMetrics) -> Self {
        Self { process, confirmation_age: Gauge::default() }
    }

    /// Registers the metrics that are not those of the process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Age of the last confirmation of grants and holds at the end of the last try, in seconds";
        registry.register("grant_confirmation_age_seconds", help, self.confirmation_age.clone());
    }

    /// Sets the age of the last confirmation, or infinity if there was none.
    pub(crate) fn confirmed(&self, age: Option<Duration>) {
        self.confirmation_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }

    /// Counts a role that could not be assumed.
    pub(crate) fn role_failed(&self, failure: SessionFailure) {
        self.process.aws_failed(AwsStep::Role.as_str(), failure.as_str());
    }

    /// Counts a rejected write of a status.
    pub(crate) fn status_refused(&self, by: &Refuser) {
        self.process.write_refused("status", by.kind());
    }
}
