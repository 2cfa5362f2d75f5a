//! One row: an attempt of a record, or its closing.

use cognito_reset_api::{
    Attempt, Closed, Effect, PasswordResetRecord,
    conditions::Truth,
    record::Origin,
    request::{UNVERIFIED, UserExtra},
};
use cognito_reset_core::machine::status;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::sheet::Column;

const fn wide(name: &'static str) -> Column {
    Column { name, in_table: false }
}

const fn shown(name: &'static str) -> Column {
    Column { name, in_table: true }
}

/// The columns, in the order of [`Row::cells`].
pub const COLUMNS: &[Column] = &[
    wide("record"),
    wide("row"),
    shown("time"),
    wide("sent"),
    shown("namespace"),
    shown("request"),
    wide("pool"),
    shown("user"),
    wide("user-sub"),
    shown("effect"),
    shown("exception"),
    shown("closed"),
    shown("password"),
    wide("evidence"),
    shown("requester"),
    wide("requester-authenticated"),
    wide("requester-session"),
    shown("approver"),
    wide("approver-authenticated"),
    wide("approver-session"),
    wide("on-behalf-of-claimed"),
    shown("ticket-claimed"),
    wide("reason-claimed"),
    shown("grants"),
    wide("role"),
    wide("settled"),
    shown("aws-request-id"),
];

/// The event that a row is about.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An attempt.
    Attempt(&'a Attempt),
    /// The end of the request without a call.
    Closing(&'a Closed),
}

/// A row of a report.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The record.
    pub record: &'a PasswordResetRecord,
    /// The event.
    pub event: Event<'a>,
    /// True if it is the last event of its record, which the effect of the record is of. Earlier
    /// ones had no effect.
    pub is_last: bool,
}

/// Returns the rows of a record, oldest first.
#[must_use]
pub fn rows(record: &PasswordResetRecord) -> Vec<Row<'_>> {
    let attempts = record.spec.attempts.iter().map(Event::Attempt);
    let events = attempts.chain(record.spec.closed.as_ref().map(Event::Closing));
    let mut rows: Vec<Row<'_>> = events.map(|event| Row { record, event, is_last: false }).collect();
    if let Some(last) = rows.last_mut() {
        last.is_last = true;
    }
    rows
}

impl Row<'_> {
    /// Returns the request object, the people and the grants behind the event.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        match self.event {
            Event::Attempt(attempt) => &attempt.origin,
            Event::Closing(closed) => &closed.origin,
        }
    }

    /// Returns the time that the row belongs to: of the claim or of the closing. It never changes.
    #[must_use]
    pub const fn moment(&self) -> Timestamp {
        match self.event {
            Event::Attempt(attempt) => attempt.claimed_at.0,
            Event::Closing(closed) => closed.closed_at.0,
        }
    }

    /// Returns the effect; `None` while the claim is open.
    #[must_use]
    pub const fn effect(&self) -> Option<Effect> {
        if self.is_last { self.record.spec.effect } else { Some(Effect::NotPerformed) }
    }

    /// Returns the known state of the password, as the status of a request shows it.
    #[must_use]
    pub fn password(&self) -> &'static str {
        if !self.is_last {
            return "Unchanged";
        }
        match status::ended(Some(self.record), Some(&self.origin().request_uid)).invalidated {
            Truth::True => "Invalidated",
            Truth::False => "Unchanged",
            Truth::Unknown => "Unknown",
        }
    }

    /// Returns the cells, in the order of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let (origin, spec) = (self.origin(), &self.record.spec);
        let (attempt, closed) = match self.event {
            Event::Attempt(attempt) => (Some(attempt), None),
            Event::Closing(closed) => (None, Some(closed)),
        };
        let exception = attempt.map_or_else(|| closed?.exception_code.clone(), |it| it.exception_code.clone());
        let settled = attempt.map_or_else(|| closed.map(|it| it.closed_at.0), |it| Some(it.settled_at.as_ref()?.0));
        vec![
            self.record.name_any(),
            if attempt.is_some() { "attempt" } else { "closing" }.to_owned(),
            self.moment().to_string(),
            text(attempt.and_then(|it| it.sent_at.as_ref()).map(|time| time.0)),
            spec.request.namespace.clone(),
            spec.request.name.clone(),
            spec.user_pool_id.clone(),
            spec.username.clone(),
            text(spec.user_sub.as_ref()),
            self.effect().map_or("open", Effect::as_str).to_owned(),
            text(exception),
            closed.map(|it| word(&it.cause)).unwrap_or_default(),
            self.password().to_owned(),
            attempt.and_then(|it| it.evidence).map(|it| word(&it)).unwrap_or_default(),
            origin.requested_by.username.clone(),
            authenticated(&origin.requested_by.username).to_owned(),
            session(origin.requested_by.extra.as_ref()),
            text(origin.approved_by.as_ref().map(|it| &it.username)),
            text(origin.approved_by.as_ref().map(|it| authenticated(&it.username))),
            session(origin.approved_by.as_ref().and_then(|it| it.extra.as_ref())),
            text(origin.on_behalf_of.as_ref()),
            text(origin.ticket.as_ref()),
            text(origin.reason.as_ref()),
            origin.grants.join(" "),
            text(origin.role_arn.as_ref()),
            text(settled),
            text(attempt.and_then(|it| it.aws_request_id.as_ref())),
        ]
    }
}

/// Returns yes if a policy has authenticated a person with this name.
fn authenticated(username: &str) -> &'static str {
    if username == UNVERIFIED { "no" } else { "yes" }
}

/// Returns the text of something that may be absent.
pub(crate) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Returns the word that a record has for a value.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}

fn session(extra: Option<&UserExtra>) -> String {
    text(extra.and_then(|extra| extra.session_name.as_ref()))
}
