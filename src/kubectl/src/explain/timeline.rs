//! The timeline of a request: what happened when, in the order of time. Pure.

use cognito_reset_api::{
    ApprovedBy, Attempt, CloseCause, Closed, Evidence, Origin, RequestedBy, UserExtra, UserStatus, request::UNVERIFIED,
};
use jiff::Timestamp;

use super::case::{Call, Case, Happened, Seen};
use crate::{request::Request, terminal::shown};

/// The words for somebody whom no policy has authenticated.
const NOBODY: &str = "somebody who is not authenticated";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The time, or one that it is not before, which only orders.
    pub at: Timestamp,
    /// True if `at` is the time.
    pub is_dated: bool,
    /// The text.
    pub text: String,
}

/// Returns everything that is known to have happened, oldest first.
#[must_use]
pub fn entries(case: &Case) -> Vec<Entry> {
    let mut entries = Entries(Vec::new());
    if let Some(request) = &case.request {
        entries.created(request);
    }
    if let Some(record) = case.record() {
        let omitted = record.spec.omitted_attempts;
        if let Some((_, first)) = case.attempts().next().filter(|_| omitted > 0) {
            entries.undated(
                first.claimed_at.0,
                format!("{omitted} earlier attempts without effect are not listed any more"),
            );
        }
        case.attempts().for_each(|(number, attempt)| entries.attempt(case, number, attempt));
        if let Some(closed) = &record.spec.closed {
            let of = of_another(case, &closed.origin);
            entries.dated(Some(closed.closed_at.0), format!("record closed{of} without a call: {}", closing(closed)));
        }
    }
    if let Some(request) = &case.request {
        entries.status(case, request);
    }
    if let Seen::Shown(events) = &case.events {
        events.iter().for_each(|event| entries.event(case, event));
    }
    let mut entries = entries.0;
    entries.sort_by_key(|entry| entry.at);
    entries
}

struct Entries(Vec<Entry>);

impl Entries {
    fn dated(&mut self, at: Option<Timestamp>, text: String) {
        self.0.extend(at.map(|at| Entry { at, is_dated: true, text }));
    }

    fn undated(&mut self, at: Timestamp, text: String) {
        self.0.push(Entry { at, is_dated: false, text });
    }

    fn created(&mut self, request: &Request) {
        let Some(created) = request.metadata.creation_timestamp.as_ref().map(|time| time.0) else { return };
        self.dated(
            Some(created),
            format!("request created by {}", person(request.spec.requested_by.as_ref().map(requester))),
        );
        if request.spec.approved {
            let by = person(request.spec.approved_by.as_ref().map(approver));
            self.undated(created, format!("approved by {by}; the API server's audit log shows when"));
        }
    }

    fn attempt(&mut self, case: &Case, number: i64, attempt: &Attempt) {
        let of = of_another(case, &attempt.origin);
        let before = attempt.user_status_before.map(|status| format!("; the user was {}", user_status(status)));
        let claim = format!("attempt {number} claimed{}{of}{}", under(&attempt.origin), before.unwrap_or_default());
        self.dated(Some(attempt.claimed_at.0), claim);
        let sent = format!("attempt {number}: AdminResetUserPassword sent to Cognito");
        self.dated(attempt.sent_at.as_ref().map(|time| time.0), sent);
        let settled = attempt.settled_at.as_ref().map(|time| time.0);
        match settled {
            Some(at) => self.dated(Some(at), format!("attempt {number}: {}", result(case, attempt))),
            None => self.undated(attempt.claimed_at.0, format!("attempt {number} has no result yet")),
        }
    }

    fn status(&mut self, case: &Case, request: &Request) {
        let status = &request.status;
        if matches!(case.record, Seen::Hidden(_)) {
            let [claimed, performed] =
                [&status.start_time, &status.performed_time].map(|time| time.as_ref().map(|it| it.0));
            self.dated(claimed, "first attempt under this name claimed".to_owned());
            self.dated(performed, "known that a reset under this name was performed".to_owned());
        }
        let ended = format!("status: {}, {}", status.outcome.as_str(), shown(request.reason()));
        self.dated(request.ended(), ended);
        let deleted = request.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        self.dated(deleted, "request marked for deletion".to_owned());
    }

    fn event(&mut self, case: &Case, event: &Happened) {
        let Happened { at, uid, reason, message, count } = event;
        let ours = case.request.as_ref().is_none_or(|it| it.metadata.uid.as_ref().is_none_or(|ours| ours == uid));
        let of = if ours { "" } else { " of an earlier request object" };
        let said = case.request.as_ref().is_some_and(|request| request.message() == message && !message.is_empty());
        let message = if said { "the message of the status".into() } else { shown(message) };
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        self.dated(Some(*at), format!("Event{of} {}{times}: {message}", shown(reason)));
    }
}

/// Returns a person that a request names, or that it names none.
#[must_use]
pub fn person(named: Option<String>) -> String {
    named.unwrap_or_else(|| NOBODY.to_owned())
}

fn named(name: &str, extra: Option<&UserExtra>) -> String {
    if name.is_empty() || name == UNVERIFIED {
        return NOBODY.to_owned();
    }
    let session = extra.and_then(|extra| extra.session_name.as_deref());
    let session = session.map(|session| format!(", session {}", shown(session))).unwrap_or_default();
    format!("{} (authenticated{session})", shown(name))
}

/// Returns the requester of an origin.
#[must_use]
pub fn requester(RequestedBy { username, extra, .. }: &RequestedBy) -> String {
    named(username, extra.as_ref())
}

/// Returns the approver of an origin.
#[must_use]
pub fn approver(ApprovedBy { username, extra, .. }: &ApprovedBy) -> String {
    named(username, extra.as_ref())
}

/// Returns for whom an attempt was made, if it was not for the request that is explained.
fn of_another(case: &Case, origin: &Origin) -> String {
    if case.request.is_some() && case.is_ours(origin) {
        return String::new();
    }
    let approved = origin.approved_by.as_ref().map(|by| format!(", approved by {}", approver(by))).unwrap_or_default();
    let which = if case.request.is_some() { "an earlier request object" } else { "a request object" };
    format!(" for {which} (uid {}) of {}{approved}", shown(&origin.request_uid), requester(&origin.requested_by))
}

fn under(origin: &Origin) -> String {
    if origin.grants.is_empty() {
        return String::new();
    }
    let role = origin.role_arn.as_ref().map(|role| format!(", role {}", shown(role))).unwrap_or_default();
    format!(" under grant {}{role}", shown(&origin.grants.join(", ")))
}

/// Returns the result of a settled attempt.
fn result(case: &Case, attempt: &Attempt) -> String {
    let code = attempt.exception_code.as_deref().map(|code| format!("Cognito returned {}", shown(code)));
    let id = attempt.aws_request_id.as_deref().map(|id| format!(" (AWS request {})", shown(id))).unwrap_or_default();
    let after = attempt.user_status_after.map(|status| format!("; the user was then {}", user_status(status)));
    let after = after.unwrap_or_default();
    match attempt.evidence {
        Some(Evidence::CognitoResponse) => {
            format!("{}{id}", code.unwrap_or_else(|| "Cognito accepted the reset".to_owned()))
        }
        Some(Evidence::UserStatusCheck) => {
            let response = code.unwrap_or_else(|| "no response from Cognito".to_owned());
            format!("{response}{id}, but reading the user proved the reset{after}")
        }
        Some(Evidence::NeverSent) => {
            "nothing was sent: the claim was too late, or grants, holds or another response no longer allowed the call"
                .to_owned()
        }
        Some(Evidence::Unreachable) => {
            let cause = attempt.cause.map_or("no connection to Cognito", |cause| cause.in_words());
            format!("nothing was sent: {cause}")
        }
        Some(Evidence::Inconclusive) | None if case.call(attempt) == Call::NotSent => {
            format!("nothing was sent: the state of the user contradicts an earlier response{after}")
        }
        Some(Evidence::Inconclusive) | None => {
            let response = code.unwrap_or_else(|| "no response from Cognito".to_owned());
            format!("{response}{id}; it is not known whether the reset happened{after}")
        }
    }
}

/// Returns the cause of a closing.
#[must_use]
pub fn closing(closed: &Closed) -> String {
    match closed.cause {
        CloseCause::Expired => "notAfter had passed".to_owned(),
        CloseCause::DeadlineExceeded => "deadlineSeconds had passed".to_owned(),
        CloseCause::AlreadyResetRequired => "the user already had to reset the password".to_owned(),
        CloseCause::UserReadRefused => {
            let code = closed.exception_code.as_deref().unwrap_or("an exception");
            format!("Cognito returned {} when the user was read", shown(code))
        }
        CloseCause::UserChanged => "the user name meant another user than the one who was approved".to_owned(),
    }
}

/// Returns a state of a user as Cognito writes it.
fn user_status(status: UserStatus) -> String {
    let value = serde_json::to_value(status).ok();
    value.as_ref().and_then(|value| value.as_str()).unwrap_or("UNKNOWN").to_owned()
}
