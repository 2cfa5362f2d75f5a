//! Objects that cannot be parsed: reported, never a stopped watch.

use std::sync::Arc;

use kube::{Resource, ResourceExt, core::DeserializeGuard};
use tracing::warn;

use crate::{events::Events, metrics::Metrics};

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub struct Unreadable {
    events: Events,
    metrics: Arc<Metrics>,
}

impl Unreadable {
    /// Reports by log, Event and metric.
    #[must_use]
    pub const fn new(events: Events, metrics: Arc<Metrics>) -> Self {
        Self { events, metrics }
    }

    /// The metrics that it counts in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Reports one. The parser's text may quote a field; Events and logs get its first line, cut.
    pub fn report<K: Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>, error: &str) {
        self.metrics.not_understood();
        warn!(
            kind = %K::kind(&()), namespace = object.meta().namespace.as_deref().unwrap_or_default(), name = %object.name_any(), %error,
            "unable to understand an object; it is left alone"
        );
        self.events.not_understood(object.object_ref(&()), error);
    }
}
