//! The metrics of requests.

mod beginning;
mod durations;
mod pending;

use cognito_reset_api::{Effect, Outcome, conditions::Reason};
use cognito_reset_core::{
    action::response::ResetResponse, ledger::attribution::Attribution, machine::note::AwsStep, refusal::Refuser,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub(crate) use self::{durations::Durations, pending::PendingRequests};
use crate::telemetry::metrics::{ProcessMetrics, begin};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    response: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    effect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attributed {
    to: &'static str,
}

/// The metrics of requests.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    finished: Family<Finished, Counter>,
    calls: Family<Called, Counter>,
    settled: Family<Settled, Counter>,
    attributed: Family<Attributed, Counter>,
    claims_lost: Counter,
    errors: Counter,
    in_flight: Gauge,
    pending: PendingRequests,
    durations: Durations,
    process: ProcessMetrics,
}

impl Metrics {
    /// Creates the metrics; `process` also counts failures of AWS and rejected writes.
    #[must_use]
    pub(crate) fn new(process: ProcessMetrics) -> Self {
        let (finished, calls, settled, attributed) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        for (outcome, reason) in beginning::ends() {
            begin(&finished, &Finished { outcome: outcome.as_str(), reason: reason.as_str() });
        }
        for response in beginning::responses() {
            begin(&calls, &Called { response });
        }
        for effect in [Effect::NotPerformed, Effect::Unknown, Effect::Performed] {
            begin(&settled, &Settled { effect: effect.as_str() });
        }
        for to in ["own", "awaited", "unclear"] {
            begin(&attributed, &Attributed { to });
        }
        Self {
            finished,
            calls,
            settled,
            attributed,
            claims_lost: Counter::default(),
            errors: Counter::default(),
            in_flight: Gauge::default(),
            pending: PendingRequests::default(),
            durations: Durations::default(),
            process,
        }
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self {
            finished,
            calls,
            settled,
            attributed,
            claims_lost,
            errors,
            in_flight,
            pending,
            durations,
            process: _,
        } = self;
        registry.register("requests_finished", "Requests that ended, by outcome and reason", finished.clone());
        registry.register("calls", "Calls of AdminResetUserPassword, by response", calls.clone());
        registry.register("attempts_settled", "Attempts settled in the ledger, by effect", settled.clone());
        let help = "Probes after a call without a clear response that showed a reset, by what the user's other records say: own (credited to the request), unclear (it ends as Unknown) or awaited (another call may be in flight, so the records are read again)";
        registry.register("probes_attributed", help, attributed.clone());
        let help = "Claims that another operator made first; more than a few mean a second installation";
        registry.register("claims_lost", help, claims_lost.clone());
        registry.register("reconcile_errors", "Reconciles of a request that ended with an error", errors.clone());
        registry.register("requests_in_flight", "Requests being worked on at this moment", in_flight.clone());
        registry.register_collector(Box::new(pending.clone()));
        durations.register(registry);
    }

    /// Returns the pending requests, which are counted when the metrics are read.
    #[must_use]
    pub(crate) const fn pending(&self) -> &PendingRequests {
        &self.pending
    }

    /// Returns the durations of requests and of Cognito's responses.
    #[must_use]
    pub(crate) const fn durations(&self) -> &Durations {
        &self.durations
    }

    /// Counts a request that has ended.
    pub(crate) fn finished(&self, outcome: Outcome, reason: Reason) {
        self.finished.get_or_create(&Finished { outcome: outcome.as_str(), reason: reason.as_str() }).inc();
    }

    /// Counts a call of Cognito.
    pub(crate) fn call(&self, response: &ResetResponse) {
        self.calls.get_or_create(&Called { response: response.name() }).inc();
    }

    /// Counts a settled attempt.
    pub(crate) fn settled(&self, effect: Effect) {
        self.settled.get_or_create(&Settled { effect: effect.as_str() }).inc();
    }

    /// Counts a claim that another operator made first.
    pub(crate) fn claim_lost(&self) {
        self.claims_lost.inc();
    }

    /// Counts a probe that showed a reset.
    pub(crate) fn attributed(&self, attribution: Attribution) {
        let to = match attribution {
            Attribution::Own => "own",
            Attribution::AwaitsOther(_) => "awaited",
            Attribution::Unclear => "unclear",
        };
        self.attributed.get_or_create(&Attributed { to }).inc();
    }

    /// Counts a failure of AWS, with a cause from a closed list.
    pub(crate) fn aws_failed(&self, step: AwsStep, cause: &'static str) {
        self.process.aws_failed(step.as_str(), cause);
    }

    /// Counts a rejected write of a record.
    pub(crate) fn record_refused(&self, by: &Refuser) {
        self.process.write_refused("record", by.kind());
    }

    /// Counts a rejected write of a status.
    pub(crate) fn status_refused(&self, by: &Refuser) {
        self.process.write_refused("status", by.kind());
    }

    /// Counts a reconcile that ended with an error.
    pub(crate) fn error(&self) {
        self.errors.inc();
    }

    /// Counts a request as being worked on until the guard is dropped.
    #[must_use]
    pub(crate) fn working(&self) -> Working {
        self.in_flight.inc();
        Working(self.in_flight.clone())
    }
}

/// A request being worked on.
pub(crate) struct Working(Gauge);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.dec();
    }
}
