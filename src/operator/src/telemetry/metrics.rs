//! Defines the Prometheus metrics. The name of a user, pool or object is never a label.

use cognito_reset_api::{Effect, Outcome, conditions::Reason};
use cognito_reset_core::{action::response::Answer, machine::note::AwsStep, refusal::Refuser};
use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    controllers::{
        request::{durations::Durations, pending::PendingRequests},
        retention::store::Kind,
    },
    kube::{lease::Leadership, requests::ApiRequests},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    step: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    object: &'static str,
    by: &'static str,
}

/// The object of a rejected write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A record: a claim, an effect, its closing, or its deletion.
    Record,
    /// The status of a request or of a grant.
    Status,
    /// A finished request that was to be deleted.
    Request,
    /// The Lease that lets one of several replicas work.
    Lease,
    /// An Event about an object.
    Event,
}

impl Target {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Status => "status",
            Self::Request => "request",
            Self::Lease => "lease",
            Self::Event => "event",
        }
    }
}

/// The operator's metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    finished: Family<Finished, Counter>,
    calls: Family<Called, Counter>,
    settled: Family<Settled, Counter>,
    aws_failures: Family<Failed, Counter>,
    errors: Counter,
    not_understood: Counter,
    events_dropped: Counter,
    in_flight: Gauge,
    leadership: Family<State, Gauge>,
    collected: Family<OfKind, Counter>,
    retention_errors: Family<OfKind, Counter>,
    history_swept: Family<OfKind, Gauge>,
    writes_refused: Family<OfRefusal, Counter>,
    api_requests: ApiRequests,
    pending: PendingRequests,
    durations: Durations,
}

impl Metrics {
    /// Registers all metrics.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self::default();
        let registry = metrics.registry.sub_registry_with_prefix("cognito_reset");
        registry.register("requests_finished", "Requests that ended, by outcome and reason", metrics.finished.clone());
        registry.register("calls", "Calls of AdminResetUserPassword, by response", metrics.calls.clone());
        registry.register("attempts_settled", "Attempts settled in the ledger, by effect", metrics.settled.clone());
        registry.register(
            "aws_failures",
            "Failures before or without a response to a reset, by step (endpoint, credentials, role, read, reset) and cause",
            metrics.aws_failures.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciles of a request that ended with an error",
            metrics.errors.clone(),
        );
        registry.register(
            "invalid_objects",
            "Objects that could not be parsed, once for each state of one",
            metrics.not_understood.clone(),
        );
        registry.register("events_dropped", "Events that were not published", metrics.events_dropped.clone());
        registry.register("requests_in_flight", "Requests being worked on at this moment", metrics.in_flight.clone());
        registry.register(
            "leadership",
            "State of this replica, 1 for one of: leader, standby, no-leader-seen",
            metrics.leadership.clone(),
        );
        registry.register(
            "retention_deleted",
            "Objects deleted because of their age: requests past their time to live, records past their retention",
            metrics.collected.clone(),
        );
        registry.register(
            "retention_errors",
            "Objects that could not be checked or deleted, and scans that ended early",
            metrics.retention_errors.clone(),
        );
        registry.register(
            "retention_last_scan_timestamp_seconds",
            "The API server's time, since 1970, at the end of the last complete scan of a kind",
            metrics.history_swept.clone(),
        );
        registry.register(
            "writes_refused",
            "Writes that the API server rejected, by object and by who rejects them",
            metrics.writes_refused.clone(),
        );
        metrics.api_requests.register(registry);
        metrics.durations.register(registry);
        registry.register_collector(Box::new(metrics.pending.clone()));
        metrics
    }

    /// Returns the pending requests, which are counted when the metrics are read.
    #[must_use]
    pub const fn pending(&self) -> &PendingRequests {
        &self.pending
    }

    /// Returns the durations of requests and of Cognito's responses.
    #[must_use]
    pub const fn durations(&self) -> &Durations {
        &self.durations
    }

    /// Returns the durations of requests to the API server.
    #[must_use]
    pub const fn api_requests(&self) -> &ApiRequests {
        &self.api_requests
    }

    /// Sets the state of this replica.
    pub fn leadership(&self, now: Leadership) {
        for each in Leadership::ALL {
            self.leadership.get_or_create(&State { state: each.as_str() }).set(i64::from(each == now));
        }
    }

    /// Counts a request that has ended.
    pub fn finished(&self, outcome: Outcome, reason: Reason) {
        self.finished.get_or_create(&Finished { outcome: outcome.as_str(), reason: reason.as_str() }).inc();
    }

    /// Counts a call of Cognito.
    pub fn call(&self, answer: &Answer) {
        self.calls.get_or_create(&Called { answer: answer.name() }).inc();
    }

    /// Counts a settled attempt.
    pub fn settled(&self, effect: Effect) {
        self.settled.get_or_create(&Settled { effect: effect.as_str() }).inc();
    }

    /// Counts a failure of AWS, with a cause from a closed list.
    pub fn aws_failed(&self, step: AwsStep, cause: &'static str) {
        self.aws_failures.get_or_create(&Failed { step: step.as_str(), cause }).inc();
    }

    /// Counts a reconcile that ended with an error.
    pub fn error(&self) {
        self.errors.inc();
    }

    /// Counts an object that could not be parsed.
    pub fn not_understood(&self) {
        self.not_understood.inc();
    }

    /// Counts an Event that was not published.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts a deleted record or request.
    pub fn collected(&self, kind: Kind) {
        self.collected.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// Counts a record or request that could not be checked or deleted.
    pub fn history_error(&self, kind: Kind) {
        self.retention_errors.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// Records the end of a scan. Without the API server's time no object could count as old.
    pub fn history_swept(&self, kind: Kind, now: Option<Timestamp>) {
        if let Some(now) = now {
            self.history_swept.get_or_create(&OfKind { kind: kind.as_str() }).set(now.as_second());
        }
    }

    /// Counts a write that the API server rejected. The name of who rejects it is not a label,
    /// because the number of names is unlimited.
    pub fn write_refused(&self, target: Target, by: &Refuser) {
        self.writes_refused.get_or_create(&OfRefusal { object: target.as_str(), by: by.kind() }).inc();
    }

    /// Counts a request as being worked on until the guard is dropped.
    #[must_use]
    pub fn working(&self) -> Working {
        self.in_flight.inc();
        Working(self.in_flight.clone())
    }

    /// Returns all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be written as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A request being worked on.
pub struct Working(Gauge);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
