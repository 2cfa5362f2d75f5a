//! The metrics of grants, most of which are shared with other parts of the operator.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cognito_reset_core::{action::port::SessionFailure, machine::note::AwsStep, refusal::Refuser};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{controllers::grant::shared::SharedGrants, telemetry::metrics::ProcessMetrics};

/// The metrics of grants.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    process: ProcessMetrics,
    confirmation_age: ConfirmationAge,
}

impl Metrics {
    /// Creates the metrics, which `process` counts.
    #[must_use]
    pub(crate) fn new(process: ProcessMetrics) -> Self {
        Self { process, confirmation_age: ConfirmationAge::default() }
    }

    /// Registers the metrics that are not those of the process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.confirmation_age.clone()));
    }

    /// Begins to show the age of the last confirmation of these grants.
    pub(crate) fn confirming(&self, grants: Arc<SharedGrants>) {
        // There is one index in a process.
        let _ = self.confirmation_age.0.set(grants);
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

/// The age of the last confirmation of grants and holds. It is computed when the metrics are read,
/// so that it grows while nothing is confirmed. A process that does not confirm them shows none.
#[derive(Clone, Debug, Default)]
struct ConfirmationAge(Arc<OnceLock<Arc<SharedGrants>>>);

impl Collector for ConfirmationAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(grants) = self.0.get() else { return Ok(()) };
        let age = grants.confirmation_age().map_or(f64::INFINITY, |age: Duration| age.as_secs_f64());
        let help = "Age of the last confirmation of grants and holds; infinite if a leader has not confirmed them yet, and absent on a standby, which confirms nothing";
        let (name, unit) = ("grant_confirmation_age", Some(&Unit::Seconds));
        let gauge = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(age).encode(gauge)
    }
}
