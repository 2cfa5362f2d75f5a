//! The metrics that several parts of the operator count.
//!
//! Every other metric belongs to the part that counts it, which also registers it. Labels are
//! strings from closed lists. The name of a user, pool or object is never a label. Each counter
//! begins with 0 for all its labels, because Prometheus does not see the increase to the first
//! value of a series.

use cognito_reset_api::{Exception, FailureCause};
use cognito_reset_core::{action::port::SessionFailure, machine::note::AwsStep, refusal::Refuser};
use prometheus_client::{
    encoding::EncodeLabelSet,
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

/// The objects whose writes can be rejected.
const WRITTEN: [&str; 6] = ["record", "status", "request", "lease", "event", "ungranted-record"];

/// The metrics that several parts of the operator count.
#[derive(Clone, Debug)]
pub(crate) struct ProcessMetrics {
    aws_failures: Family<Failed, Counter>,
    writes_refused: Family<Refused, Counter>,
    invalid_objects: Counter,
    events_dropped: Counter,
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        let (aws_failures, writes_refused) = (Family::default(), Family::default());
        for (step, cause) in failures() {
            begin(&aws_failures, &Failed { step: step.as_str(), cause });
        }
        for object in WRITTEN {
            for by in Refuser::KINDS {
                begin(&writes_refused, &Refused { object, by });
            }
        }
        Self { aws_failures, writes_refused, invalid_objects: Counter::default(), events_dropped: Counter::default() }
    }
}

/// Makes a counter show 0 for these labels.
pub(crate) fn begin<L>(family: &Family<L, Counter>, labels: &L)
where
    L: Clone + Eq + std::hash::Hash,
{
    drop(family.get_or_create(labels));
}

/// Returns each step with each cause of its failure.
fn failures() -> impl Iterator<Item = (AwsStep, &'static str)> {
    let sessions = [AwsStep::Credentials, AwsStep::Role]
        .into_iter()
        .flat_map(|step| SessionFailure::all().map(move |failure| (step, failure.as_str())));
    let others = ["UnrecognizedError", "NoResponse", "NotListed", "SeveralListed"];
    let reads =
        Exception::ALL.iter().map(|exception| exception.code()).chain(others).map(|cause| (AwsStep::Read, cause));
    let connections = FailureCause::ALL.map(FailureCause::as_str);
    let without_response = [AwsStep::Read, AwsStep::Reset]
        .into_iter()
        .flat_map(move |step| connections.into_iter().map(move |cause| (step, cause)));
    let endpoint = [(AwsStep::Endpoint, SessionFailure::RegionNotServed.as_str())];
    sessions.chain(reads).chain(without_response).chain(endpoint)
}

impl ProcessMetrics {
    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Failures before or without a response to a reset, by step (endpoint, credentials, role, read or reset) and cause";
        registry.register("aws_failures", help, self.aws_failures.clone());
        let help = "Writes that the API server rejected, by object (record, status, request, lease, event or ungranted-record) and by who rejects them: policy, webhook, quota, permission, crd (the rules of the CustomResourceDefinition) or other";
        registry.register("writes_refused", help, self.writes_refused.clone());
        let help = "Objects that could not be parsed, once for each uid, generation and error of an object";
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
