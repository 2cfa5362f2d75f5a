//! Everything that is known of one request, and what may not be read.

use cognito_reset_api::{Attempt, Evidence, Origin, Outcome, PasswordResetRecord};
use cognito_reset_core::ledger;
use jiff::Timestamp;

use crate::request::{Id, Request};

/// Something that was read, or the reason why it was not.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It was read.
    Shown(T),
    /// It was not read, for this reason.
    Hidden(String),
}

/// A Kubernetes Event about the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The time when it was seen last.
    pub at: Timestamp,
    /// The uid of the request object.
    pub uid: String,
    /// The reason.
    pub reason: String,
    /// The message.
    pub message: String,
    /// The number of times that it was seen.
    pub count: i32,
}

/// A request with its record and Events. The request or the record may be gone.
#[derive(Clone, Debug)]
pub struct Case {
    /// Namespace and name.
    pub id: Id,
    /// The request object; `None` if it is gone or may not be read.
    pub request: Option<Request>,
    /// True if no such request object exists.
    pub is_gone: bool,
    /// The record, if one exists.
    pub record: Seen<Option<PasswordResetRecord>>,
    /// The Events.
    pub events: Seen<Vec<Happened>>,
}

/// The knowledge about the call of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It was sent.
    Sent,
    /// It was not sent.
    NotSent,
    /// It is not known whether it was sent.
    NotKnown,
}

impl Case {
    /// Returns the record, if it exists and was read.
    #[must_use]
    pub const fn record(&self) -> Option<&PasswordResetRecord> {
        match &self.record {
            Seen::Shown(record) => record.as_ref(),
            Seen::Hidden(_) => None,
        }
    }

    /// Returns the outcome in the status; `None` if the request is gone.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.request.as_ref().map(Request::outcome)
    }

    /// Returns the reason in the status. Without a status, it is `Pending`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let reason = self.request.as_ref()?.reason();
        Some(if reason.is_empty() { "Pending" } else { reason })
    }

    /// Returns true if this origin is the request object that is explained. Without a request
    /// object, the attempts are of all objects that had the name.
    #[must_use]
    pub fn is_ours(&self, origin: &Origin) -> bool {
        let uid = self.request.as_ref().map(|request| request.metadata.uid.as_deref().unwrap_or_default());
        uid.is_none_or(|uid| uid == origin.request_uid)
    }

    /// Returns the attempts with their numbers.
    pub fn attempts(&self) -> impl Iterator<Item = (i64, &Attempt)> {
        let record = self.record();
        let omitted = record.map_or(0, |record| record.spec.omitted_attempts);
        let attempts = record.map_or(&[][..], |record| record.spec.attempts.as_slice());
        (omitted.saturating_add(1)..).zip(attempts)
    }

    /// Returns what is known about the call of an attempt.
    #[must_use]
    pub fn call(&self, attempt: &Attempt) -> Call {
        let contradicted = || {
            let record = self.record().filter(|record| ledger::is_contradicted(record));
            record.and_then(ledger::last).is_some_and(|last| last.id == attempt.id)
        };
        match attempt.evidence {
            Some(Evidence::NeverSent | Evidence::Unreachable) => Call::NotSent,
            Some(Evidence::CognitoResponse | Evidence::UserStatusCheck) => Call::Sent,
            Some(Evidence::Inconclusive) | None if attempt.sent_at.is_some() => Call::Sent,
            Some(Evidence::Inconclusive) if contradicted() => Call::NotSent,
            Some(Evidence::Inconclusive) | None => Call::NotKnown,
        }
    }

    /// Orders cases by [`Self::began`], the newest first.
    pub fn sort(cases: &mut [Self]) {
        cases.sort_by(|one, other| other.began().cmp(&one.began()).then_with(|| one.id.cmp(&other.id)));
    }

    /// Returns the time that orders requests: that of the creation, or of the record without one.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        let created = self.request.as_ref().and_then(|request| request.metadata.creation_timestamp.as_ref());
        let record = || self.record().and_then(|record| record.metadata.creation_timestamp.as_ref());
        created.or_else(record).map(|time| time.0)
    }
}
