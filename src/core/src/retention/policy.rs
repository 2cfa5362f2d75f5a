//! Decides which objects may be deleted. Pure: it is asked first for an object on a page, then for
//! a fresh read of the object.
//!
//! An unknown fact keeps the object.

use cognito_reset_api::{Outcome, PasswordResetRecord, PasswordResetRequest};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    ledger::{self, Identity},
    managed_fields::written,
    retention::gitops::{self, Tracker},
    watched_namespaces::WatchedNamespaces,
};

/// The label that keeps a finished request as long as it exists, with any value.
pub const KEEP: &str = "cognito-reset.dev/keep";

/// The time for which the record of an ungranted request is kept after its last write, unless it
/// remembers an expiry.
pub const UNGRANTED_RETENTION: SignedDuration = SignedDuration::from_mins(15);
/// The longest time after its last write for which the record of an ungranted request is kept
/// because of an expiry.
pub const LONGEST_UNGRANTED: SignedDuration = SignedDuration::from_hours(24);

/// The most bytes of an ungranted record as the operator writes it, in JSON. The API server adds
/// about 1 KB.
pub const MOST_UNGRANTED_BYTES: usize = 7 << 10;

/// The decision about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object is kept.
    Keep(KeepReason),
    /// Nothing keeps the object so far. The missing facts have to be read.
    ReadFurther,
    /// The object is deleted, if it is still in this state.
    Delete(Guard),
}

/// The state of an object that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The object's uid.
    pub uid: String,
    /// Its resourceVersion when it was read.
    pub resource_version: String,
}

/// The reason why an object is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The API server's time is not known.
    ClockUnknown,
    /// The object does not contain its identity or the time of its last write.
    Nameless,
    /// The object is being deleted, and a finalizer holds it.
    BeingDeleted,
    /// For a record: its retention has not passed since its last write.
    Young,
    /// For a record: only a newer operator can parse it.
    OfNewerOperator,
    /// For a record: its name does not belong to the request that it names.
    Misnamed,
    /// For a record: its claim is open.
    Open,
    /// For a record: it remembers an expiry that has not passed.
    Unexpired,
    /// For a record: a request of its namespace and name exists.
    Requested,
    /// For a record: its request is in a namespace that this operator does not watch, so that
    /// another retention may apply.
    Elsewhere,
    /// For a request: it has the label [`KEEP`].
    Labelled,
    /// For a request: a tool tracks it.
    Tracked(Tracker),
    /// For a request: its outcome is Pending.
    Unfinished,
    /// For a request: it has no time to live.
    Unlimited,
    /// For a request: its time to live has not passed.
    Alive,
}

/// The end of a request, and its time to live.
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
    /// Returns the fields of a request that was read as a whole.
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

/// The result of reading the request with a record's namespace and name, with any uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The request has not been read yet.
    NotRead,
    /// A request exists.
    Present,
    /// The API server itself confirms that no request exists.
    Absent,
}

/// Decides whether a record may be deleted. `now` is the API server's time. If `record` and
/// `request` are fresh reads, `metadata` is that of the record.
///
/// The record of a request that ended without ever being granted or claimed is kept for
/// [`UNGRANTED_RETENTION`] at most, because anybody who may create requests can cause any number of
/// them. An expiry that it remembers keeps it for [`LONGEST_UNGRANTED`] at most.
#[must_use]
pub fn record(
    metadata: &ObjectMeta,
    record: Option<&PasswordResetRecord>,
    request: Presence,
    now: Option<Timestamp>,
    retention: SignedDuration,
    watched: &WatchedNamespaces,
) -> Verdict {
    let (now, guard) = match deletable(metadata, now) {
        Ok(known) => known,
        Err(why) => return Verdict::Keep(why),
    };
    let Some(written) = written(metadata, |_| true) else { return Verdict::Keep(KeepReason::Nameless) };
    let is_ungranted = record.is_some_and(ledger::is_ungranted);
    if Kept::of(is_ungranted, written, None, retention).young_until > now {
        return Verdict::Keep(KeepReason::Young);
    }
    let Some(record) = record else { return Verdict::ReadFurther };
    if !watched.contains(&record.spec.request.namespace) {
        return Verdict::Keep(KeepReason::Elsewhere);
    }
    if record.is_of_newer_schema() {
        return Verdict::Keep(KeepReason::OfNewerOperator);
    }
    if metadata.name.as_deref() != Some(Identity::of_record(record).record_name().as_str()) {
        return Verdict::Keep(KeepReason::Misnamed);
    }
    if record.spec.effect.is_none() {
        return Verdict::Keep(KeepReason::Open);
    }
    // The times in the record can only keep it longer, because managed fields can be removed.
    let Some(changed) = ledger::changed_at(record) else { return Verdict::Keep(KeepReason::Nameless) };
    let kept = Kept::of(is_ungranted, written.max(changed), ledger::remembered(record), retention);
    if kept.young_until > now {
        return Verdict::Keep(KeepReason::Young);
    }
    if kept.unexpired_until > now {
        return Verdict::Keep(KeepReason::Unexpired);
    }
    match request {
        Presence::NotRead => Verdict::ReadFurther,
        Presence::Present => Verdict::Keep(KeepReason::Requested),
        Presence::Absent => Verdict::Delete(guard),
    }
}

/// Decides whether the record of an ungranted request on a page is worth reading, by its metadata
/// and the expiry that it remembers. `now` is the API server's time.
#[must_use]
pub fn ungranted_record(
    metadata: &ObjectMeta,
    not_after: Option<Timestamp>,
    now: Option<Timestamp>,
    retention: SignedDuration,
) -> Verdict {
    let retention_of_all = retention.min(UNGRANTED_RETENTION);
    let verdict = record(metadata, None, Presence::NotRead, now, retention_of_all, &WatchedNamespaces::All);
    let is_unexpired = now.zip(written(metadata, |_| true)).is_some_and(|(now, written)| {
        let kept = Kept::of(true, written, not_after, retention);
        kept.unexpired_until > now
    });
    if verdict == Verdict::ReadFurther && is_unexpired {
        return Verdict::Keep(KeepReason::Unexpired);
    }
    verdict
}

/// Returns the time since when the record of an ungranted request may be deleted, if its request
/// does not exist.
#[must_use]
pub fn ungranted_since(
    metadata: &ObjectMeta,
    not_after: Option<Timestamp>,
    retention: SignedDuration,
) -> Option<Timestamp> {
    let kept = Kept::of(true, written(metadata, |_| true)?, not_after, retention);
    Some(kept.young_until.max(kept.unexpired_until))
}

/// The times until which a record is kept regardless of its request.
struct Kept {
    young_until: Timestamp,
    /// The expiry that it remembers.
    unexpired_until: Timestamp,
}

impl Kept {
    fn of(is_ungranted: bool, written: Timestamp, expires: Option<Timestamp>, retention: SignedDuration) -> Self {
        let after = |time| written.saturating_add(time).unwrap_or(Timestamp::MAX);
        let expires = expires.unwrap_or(Timestamp::MIN);
        if is_ungranted {
            let young_until = after(retention.min(UNGRANTED_RETENTION));
            Self { young_until, unexpired_until: expires.min(after(LONGEST_UNGRANTED)) }
        } else {
            Self { young_until: after(retention), unexpired_until: expires }
        }
    }
}

/// Decides whether a request may be deleted. `now` is the API server's time. `metadata` and `life`
/// are from a page, or from a fresh read.
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
    // This check is the last one, because it is reported for a request that would be deleted
    // otherwise.
    match gitops::tracker(metadata) {
        Some(tracker) => Verdict::Keep(KeepReason::Tracked(tracker)),
        None => Verdict::Delete(guard),
    }
}

/// Returns the end of a request; `None` if it has not ended. The clock of the operator, which wrote
/// `completionTime`, may have been behind that of the API server. The end is therefore not earlier
/// than the last write of the status.
fn end(metadata: &ObjectMeta, life: Life) -> Option<Timestamp> {
    let completed = life.completed.filter(|_| life.outcome != Outcome::Pending)?;
    let stored_at = written(metadata, |entry| entry.subresource.as_deref() == Some("status"));
    Some(stored_at.map_or(completed, |stored_at| stored_at.max(completed)))
}

/// Checks the conditions of every deletion: the API server's time, and an object with a complete
/// identity.
fn deletable(metadata: &ObjectMeta, now: Option<Timestamp>) -> Result<(Timestamp, Guard), KeepReason> {
    let now = now.ok_or(KeepReason::ClockUnknown)?;
    if metadata.deletion_timestamp.is_some() {
        return Err(KeepReason::BeingDeleted);
    }
    let guard = metadata.uid.clone().zip(metadata.resource_version.clone());
    let (uid, resource_version) = guard.ok_or(KeepReason::Nameless)?;
    Ok((now, Guard { uid, resource_version }))
}

#[cfg(test)]
mod tests;
