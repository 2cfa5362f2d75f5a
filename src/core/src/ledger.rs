//! The rules of the ledger: how a record is named, claimed, settled and read. This module is pure;
//! the operator reads and writes records.

pub mod attribution;

use cognito_reset_api::{
    Action, Attempt, Closed, Effect, Evidence, FailureCause, PasswordResetRecord, PasswordResetRequest, RecordFields,
    RequestRef, UserStatus,
    record::{MAX_ATTEMPTS, SCHEMA},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::action::response::{Class, Code};

mod view;

pub use view::{Baseline, Ledger, RetryReason, Settlement};

/// The beginning of every record's name.
pub const NAME_PREFIX: &str = "r2-";
/// The beginning of the names of records from before they named the action.
pub const OLD_NAME_PREFIX: &str = "r1-";

/// Identifies a request: two requests with the same action, namespace, name, pool and user are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The action.
    pub action: Action,
    /// Namespace and name.
    pub request: RequestRef,
    /// The pool's id.
    pub user_pool_id: String,
    /// The user name as requested.
    pub username: String,
}

impl Identity {
    /// The identity of a request.
    #[must_use]
    pub fn of_request(request: &PasswordResetRequest) -> Self {
        Self {
            action: Action::PasswordReset,
            request: RequestRef { namespace: request.namespace().unwrap_or_default(), name: request.name_any() },
            user_pool_id: request.spec.user_pool_id.clone(),
            username: request.spec.username.clone(),
        }
    }

    /// The identity that a record names.
    #[must_use]
    pub fn of_record(record: &PasswordResetRecord) -> Self {
        let RecordFields { action, request, user_pool_id, username, .. } = &record.spec;
        Self {
            action: *action,
            request: request.clone(),
            user_pool_id: user_pool_id.clone(),
            username: username.clone(),
        }
    }

    /// Returns the record's name: `r2-` and the hex SHA-256 of the five parts, joined by newlines.
    /// Frozen.
    #[must_use]
    pub fn record_name(&self) -> String {
        let RequestRef { namespace, name } = &self.request;
        let joined = [self.action.as_str(), namespace.as_str(), name, &self.user_pool_id, &self.username].join("\n");
        format!("{NAME_PREFIX}{}", hex::encode(Sha256::digest(joined)))
    }
}

/// The growth of the time between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first attempt.
    pub initial: SignedDuration,
    /// The longest delay.
    pub max: SignedDuration,
}

impl Backoff {
    /// Returns the time after the attempt with this number, counted from 0. It doubles each time up
    /// to the maximum, and is then spread over its upper half by the attempt's random id.
    #[must_use]
    pub fn after(&self, number: usize, id: &str) -> SignedDuration {
        let doublings = u32::try_from(number).unwrap_or(u32::MAX).min(24);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        let spread = f64::from(Sha256::digest(id).first().copied().unwrap_or_default()) / 255.0;
        full.mul_f64(0.5 + spread / 2.0)
    }
}

/// The times that the operator waits. Each is measured from when this process first saw what it
/// waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The time between attempts.
    pub backoff: Backoff,
    /// The time from when an open claim is first seen until its call cannot be in flight any more.
    pub in_flight: SignedDuration,
}

/// Returns the last attempt: the only one that can be open or have had an effect.
#[must_use]
pub fn last(record: &PasswordResetRecord) -> Option<&Attempt> {
    record.spec.attempts.last()
}

/// Returns the number of attempts made.
#[must_use]
pub fn attempts(record: &PasswordResetRecord) -> i64 {
    with_omitted(record, record.spec.attempts.len())
}

fn with_omitted(record: &PasswordResetRecord, listed: usize) -> i64 {
    record.spec.omitted_attempts.saturating_add(i64::try_from(listed).unwrap_or(i64::MAX))
}

/// Returns true if Cognito responded to one of these attempts, and the user did not have to reset
/// before it.
fn not_reset_before(attempts: &[Attempt]) -> bool {
    attempts.iter().any(proves_no_reset_before)
}

fn proves_no_reset_before(attempt: &Attempt) -> bool {
    let had_to_reset =
        matches!(attempt.user_status_before, None | Some(UserStatus::Unknown | UserStatus::ResetRequired));
    attempt.evidence == Some(Evidence::CognitoResponse) && !had_to_reset
}

/// Returns true if the last attempt was claimed only to end the request: the user had to reset
/// before it, although Cognito had responded to an earlier attempt that nothing happened. Nothing
/// was sent in the last attempt.
#[must_use]
pub fn is_contradicted(record: &PasswordResetRecord) -> bool {
    let Some((last, earlier)) = record.spec.attempts.split_last() else { return false };
    last.user_status_before == Some(UserStatus::ResetRequired) && not_reset_before(earlier)
}

/// Reads a record for the decision.
///
/// `observed_for` is how long this process has observed the last attempt without a change, by its
/// monotonic clock. It matters only while the operator waits: for a call that may be in flight, or
/// for the time between attempts ([`observed`]).
#[must_use]
pub fn view(
    record: Option<&PasswordResetRecord>,
    identity: &Identity,
    waits: &Waits,
    observed_for: SignedDuration,
    now: Timestamp,
) -> Ledger {
    let Some(record) = record else { return Ledger::Absent };
    if record.is_of_newer_schema() || Identity::of_record(record) != *identity {
        return Ledger::NotUsable;
    }
    match (&record.spec.closed, record.spec.effect, last(record)) {
        // Not what any operator writes. It is never taken for a record that was not claimed.
        (None, _, None) | (Some(_), None | Some(Effect::Unknown | Effect::Performed), _) => Ledger::NotUsable,
        (Some(_), Some(Effect::NotPerformed), _) => Ledger::Settled(Effect::NotPerformed),
        (None, None, Some(attempt)) => {
            let left = waits.in_flight.saturating_sub(observed_for);
            let in_flight_until = left.is_positive().then(|| now.saturating_add(left).unwrap_or(Timestamp::MAX));
            Ledger::Open { in_flight_until, baseline: Baseline::of(attempt) }
        }
        (None, Some(Effect::NotPerformed), Some(attempt)) => match retry_reason(attempt) {
            Some(reason) => {
                let delay = delay(record, attempt, &waits.backoff);
                Ledger::Retryable {
                    not_before: not_before(attempt, delay, observed_for, now),
                    reason,
                    not_reset_before: not_reset_before(&record.spec.attempts),
                }
            }
            None => Ledger::Settled(Effect::NotPerformed),
        },
        (None, Some(effect @ (Effect::Unknown | Effect::Performed)), Some(_)) => Ledger::Settled(effect),
    }
}

/// Returns the last attempt if the operator waits for it: its call may be in flight, or the time
/// until the next attempt has not passed.
#[must_use]
pub fn observed<'a>(record: &'a PasswordResetRecord, identity: &Identity) -> Option<&'a Attempt> {
    let readable = !record.is_of_newer_schema() && Identity::of_record(record) == *identity;
    let waited_for = readable && record.spec.closed.is_none();
    last(record).filter(|_| waited_for).filter(|attempt| match record.spec.effect {
        None => true,
        Some(Effect::NotPerformed) => retry_reason(attempt).is_some(),
        Some(Effect::Unknown | Effect::Performed) => false,
    })
}

/// Returns why an attempt without effect may be followed by another; `None` if it may not.
#[must_use]
pub fn retry_reason(attempt: &Attempt) -> Option<RetryReason> {
    match attempt.evidence? {
        Evidence::NeverSent => Some(RetryReason::ClaimTimedOut),
        Evidence::Unreachable => Some(RetryReason::CognitoUnreachable),
        Evidence::CognitoResponse => match code(attempt)? {
            Code::Known(exception) => match Class::of(exception) {
                Class::Throttled => Some(RetryReason::Throttled),
                Class::Blocked => Some(RetryReason::Cognito(exception)),
                Class::Refused | Class::Ambiguous | Class::AmbiguousFailure => None,
            },
            Code::Unrecognized(_) => None,
        },
        Evidence::UserStatusCheck | Evidence::Inconclusive => None,
    }
}

/// Returns the code of Cognito's response to an attempt.
#[must_use]
pub fn code(attempt: &Attempt) -> Option<Code> {
    Code::parse(attempt.exception_code.as_deref()?)
}

/// Returns when the next attempt may begin. The delay is counted from when the attempt was settled,
/// but ends at the latest one delay after this process first saw it settled: a clock that jumped
/// ahead and back may have left a time in the record that is far in the future.
fn not_before(attempt: &Attempt, delay: SignedDuration, observed_for: SignedDuration, now: Timestamp) -> Timestamp {
    let left = delay.saturating_sub(observed_for).max(SignedDuration::ZERO);
    let seen = now.saturating_add(left).unwrap_or(Timestamp::MAX);
    let settled = attempt.settled_at.as_ref().and_then(|time| time.0.saturating_add(delay).ok());
    settled.map_or(seen, |settled| settled.min(seen))
}

fn delay(record: &PasswordResetRecord, attempt: &Attempt, backoff: &Backoff) -> SignedDuration {
    let number = match retry_reason(attempt) {
        // The lane of the account and Region slows down.
        Some(RetryReason::Throttled) => 0,
        _ => {
            let throttled = |attempt: &&Attempt| retry_reason(attempt) == Some(RetryReason::Throttled);
            let listed = record.spec.attempts.iter().filter(|attempt| !throttled(attempt)).count();
            usize::try_from(with_omitted(record, listed)).unwrap_or(usize::MAX).saturating_sub(1)
        }
    };
    backoff.after(number, &attempt.id)
}

/// Returns the record with another claim: a new record, or one whose last attempt had no effect.
#[must_use]
pub fn claimed(existing: Option<&PasswordResetRecord>, identity: &Identity, attempt: Attempt) -> PasswordResetRecord {
    let mut record = existing.cloned().unwrap_or_else(|| empty(identity));
    push(&mut record, attempt);
    record.spec.effect = None;
    record
}

/// Returns the record closed for good: a new one, or one whose last attempt had no effect.
#[must_use]
pub fn closed(existing: Option<&PasswordResetRecord>, identity: &Identity, closed: Closed) -> PasswordResetRecord {
    let mut record = existing.cloned().unwrap_or_else(|| empty(identity));
    record.spec.closed = Some(closed);
    record.spec.effect = Some(Effect::NotPerformed);
    record
}

/// Returns true if the record was closed for a request that was not granted, before any claim.
/// Nothing was or will be sent for it, so it may be forgotten early.
#[must_use]
pub fn is_ungranted(record: &PasswordResetRecord) -> bool {
    let RecordFields { closed, attempts, omitted_attempts, .. } = &record.spec;
    let never_claimed = attempts.is_empty() && *omitted_attempts == 0;
    never_claimed && closed.as_ref().is_some_and(|closed| closed.ungranted && closed.origin.grants.is_empty())
}

/// Returns the time of the last change that the record itself contains: its closing, or its last
/// attempt. `None` if it has neither.
#[must_use]
pub fn changed_at(record: &PasswordResetRecord) -> Option<Timestamp> {
    let of_attempt = |last: &Attempt| last.settled_at.as_ref().unwrap_or(&last.claimed_at).0;
    let closed_at = record.spec.closed.as_ref().map(|closed| closed.closed_at.0);
    closed_at.max(last(record).map(of_attempt))
}

/// Returns when the operator learned that the reset was performed; `None` if it does not know that.
#[must_use]
pub fn performed_at(record: &PasswordResetRecord) -> Option<Timestamp> {
    let last = last(record).filter(|_| record.spec.effect == Some(Effect::Performed))?;
    last.settled_at.as_ref().map(|time| time.0)
}

/// Returns the latest expiry of a request that the record remembers.
#[must_use]
pub fn remembered(record: &PasswordResetRecord) -> Option<Timestamp> {
    record.spec.not_after.as_ref().map(|time| time.0)
}

/// Returns the record with this expiry remembered too, rounded up to the whole seconds that the API
/// server keeps.
#[must_use]
pub fn remembering(mut record: PasswordResetRecord, expires: Option<Timestamp>) -> PasswordResetRecord {
    let rounded = expires.map(|expires| match expires.subsec_nanosecond() {
        0 => expires,
        _ => Timestamp::from_second(expires.as_second().saturating_add(1)).unwrap_or(expires),
    });
    record.spec.not_after = remembered(&record).max(rounded).map(Time);
    record
}

/// Adds an attempt, and drops the earliest ones if there are too many. The first one that the
/// user's state may contradict later is kept, because nothing else proves it.
fn push(record: &mut PasswordResetRecord, attempt: Attempt) {
    let fields = &mut record.spec;
    fields.attempts.push(attempt);
    let surplus = fields.attempts.len().saturating_sub(MAX_ATTEMPTS);
    let kept = usize::from(fields.attempts.first().is_some_and(proves_no_reset_before));
    fields.attempts.drain(kept..kept.saturating_add(surplus));
    fields.omitted_attempts = fields.omitted_attempts.saturating_add(i64::try_from(surplus).unwrap_or(i64::MAX));
}

fn empty(identity: &Identity) -> PasswordResetRecord {
    PasswordResetRecord::new(
        &identity.record_name(),
        RecordFields {
            schema: SCHEMA,
            action: identity.action,
            request: identity.request.clone(),
            user_pool_id: identity.user_pool_id.clone(),
            username: identity.username.clone(),
            user_sub: None,
            not_after: None,
            effect: None,
            attempts: Vec::new(),
            closed: None,
            omitted_attempts: 0,
        },
    )
}

/// Returns true if the stored record holds the very claim that was to be written: the write
/// succeeded and only its reply was lost.
#[must_use]
pub fn is_same_claim(stored: &PasswordResetRecord, wanted: &PasswordResetRecord) -> bool {
    let ids = (last(stored).map(|last| &last.id), last(wanted).map(|last| &last.id));
    let is_open = stored.spec.effect.is_none() && stored.spec.closed.is_none();
    !stored.is_of_newer_schema() && is_open && ids.0.is_some() && ids.0 == ids.1
}

/// The result that is written into a record when an attempt is settled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The attempt's id.
    pub attempt_id: String,
    /// The effect and its evidence.
    pub settlement: Settlement,
    /// The reason why nothing could be sent.
    pub cause: Option<FailureCause>,
    /// The code of Cognito's response.
    pub code: Option<String>,
    /// The time when the call was begun, if it was and the process that settles it knows the time.
    /// An attempt whose evidence is that nothing was sent does not keep it.
    pub sent_at: Option<Timestamp>,
    /// Cognito's request id.
    pub aws_request_id: Option<String>,
    /// The user's state in the last probe.
    pub user_status_after: Option<UserStatus>,
}

impl Finding {
    /// Writes the finding into the attempt, as it will be in the stored record.
    pub fn put_into(&self, attempt: &mut Attempt) {
        attempt.evidence = Some(self.settlement.evidence);
        attempt.cause = self.cause;
        attempt.exception_code.clone_from(&self.code);
        attempt.sent_at = match self.settlement.evidence {
            Evidence::NeverSent | Evidence::Unreachable => None,
            Evidence::CognitoResponse | Evidence::UserStatusCheck | Evidence::Inconclusive => {
                self.sent_at.map(Time).or_else(|| attempt.sent_at.clone())
            }
        };
        attempt.aws_request_id.clone_from(&self.aws_request_id);
        attempt.user_status_after = self.user_status_after;
    }
}

/// The change that a finding makes to a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Settling {
    /// The record to write.
    Write(Box<PasswordResetRecord>),
    /// The record stays as it is: it already says as much or more, has gone on to another attempt,
    /// or belongs to a newer operator by now.
    Unchanged,
}

/// Returns the record to create with its effect after the stored one was deleted. Once it exists, a
/// claim that is still on its way cannot be created.
#[must_use]
pub fn recreated(known: &PasswordResetRecord) -> PasswordResetRecord {
    let mut recreated = known.clone();
    recreated.metadata.resource_version = None;
    recreated.metadata.uid = None;
    recreated
}

/// Settles an attempt: an open claim gets its effect, and `Unknown` may become `Performed`.
#[must_use]
pub fn settled(record: &PasswordResetRecord, finding: &Finding, now: Timestamp) -> Settling {
    let grows = match record.spec.effect {
        None => true,
        Some(Effect::Unknown) => finding.settlement.effect == Effect::Performed,
        Some(Effect::NotPerformed | Effect::Performed) => false,
    };
    // A newer operator has taken the record over. Only that operator knows what else it says.
    let newer = record.is_of_newer_schema();
    let is_closed = record.spec.closed.is_some();
    let mut record = record.clone();
    let Some(attempt) = record.spec.attempts.last_mut() else { return Settling::Unchanged };
    if newer || is_closed || !grows || attempt.id != finding.attempt_id {
        return Settling::Unchanged;
    }
    attempt.settled_at = Some(Time(now));
    finding.put_into(attempt);
    record.spec.effect = Some(finding.settlement.effect);
    Settling::Write(Box::new(record))
}

#[cfg(test)]
mod tests;
