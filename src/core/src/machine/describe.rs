//! Describes objects for the log: their version and the fields that are decided on, without user
//! names and texts that people wrote.

use cognito_reset_api::{Effect, PasswordResetRecord, PasswordResetRequest};
use kube::ResourceExt;

use crate::{ledger, machine::Object};

/// Describes a request by its version, outcome and suspension.
pub(super) fn request(request: &PasswordResetRequest) -> String {
    format!(
        "request {}@{} {}{}",
        request.uid().unwrap_or_default(),
        request.resource_version().unwrap_or_default(),
        request.outcome().as_str(),
        if request.spec.suspend { " suspended" } else { "" },
    )
}

/// Describes a record by its version, effect, last attempt, and closing.
pub(super) fn record(record: &PasswordResetRecord) -> String {
    let effect = record.spec.effect.map_or("open", Effect::as_str);
    let version = record.resource_version().unwrap_or_default();
    let last = ledger::last(record)
        .map_or_else(String::new, |last| format!(" {} {:?} {:?}", last.id, last.user_status_before, last.evidence));
    let closed = record.spec.closed.as_ref().map_or_else(String::new, |closed| format!(" closed {:?}", closed.cause));
    format!("record @{version} {effect}{last}{closed}")
}

pub(super) fn request_or_none(found: &Option<Object<PasswordResetRequest>>) -> String {
    found.as_ref().map_or_else(|| "no request".to_owned(), |found| request(found))
}

pub(super) fn record_or_none(found: &Option<Object<PasswordResetRecord>>) -> String {
    found.as_ref().map_or_else(|| "no record".to_owned(), |found| record(found))
}
