//! An attempt of the ledger, and the calls that can be its own.

use cognito_reset_api::{Attempt, Effect, Evidence, PasswordResetRecord};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::cloudtrail::Call;

/// The difference of clocks that is allowed for a call without a known request id.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// The time for which AWS accepts the signature of a call. It bounds a call of which the record has
/// no end: the process that made it may have ended long before another one settled the attempt.
const SIGNATURE: SignedDuration = SignedDuration::from_mins(5);

/// An attempt, as far as the comparison needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub(super) record: String,
    pub(super) namespace: String,
    pub(super) request: String,
    pub(super) pool: String,
    pub(super) user: String,
    pub(super) sub: Option<String>,
    pub(super) request_uid: String,
    pub(super) claimed: Timestamp,
    pub(super) sent: Option<Timestamp>,
    pub(super) settled: Option<Timestamp>,
    pub(super) effect: Option<Effect>,
    pub(super) exception: Option<String>,
    pub(super) evidence: Option<Evidence>,
    pub(super) aws_request_id: Option<String>,
}

impl Sent {
    pub(super) fn new(record: &PasswordResetRecord, attempt: &Attempt, effect: Option<Effect>) -> Self {
        let spec = &record.spec;
        Self {
            record: record.name_any(),
            namespace: spec.request.namespace.clone(),
            request: spec.request.name.clone(),
            pool: spec.user_pool_id.clone(),
            user: spec.username.clone(),
            sub: spec.user_sub.clone(),
            request_uid: attempt.origin.request_uid.clone(),
            claimed: attempt.claimed_at.0,
            sent: attempt.sent_at.as_ref().map(|time| time.0),
            settled: attempt.settled_at.as_ref().map(|time| time.0),
            effect,
            exception: attempt.exception_code.clone(),
            evidence: attempt.evidence,
            aws_request_id: attempt.aws_request_id.clone(),
        }
    }

    /// Returns the time of the sending; of the claim if no sending is known.
    pub(super) fn time(&self) -> Timestamp {
        self.sent.unwrap_or(self.claimed)
    }

    /// Returns true if the record says that nothing was sent.
    pub(super) const fn is_unsent(&self) -> bool {
        matches!(self.evidence, Some(Evidence::NeverSent | Evidence::Unreachable))
    }

    /// Returns true if a call of the attempt can have arrived at this time: after its claim, before
    /// the attempt was settled, and while AWS accepted its signature.
    fn is_time_of_call(&self, time: Timestamp) -> bool {
        let later = |time: Timestamp, by| time.checked_add(by).unwrap_or(Timestamp::MAX);
        let accepted = later(self.time(), SIGNATURE);
        let end = self.settled.map_or(accepted, |settled| settled.min(accepted));
        let begin = self.claimed.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
        begin <= time && time <= later(end, SKEW)
    }

    /// Returns how a call that was found to be the attempt's own contradicts it, or decides it.
    pub(super) fn contradiction(&self, call: &Call) -> Option<&'static str> {
        const DIFFER: &str = "the results differ";
        let is_known = self.evidence == Some(Evidence::CognitoResponse) || self.exception.is_some();
        let of_results = match (self.effect, &call.error) {
            _ if is_known => (self.exception != call.error).then_some(DIFFER),
            // The response was lost, and the effect is what the operator concluded.
            (Some(Effect::Performed), Some(_)) | (Some(Effect::NotPerformed), None) => Some(DIFFER),
            (None | Some(Effect::Unknown), None) => Some("CloudTrail shows that it succeeded"),
            (None | Some(Effect::Unknown | Effect::NotPerformed), Some(_)) | (Some(Effect::Performed), None) => None,
        };
        let users_differ = self.sub.as_ref().zip(call.sub.as_ref()).is_some_and(|(ours, its)| ours != its);
        of_results.or(users_differ.then_some("the users differ"))
    }

    /// Returns what connects the attempt with a call without a common request id.
    pub(super) fn matches(&self, call: &Call) -> Option<&'static str> {
        if !self.is_time_of_call(call.time) || call.pool.as_ref().is_some_and(|pool| *pool != self.pool) {
            None
        } else if call.request_uid() == Some(&self.request_uid) {
            Some("session")
        } else if self.sub.is_some() && self.sub == call.sub && call.request_uid().is_none() {
            Some("sub and time")
        } else {
            None
        }
    }
}
