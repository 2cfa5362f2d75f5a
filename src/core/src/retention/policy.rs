//! What of the history may be deleted. Pure: asked first of what a page says, then of what was read afresh.
//!
//! Whatever is not known keeps the object.

use cognito_reset_api::{Outcome, PasswordResetRecord, PasswordResetRequest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::{
    ledger::{self, Identity},
    retention::gitops::{self, Tracker},
};

/// The label that keeps a finished request for as long as it is there, whatever its value.
pub const KEEP: &str = "cognito-reset.dev/keep";

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(KeepReason),
    /// So far nothing keeps it: what is not known yet has to be read.
    ReadFurther,
    /// It is deleted, where it is still this very one.
    Delete(Guard),
}

/// The one state of one object that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The object's uid.
    pub uid: String,
    /// Its resourceVersion when it was read.
    pub resource_version: String,
}

/// KeepReason an object stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The API server's time is not known.
    ClockUnknown,
    /// The object does not say when it was written, or which it is.
    Nameless,
    /// Somebody deletes it already, and a finalizer keeps it.
    BeingDeleted,
    /// Of a record: its retention has not passed since it was last written.
    Young,
    /// Of a record: only a newer operator knows what it says.
    OfNewerOperator,
    /// Of a record: its name is not that of the request that it states.
    Misnamed,
    /// Of a record: its claim is open.
    Open,
    /// Of a record: a request with an expiry that has not passed was told of it.
    Unexpired,
    /// Of a record: there is a request of its namespace and name.
    Requested,
    /// Of a request: it has the label [`KEEP`].
    Labelled,
    /// Of a request: a tool tracks it.
    Tracked(Tracker),
    /// Of a request: its outcome is Pending.
    Unfinished,
    /// Of a request: it has no time to live.
    Unlimited,
    /// Of a request: its time to live has not passed.
    Alive,
}

/// What a request says of its end and of the time that it has from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// `spec.ttlSecondsAfterFinished`.
    pub seconds: Option<i64>,
    /// `status.outcome`.
    pub outcome: Outcome,
    /// `status.completionTime`.
    pub completed: Option<Timestamp>,
}

impl Life {
    /// That of a request which was read as a whole.
    #[must_use]
    pub fn of(request: &PasswordResetRequest) -> Self {
        let completed = request.status.as_ref().and_then(|status| status.completion_time.as_ref());
        Self {
            seconds: request.spec.ttl_seconds_after_finished,
            outcome: request.outcome(),
            completed: completed.map(|time| time.0),
        }
    }
}

/// Whether there is a request of a record's namespace and name, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not read yet.
    NotRead,
    /// There is one.
    Present,
    /// The API server says itself that there is none.
    Absent,
}

/// Whether a record may be deleted. `now` is the API server's time; `record` and `request` are what was read afresh,
/// and `metadata` is then the record's own.
#[must_use]
pub fn record(
    metadata: &ObjectMeta,
    record: Option<&PasswordResetRecord>,
    request: Presence,
    now: Option<Timestamp>,
    retention: SignedDuration,
) -> Verdict {
    let (now, guard) = match deletable(metadata, now) {
        Ok(known) => known,
        Err(why) => return Verdict::Keep(why),
    };
    let Some(written) = written(metadata, |_| true) else { return Verdict::Keep(KeepReason::Nameless) };
    if written.saturating_add(retention).unwrap_or(Timestamp::MAX) > now {
        return Verdict::Keep(KeepReason::Young);
    }
    let Some(record) = record else { return Verdict::ReadFurther };
    if record.is_of_newer_schema() {
        return Verdict::Keep(KeepReason::OfNewerOperator);
    }
    if metadata.name.as_deref() != Some(Identity::of_record(record).record_name().as_str()) {
        return Verdict::Keep(KeepReason::Misnamed);
    }
    if record.spec.effect.is_none() {
        return Verdict::Keep(KeepReason::Open);
    }
    // What the record itself says of its last attempt can only keep it longer: managed fields can be taken away.
    let last = ledger::last(record).map(|last| last.settled_at.as_ref().unwrap_or(&last.claimed_at).0);
    if last.is_some_and(|last| last.saturating_add(retention).unwrap_or(Timestamp::MAX) > now) {
        return Verdict::Keep(KeepReason::Young);
    }
    if ledger::remembered(record).is_some_and(|expires| expires > now) {
        return Verdict::Keep(KeepReason::Unexpired);
    }
    match request {
        Presence::NotRead => Verdict::ReadFurther,
        Presence::Present => Verdict::Keep(KeepReason::Requested),
        Presence::Absent => Verdict::Delete(guard),
    }
}

/// Whether a request may be deleted. `now` is the API server's time; `metadata` and `life` are what a page says of the
/// request, or what was read afresh.
#[must_use]
pub fn request(metadata: &ObjectMeta, life: Life, now: Option<Timestamp>) -> Verdict {
    let (now, guard) = match deletable(metadata, now) {
        Ok(known) => known,
        Err(why) => return Verdict::Keep(why),
    };
    if metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(KEEP)) {
        return Verdict::Keep(KeepReason::Labelled);
    }
    let Some(seconds) = life.seconds else { return Verdict::Keep(KeepReason::Unlimited) };
    let Some(end) = end(metadata, life) else { return Verdict::Keep(KeepReason::Unfinished) };
    if end.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX) > now {
        return Verdict::Keep(KeepReason::Alive);
    }
    // Last of all: it is told of a request that would be deleted otherwise.
    match gitops::tracker(metadata) {
        Some(mark) => Verdict::Keep(KeepReason::Tracked(mark)),
        None => Verdict::Delete(guard),
    }
}

/// When a request ended; `None` where it has not. The operator's clock, which `completionTime` is of, may have been behind the
/// API server's: so no sooner than its status was last written.
fn end(metadata: &ObjectMeta, life: Life) -> Option<Timestamp> {
    let completed = life.completed.filter(|_| life.outcome != Outcome::Pending)?;
    let told = written(metadata, |entry| entry.subresource.as_deref() == Some("status"));
    Some(told.map_or(completed, |told| told.max(completed)))
}

/// What every deletion takes: the API server's time, and an object that can be named exactly.
fn deletable(metadata: &ObjectMeta, now: Option<Timestamp>) -> Result<(Timestamp, Guard), KeepReason> {
    let now = now.ok_or(KeepReason::ClockUnknown)?;
    if metadata.deletion_timestamp.is_some() {
        return Err(KeepReason::BeingDeleted);
    }
    let guard = metadata.uid.clone().zip(metadata.resource_version.clone());
    let (uid, resource_version) = guard.ok_or(KeepReason::Nameless)?;
    Ok((now, Guard { uid, resource_version }))
}

/// When the API server last wrote what these managers own, and at the earliest when the object was created.
fn written(metadata: &ObjectMeta, of: impl Fn(&ManagedFieldsEntry) -> bool) -> Option<Timestamp> {
    let managed = metadata.managed_fields.iter().flatten().filter(|entry| of(entry));
    let changed = managed.filter_map(|entry| entry.time.as_ref());
    changed.chain(metadata.creation_timestamp.as_ref()).map(|time| time.0).max()
}

#[cfg(test)]
mod tests;
