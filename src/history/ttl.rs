//! `ttlSecondsAfterFinished`: the label that a request gets right before its end is told, for the sweep to find it by. Pure.
//!
//! The label is a hint and decides nothing: whether a request is deleted is read from its status and its spec
//! ([`judge`](super::judge)). So one that somebody else writes can put a deletion off, and can never bring one on.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::tracked::{self, Mark};
use crate::api::PasswordResetRequest;

/// The label's key. Its value is a moment of UTC, such as `20261124T215558Z`.
pub const LABEL: &str = "cognito-reset.dev/delete-after";

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// What is to be done about a request's time to live when its end is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it has none.
    Nothing,
    /// The label stands already.
    Stands,
    /// The label gets this value.
    Write(String),
    /// It is not applied: a tool tracks the request.
    Tracked(Mark),
}

/// What is to be done about the time to live of a request that ends at this moment.
#[must_use]
pub fn plan(request: &PasswordResetRequest, end: Timestamp) -> Plan {
    let Some(seconds) = request.spec.ttl_seconds_after_finished else { return Plan::Nothing };
    if let Some(mark) = tracked::mark(&request.metadata) {
        return Plan::Tracked(mark);
    }
    let due = after(end, seconds);
    // A label of an earlier pass, which died before it told the end, makes the sweep look a bit early.
    match request.labels().get(LABEL).and_then(|value| parse(value)) {
        Some(standing) if standing <= due => Plan::Stands,
        Some(_) | None => Plan::Write(value(due)),
    }
}

/// The end and so many seconds.
#[must_use]
pub fn after(end: Timestamp, seconds: i64) -> Timestamp {
    end.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The label's value for a moment.
#[must_use]
pub fn value(due: Timestamp) -> String {
    due.strftime(FORMAT).to_string()
}

/// The moment that a label's value names; `None` where it names none.
#[must_use]
pub fn parse(value: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::strtime::parse(FORMAT, value).ok()?.to_datetime().ok()?;
    parsed.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
#[path = "ttl_tests.rs"]
mod tests;
