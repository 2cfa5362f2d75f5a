//! What of the history may be deleted. Pure: asked first of what a page of metadata says, then of what was read afresh.
//!
//! Whatever is not known keeps the object.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use super::{
    tracked::{self, Mark},
    ttl,
};
use crate::{
    api::{Outcome, PasswordResetRecord, PasswordResetRequest},
    reset::ledger::{self, Identity},
};

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Why),
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

/// Why an object stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
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
    /// Of a request: it has no label to be found by, or not any more.
    Unlabelled,
    /// Of a request: a tool tracks it.
    Tracked(Mark),
    /// Of a request: its outcome is Pending.
    Unfinished,
    /// Of a request: it has no time to live.
    Unlimited,
    /// Of a request: its time to live has not passed.
    Alive,
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
    let Some(written) = written(metadata, |_| true) else { return Verdict::Keep(Why::Nameless) };
    if written.saturating_add(retention).unwrap_or(Timestamp::MAX) > now {
        return Verdict::Keep(Why::Young);
    }
    let Some(record) = record else { return Verdict::ReadFurther };
    if record.is_of_newer_schema() {
        return Verdict::Keep(Why::OfNewerOperator);
    }
    if metadata.name.as_deref() != Some(Identity::of_record(record).record_name().as_str()) {
        return Verdict::Keep(Why::Misnamed);
    }
    if record.spec.effect.is_none() {
        return Verdict::Keep(Why::Open);
    }
    // What the record itself says of its last attempt can only keep it longer: managed fields can be taken away.
    let last = ledger::last(record).map(|last| last.settled_at.as_ref().unwrap_or(&last.claimed_at).0);
    if last.is_some_and(|last| last.saturating_add(retention).unwrap_or(Timestamp::MAX) > now) {
        return Verdict::Keep(Why::Young);
    }
    if ledger::remembered(record).is_some_and(|expires| expires > now) {
        return Verdict::Keep(Why::Unexpired);
    }
    match request {
        Presence::NotRead => Verdict::ReadFurther,
        Presence::Present => Verdict::Keep(Why::Requested),
        Presence::Absent => Verdict::Delete(guard),
    }
}

/// Whether a request may be deleted. `now` is the API server's time; `request` is what was read afresh, and `metadata`
/// is then its own.
#[must_use]
pub fn request(metadata: &ObjectMeta, request: Option<&PasswordResetRequest>, now: Option<Timestamp>) -> Verdict {
    let (now, guard) = match deletable(metadata, now) {
        Ok(known) => known,
        Err(why) => return Verdict::Keep(why),
    };
    let Some(label) = metadata.labels.as_ref().and_then(|labels| labels.get(ttl::LABEL)) else {
        return Verdict::Keep(Why::Unlabelled);
    };
    // What the label says can only put it off: what brings it on is read below.
    if ttl::parse(label).is_some_and(|due| due > now) {
        return Verdict::Keep(Why::Alive);
    }
    if let Some(mark) = tracked::mark(metadata) {
        return Verdict::Keep(Why::Tracked(mark));
    }
    let Some(request) = request else { return Verdict::ReadFurther };
    let Some(seconds) = request.spec.ttl_seconds_after_finished else { return Verdict::Keep(Why::Unlimited) };
    match end(request) {
        None => Verdict::Keep(Why::Unfinished),
        Some(end) if ttl::after(end, seconds) > now => Verdict::Keep(Why::Alive),
        Some(_) => Verdict::Delete(guard),
    }
}

/// When a request ended; `None` where it has not. The operator's clock, which `completionTime` is of, may have been behind the
/// API server's: so no sooner than its status was last written.
fn end(request: &PasswordResetRequest) -> Option<Timestamp> {
    let status = request.status.as_ref().filter(|status| status.outcome != Outcome::Pending)?;
    let completed = status.completion_time.as_ref()?.0;
    let told = written(&request.metadata, |entry| entry.subresource.as_deref() == Some("status"));
    Some(told.map_or(completed, |told| told.max(completed)))
}

/// What every deletion takes: the API server's time, and an object that can be named exactly.
fn deletable(metadata: &ObjectMeta, now: Option<Timestamp>) -> Result<(Timestamp, Guard), Why> {
    let now = now.ok_or(Why::ClockUnknown)?;
    if metadata.deletion_timestamp.is_some() {
        return Err(Why::BeingDeleted);
    }
    let guard = metadata.uid.clone().zip(metadata.resource_version.clone());
    let (uid, resource_version) = guard.ok_or(Why::Nameless)?;
    Ok((now, Guard { uid, resource_version }))
}

/// When the API server last wrote what these managers own, and at the earliest when the object was created.
fn written(metadata: &ObjectMeta, of: impl Fn(&ManagedFieldsEntry) -> bool) -> Option<Timestamp> {
    let managed = metadata.managed_fields.iter().flatten().filter(|entry| of(entry));
    let changed = managed.filter_map(|entry| entry.time.as_ref());
    changed.chain(metadata.creation_timestamp.as_ref()).map(|time| time.0).max()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
