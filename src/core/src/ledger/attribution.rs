//! Decides whether the state that a probe read is the effect of an attempt.
//!
//! A probe shows that the password was invalidated since the snapshot, but not by which call.
//! Another record of the same user may have made that call, under another name of the request or
//! another spelling of the user. A claim precedes its call, so the record of the request that
//! caused a state is in a list that is read after the probe of that state.

use cognito_reset_api::{Effect, PasswordResetRecord};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::{
    ledger::{changed_at, last},
    managed_fields::written,
};

/// The time by which the clocks of two API servers may differ, and by which Cognito may be late to
/// show a reset. The Date of a response has whole seconds.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Selects the records that may be of one user: those of the pool with this `sub`, and those
/// without a `sub`: a request that was claimed without reading the user may be for any user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserRecords {
    /// The record that is not selected: the one whose attempt was probed.
    pub except: String,
    /// The pool's id.
    pub user_pool_id: String,
    /// The user's `sub`. It is not empty.
    pub sub: String,
}

impl UserRecords {
    /// Returns the selection for the last attempt of a record. `None` if the attempt does not have
    /// what a probe has to be compared with: the user's `sub`, the state before the claim, and the
    /// time of that state.
    #[must_use]
    pub fn of(record: &PasswordResetRecord) -> Option<Self> {
        let attempt = last(record)?;
        let sub = record.spec.user_sub.clone().filter(|sub| !sub.is_empty())?;
        let can_be_compared = attempt.user_status_before.is_some() && attempt.state_read_after.is_some();
        can_be_compared.then(|| Self { except: record.name_any(), user_pool_id: record.spec.user_pool_id.clone(), sub })
    }

    /// Returns true for a record that is selected.
    #[must_use]
    pub fn selects(&self, record: &PasswordResetRecord) -> bool {
        let sub = record.spec.user_sub.as_deref().unwrap_or_default();
        let may_be_the_user = sub == self.sub || sub.is_empty();
        record.spec.user_pool_id == self.user_pool_id && may_be_the_user && record.name_any() != self.except
    }
}

/// Another record that may be of the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherRecord {
    /// Its known effect, or that its claim is open.
    pub effect: OtherEffect,
    /// The last write of the record, by the clock of the API server that stored it. `None` if the
    /// record does not contain it.
    pub written_at: Option<Timestamp>,
}

/// The effect of another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherEffect {
    /// Nothing happened.
    NotPerformed,
    /// It has reset the user, before its last write.
    Performed,
    /// It is settled without knowledge. Its call may end later than its last write.
    Unknown,
    /// Its claim is open.
    Open {
        /// The time for which this process has observed the claim, by its monotonic clock.
        observed_for: SignedDuration,
    },
    /// Only a newer operator knows what happened, and whether its claim is open.
    NotUnderstood,
}

impl OtherRecord {
    /// Reads a record. `observed_for` is the time for which this process has observed its open
    /// claim with this attempt id.
    #[must_use]
    pub fn of(record: &PasswordResetRecord, observed_for: impl FnOnce(&str) -> SignedDuration) -> Self {
        let effect = match (record.is_of_newer_schema(), record.spec.effect, last(record)) {
            (false, Some(Effect::NotPerformed), _) => OtherEffect::NotPerformed,
            (false, None, Some(open)) => OtherEffect::Open { observed_for: observed_for(&open.id) },
            (false, Some(Effect::Performed), _) => OtherEffect::Performed,
            (false, Some(Effect::Unknown), _) => OtherEffect::Unknown,
            (true, _, _) | (false, None, None) => OtherEffect::NotUnderstood,
        };
        // Managed fields can be removed.
        Self { effect, written_at: written(&record.metadata, |_| true).max(changed_at(record)) }
    }

    /// Reads the metadata of a record that cannot be parsed.
    #[must_use]
    pub fn not_understood(metadata: &ObjectMeta) -> Self {
        Self { effect: OtherEffect::NotUnderstood, written_at: written(metadata, |_| true) }
    }
}

/// The request that is credited with the state that a probe read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribution {
    /// No other record of the user can have caused it.
    Own,
    /// The call of another open claim may be in flight. It is known after this time at the latest,
    /// or earlier if that claim is settled.
    AwaitsOther(SignedDuration),
    /// Another record may have caused it, or the record does not have what a probe has to be
    /// compared with.
    Unclear,
}

/// Decides who may have caused the state that a probe after the last attempt of this record has
/// read. `others` are all other records of the user, listed after the probe. `in_flight` is the
/// time after which the call of an observed claim cannot be in flight any more.
///
/// An open claim never blocks another one for longer than `in_flight`: afterwards neither is
/// credited.
#[must_use]
pub fn attribution(record: &PasswordResetRecord, others: &[OtherRecord], in_flight: SignedDuration) -> Attribution {
    let state_read_after = last(record).and_then(|attempt| attempt.state_read_after.as_ref());
    let (Some(_), Some(state_read_after)) = (UserRecords::of(record), state_read_after) else {
        return Attribution::Unclear;
    };
    let since = earlier(state_read_after.0, CLOCK_TOLERANCE);
    let is_before = |moment: Timestamp, other: &OtherRecord| other.written_at.is_some_and(|written| written < moment);
    let mut longest = SignedDuration::ZERO;
    for other in others {
        match other.effect {
            OtherEffect::NotPerformed => {}
            OtherEffect::Performed if is_before(since, other) => {}
            // Its call was sent before that write, or soon after it if its claim is open.
            OtherEffect::Unknown | OtherEffect::NotUnderstood if is_before(earlier(since, in_flight), other) => {}
            OtherEffect::Performed | OtherEffect::Unknown | OtherEffect::NotUnderstood => return Attribution::Unclear,
            OtherEffect::Open { observed_for } if observed_for < in_flight => {
                longest = longest.max(in_flight.saturating_sub(observed_for));
            }
            // Its call may have been sent at any time since it was claimed.
            OtherEffect::Open { .. } => return Attribution::Unclear,
        }
    }
    if longest.is_positive() { Attribution::AwaitsOther(longest) } else { Attribution::Own }
}

fn earlier(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
