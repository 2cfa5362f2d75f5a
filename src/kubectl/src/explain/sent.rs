//! Sentences about what was sent to Cognito for a request object, and about what an earlier object
//! of its name did. Pure.

use cognito_reset_api::{Effect, Outcome};
use jiff::Timestamp;

use super::{
    case::{Call, Case, Seen},
    timeline::closing,
};
use crate::terminal::{moment, shown};

/// Returns sentences about what was sent for the request, and about an earlier object of its name
/// that its outcome is about.
#[must_use]
pub fn sentences(case: &Case) -> Vec<String> {
    let first = match (&case.record, case.outcome()) {
        (Seen::Shown(Some(_)), _) => counted(case),
        (Seen::Shown(None), Some(Outcome::Pending)) => {
            "Nothing has been sent to Cognito: no record exists, and each call needs one.".to_owned()
        }
        (Seen::Shown(None), _) => format!("{} No record exists any more.", from_status(case)),
        (Seen::Hidden(_), _) => from_status(case),
    };
    let mut sentences = vec![first];
    sentences.extend(earlier(case));
    sentences
}

fn counted(case: &Case) -> String {
    let calls: Vec<_> =
        case.attempts().filter(|(_, attempt)| case.is_ours(&attempt.origin)).map(|(_, it)| it).collect();
    let sent: Vec<_> = calls.iter().filter(|attempt| case.call(attempt) == Call::Sent).collect();
    let unclear = calls.iter().any(|attempt| case.call(attempt) == Call::NotKnown);
    let whom = if case.request.is_some() { "for this request" } else { "for requests of this name" };
    let at = sent.last().and_then(|attempt| attempt.sent_at.as_ref()).map(|time| moment(time.0));
    let mut text = match (sent.len(), at) {
        (0, _) if unclear => return format!("It is not known whether a call was sent to Cognito {whom}."),
        (0, _) => return format!("Nothing was sent to Cognito {whom}."),
        (1, Some(at)) => format!("1 call was sent to Cognito {whom}, at {at}."),
        (1, None) => format!("1 call was sent to Cognito {whom}."),
        (count, Some(at)) => format!("{count} calls were sent to Cognito {whom}, the last at {at}."),
        (count, None) => format!("{count} calls were sent to Cognito {whom}."),
    };
    if unclear {
        text += " It is not known whether another one was sent.";
    }
    text
}

/// Returns what the status says about calls. Its times may be those of an earlier object.
fn from_status(case: &Case) -> String {
    let Some(request) = &case.request else { return "Only the record shows what was sent.".to_owned() };
    if request.nothing_was_sent() {
        return "Nothing was sent to Cognito for this request.".to_owned();
    }
    match (&request.status.aws_request_id, request.status.attempts) {
        (Some(id), _) => format!(
            "Cognito responded to the last attempt under this name (AWS request {}); only the record shows when.",
            shown(id)
        ),
        (None, None | Some(0)) => "The status shows no attempt.".to_owned(),
        (None, Some(attempts)) => format!("Attempts under this name: {attempts}; only the record shows what was sent."),
    }
}

/// Returns what an earlier object of the name did, if the outcome is its outcome.
fn earlier(case: &Case) -> Option<String> {
    let request = case.request.as_ref()?;
    let record = match &case.record {
        Seen::Shown(Some(record)) => record,
        Seen::Shown(None) | Seen::Hidden(_) => {
            return performed_before(request.reason(), request.status.performed_time.as_ref().map(|it| it.0));
        }
    };
    let name = |uid: &str| format!("An earlier request object of this name (uid {})", shown(uid));
    if let Some(closed) = &record.spec.closed {
        return (!case.is_ours(&closed.origin)).then(|| {
            let at = moment(closed.closed_at.0);
            format!("{} ended at {at} without a call: {}.", name(&closed.origin.request_uid), closing(closed))
        });
    }
    let (number, last) = case.attempts().last().filter(|(_, last)| !case.is_ours(&last.origin))?;
    let at = last.settled_at.as_ref().map(|time| format!(" at {}", moment(time.0))).unwrap_or_default();
    let did = match record.spec.effect {
        Some(Effect::Performed) => format!("performed the reset{at}, by attempt {number}"),
        Some(Effect::Unknown) => format!("made attempt {number}, of which the effect is unknown{at}"),
        Some(Effect::NotPerformed) => format!("made attempt {number}, which had no effect{at}"),
        None => format!("made attempt {number}, which is not settled"),
    };
    Some(format!(
        "{} {did}; record {}.",
        name(&last.origin.request_uid),
        record.metadata.name.as_deref().unwrap_or("-")
    ))
}

fn performed_before(reason: &str, performed: Option<Timestamp>) -> Option<String> {
    let at = performed.map(|time| format!(" at {}", moment(time))).unwrap_or_default();
    let text = format!("An earlier request object of this name performed the reset{at}; only its record shows more.");
    (reason == "AlreadyPerformed").then_some(text)
}
