//! Puts together the metrics of all parts of the operator.

use prometheus_client::registry::Registry;

use crate::{
    controllers::{grant, orphaned_claims, request, retention},
    kube::{lease::LeadershipMetric, requests::ApiRequests},
    telemetry::{metrics::ProcessMetrics, process::Process},
};

/// The metrics of all parts. Clones count the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) process: ProcessMetrics,
    /// The requests to the API server.
    pub api_requests: ApiRequests,
    pub(crate) leadership: LeadershipMetric,
    pub(crate) requests: request::metrics::Metrics,
    pub(crate) grants: grant::metrics::Metrics,
    pub(crate) orphaned_claims: orphaned_claims::metrics::Metrics,
    pub(crate) retention: retention::metrics::Metrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let process = ProcessMetrics::default();
        Self {
            api_requests: ApiRequests::default(),
            leadership: LeadershipMetric::default(),
            requests: request::metrics::Metrics::new(process.clone()),
            grants: grant::metrics::Metrics::new(process.clone()),
            orphaned_claims: orphaned_claims::metrics::Metrics::default(),
            retention: retention::metrics::Metrics::new(process.clone()),
            process,
        }
    }
}

impl Metrics {
    /// Returns a registry with all metrics.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let Self { process, api_requests, leadership, requests, grants, orphaned_claims, retention } = self;
        let mut root = Registry::default();
        root.register_collector(Box::new(Process));
        let registry = root.sub_registry_with_prefix("cognito_reset");
        requests.register(registry);
        grants.register(registry);
        orphaned_claims.register(registry);
        retention.register(registry);
        process.register(registry);
        leadership.register(registry);
        api_requests.register(registry);
        root
    }
}

#[cfg(test)]
mod tests;
