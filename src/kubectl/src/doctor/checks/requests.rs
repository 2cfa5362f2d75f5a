//! The requests of a namespace, or of all: those that wait, and those that failed.

use std::collections::BTreeMap;

use cognito_reset_api::conditions::WaitReason;
use jiff::Timestamp;
use kube::ResourceExt;

use super::unreadable;
use crate::{
    doctor::{
        finding::{Finding, Severity},
        read::Read,
    },
    request::Request,
    terminal::{age, counted},
};

/// The permission to read requests.
const ROLE: &str = "the ClusterRole cognito-reset-requester or cognito-reset-auditor";
/// The time, in seconds, within which an operator without a backlog writes a status.
const SEEN_WITHIN: i64 = 30;

/// Requests that were read, up to a limit.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The requests.
    pub requests: Vec<Request>,
    /// The namespaces and names of those that cannot be parsed.
    pub unreadable: Vec<String>,
    /// True if there are more.
    pub is_cut: bool,
}

impl Listed {
    fn count(&self) -> String {
        let more = if self.is_cut { "more than " } else { "" };
        format!("{more}{}", counted(self.requests.len(), "request"))
    }
}

/// Reports the requests that wait, by reason. `place` is the namespace in words.
#[must_use]
pub fn pending(read: &Read<Listed>, place: &str, now: Timestamp, is_led: bool) -> Vec<Finding> {
    const SUBJECT: &str = "backlog";
    let listed = match read.needed(SUBJECT, &format!("list requests in {place}"), ROLE) {
        Ok(listed) => listed,
        Err(finding) => return vec![finding],
    };
    let mut findings: Vec<_> = unreadable(SUBJECT, &listed.unreadable).into_iter().collect();
    let Some(oldest) = oldest(listed.requests.iter()) else {
        if findings.is_empty() {
            findings.push(Finding::ok(SUBJECT, format!("no request is pending in {place}")));
        }
        return findings;
    };
    let mut by_reason: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in listed.requests.iter().filter(|request| request.is_seen()) {
        by_reason.entry(request.reason()).or_default().push(request);
    }
    findings.extend(by_reason.iter().filter_map(|(reason, all)| waiting(reason, all, now)));
    findings.extend(unseen(&listed.requests, now, is_led));
    let text = format!("{} pending in {place}, the oldest {} for {}", listed.count(), oldest.id(), since(oldest, now));
    findings.push(Finding::ok(SUBJECT, text));
    findings
}

fn created(request: &Request) -> Option<Timestamp> {
    request.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn since(request: &Request, now: Timestamp) -> String {
    created(request).map_or_else(|| "an unknown time".into(), |created| age(created, now))
}

fn oldest<'a>(requests: impl Iterator<Item = &'a Request>) -> Option<&'a Request> {
    requests.min_by_key(|request| (created(request), request.name_any()))
}

/// Reports the requests that wait for one reason, unless it is a part of the normal course.
fn waiting(reason: &str, requests: &[&Request], now: Timestamp) -> Option<Finding> {
    let severity = severity(reason)?;
    let oldest = oldest(requests.iter().copied())?;
    let text = format!(
        "{} as {reason}, the oldest {} for {}: {}",
        match requests.len() {
            1 => "1 request waits".to_owned(),
            number => format!("{number} requests wait"),
        },
        oldest.id(),
        since(oldest, now),
        cause(reason, oldest.message())
    );
    let remedy = Some(remedy(reason).to_owned());
    Some(Finding { severity, subject: "waiting", text, remedy })
}

/// Returns a message without the way out at its end, if the remedy says the same.
fn cause<'a>(reason: &str, message: &'a str) -> &'a str {
    const WITH_WAY_OUT: [WaitReason; 4] = [
        WaitReason::NoMatchingGrant,
        WaitReason::ConflictingGrants,
        WaitReason::GrantSuspended,
        WaitReason::NotAfterRequired,
    ];
    let parts = message.rsplit_once("; ").filter(|_| WITH_WAY_OUT.iter().any(|it| it.as_str() == reason));
    parts.map_or(message, |(cause, _)| cause)
}

/// Returns the weight of a reason to wait: a failure where it is one of the installation, and
/// nothing where waiting is what was asked for.
fn severity(reason: &str) -> Option<Severity> {
    const NORMAL: [WaitReason; 5] = [
        WaitReason::Suspended,
        WaitReason::AwaitingApproval,
        WaitReason::PendingLimitReached,
        WaitReason::RateLimited,
        WaitReason::AwaitingPriorAttempt,
    ];
    const OF_SINGLE_REQUESTS: [WaitReason; 12] = [
        WaitReason::NotAfterRequired,
        WaitReason::RequesterUnverified,
        WaitReason::ApproverUnverified,
        WaitReason::RequesterNotIndependent,
        WaitReason::ApproverNotIndependent,
        WaitReason::SelfApproval,
        WaitReason::Throttled,
        WaitReason::UserStateNotRead,
        WaitReason::ClaimTimedOut,
        WaitReason::RecordNotUsable,
        WaitReason::ObjectTooLarge,
        WaitReason::InvalidObject,
    ];
    let is = |it: &WaitReason| it.as_str() == reason;
    if NORMAL.iter().any(is) {
        None
    } else if OF_SINGLE_REQUESTS.iter().any(is) {
        Some(Severity::Warn)
    } else {
        Some(Severity::Fail)
    }
}

/// Returns the way out of a reason.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "AwsCredentialsUnavailable" => {
            "give the operator's service account an IAM role by IRSA or EKS Pod Identity, and let the role trust it (deploy/iam/README.md)"
        }
        "NoMatchingGrant" => "have a platform administrator create a UserPoolGrant for this pool and namespace",
        "ConflictingGrants" => "have a platform administrator correct the grants: kubectl get poolgrant -o wide",
        "GrantSuspended" => "have a platform administrator set suspend of the grant to false",
        "UserPoolHeld" => "when the incident is over, release the hold: kubectl cognito-reset release NAME",
        "WriteRefused" => "let the policy or webhook that the message names accept the operator's writes",
        "CognitoUnreachable" => "allow the operator's connections to Cognito and STS (docs/network.md)",
        "RegionNotServed" => "remove the endpoint of another Region from the operator's environment",
        "GrantsNotConfirmed" => "the operator cannot list grants and holds: check its permissions and its log",
        "DeliveryFailing" => "correct the delivery of codes of the pool: Amazon SES, or Amazon SNS (docs/reasons.md)",
        "ClockSkew" => "set the clock of the operator's node right",
        "NotAfterRequired" => "create the request under another name with notAfter (create --not-after)",
        _ => "docs/reasons.md describes the reason and the way out",
    }
}

/// Reports requests without a status of an operator: a failure if none leads, as far as that is
/// known, and none of the requests has one.
fn unseen(requests: &[Request], now: Timestamp, is_led: bool) -> Option<Finding> {
    let is_old = |request: &&Request| {
        created(request).is_some_and(|created| now.as_second() - created.as_second() > SEEN_WITHIN)
    };
    let unseen: Vec<_> = requests.iter().filter(|request| !request.is_seen()).filter(is_old).collect();
    let oldest = oldest(unseen.iter().copied())?;
    let (number, id, since) = (counted(unseen.len(), "request"), oldest.id(), since(oldest, now));
    let text = format!("{number} without a status of an operator, the oldest {id} for {since}");
    let remedy = "check that the operator runs and handles this namespace (--watch-namespaces): kubectl -n cognito-reset-system get pods";
    if is_led || requests.iter().any(Request::is_seen) {
        // In a long backlog it writes only a few statuses a second.
        let remedy = format!("they wait for their turn if their number falls; else {remedy}");
        return Some(Finding::warn("backlog", text, remedy));
    }
    Some(Finding::fail("backlog", text, remedy))
}

/// Reports failed requests whose reason is a mistake of the installation or of the pool's id.
#[must_use]
pub fn failed(read: &Read<Listed>, place: &str) -> Vec<Finding> {
    const SUBJECT: &str = "failures";
    // `pending` reports what could not be read.
    let Some(listed) = read.got() else { return Vec::new() };
    let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &listed.requests {
        *by_reason.entry(request.reason()).or_default() += 1;
    }
    let no_pool = by_reason.get("ResourceNotFoundException").map(|number| {
        let text =
            format!("{} failed because there is no such pool in the Region of its id", counted(*number, "request"));
        let remedy =
            "create them again under new names with the right userPoolID: its Region is before the last underscore";
        Finding::warn(SUBJECT, text, remedy)
    });
    let reasons: Vec<_> = by_reason.iter().map(|(reason, number)| format!("{number} {reason}")).collect();
    let unreadable = unreadable(SUBJECT, &listed.unreadable);
    let summary = match reasons.as_slice() {
        [] if unreadable.is_some() => None,
        [] => Some(Finding::ok(SUBJECT, format!("no request in {place} has failed"))),
        reasons => Some(Finding::ok(SUBJECT, format!("{} in {place} failed: {}", listed.count(), reasons.join(", ")))),
    };
    no_pool.into_iter().chain(unreadable).chain(summary).collect()
}

#[cfg(test)]
mod tests;
