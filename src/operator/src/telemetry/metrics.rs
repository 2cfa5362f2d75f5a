//! The metrics that several parts of the operator count, and the text of all metrics.
//!
//! Every other metric belongs to the part that counts it, which also registers it. Labels are
//! strings from closed lists. The name of a user, pool or object is never a label.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    step: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    object: &'static str,
    by: &'static str,
}

/// The metrics that several parts of the operator count.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessMetrics {
    aws_failures: Family<Failed, Counter>,
    writes_refused: Family<Refused, Counter>,
    invalid_objects: Counter,
    events_dropped: Counter,
}

impl ProcessMetrics {
    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Failures before or without a response to a reset, by step (endpoint, credentials, role, read, reset) and cause";
        registry.register("aws_failures", help, self.aws_failures.clone());
        let help = "Writes that the API server rejected, by object and by who rejects them";
        registry.register("writes_refused", help, self.writes_refused.clone());
        let help = "Objects that could not be parsed, once for each state of one";
        registry.register("invalid_objects", help, self.invalid_objects.clone());
        registry.register("events_dropped", "Events that were not published", self.events_dropped.clone());
    }

    /// Counts a failure of AWS.
    pub(crate) fn aws_failed(&self, step: &'static str, cause: &'static str) {
        self.aws_failures.get_or_create(&Failed { step, cause }).inc();
    }

    /// Counts a rejected write of an object. `by` is the kind of who rejects it. The name is not a
    /// label, because the number of names is unlimited.
    pub(crate) fn write_refused(&self, object: &'static str, by: &'static str) {
        self.writes_refused.get_or_create(&Refused { object, by }).inc();
    }

    /// Counts an object that could not be parsed.
    pub(crate) fn invalid_object(&self) {
        self.invalid_objects.inc();
    }

    /// Counts an Event that was not published.
    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }
}

/// Returns all metrics in the OpenMetrics text format.
///
/// # Errors
/// Returns an error if a metric cannot be written as text.
pub(crate) fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}
