//! The status of a request: from its record, or from the reason of its wait. Pure.

use cognito_reset_api::{
    Attempt, CloseCause, Closed, Effect, Evidence, Exception, FailureCause, Outcome, Password, PasswordResetRecord,
    PasswordResetRequest, PasswordResetRequestStatus, RecordRef, UserStateSource, UserStatus,
    conditions::{ConditionType, EndReason, Reason, Truth, WaitReason, conditions},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    action::{
        response::{Class, Code},
        user_names::UserNames,
    },
    dispatch::turns::{GrantLimit, GrantLimits},
    escape::escaped,
    grants::{HeldBy, HoldCause},
    ledger::{self, Finding},
    machine::state::RecordWrite,
    refusal::Refuser,
};

/// The most characters of a hold's reason that a message repeats, which is the limit of the CRD.
const MOST_OF_A_REASON: usize = 256;

/// The most characters of a user's name that a status shows, which is the limit of the CRD. A
/// longer name is not shown.
const LONGEST_NAME: usize = 256;

const USER_CHANGED: &str = "spec.username means another user now than the one whom the status showed for the approval, so an approval does not count; this user was not reset; check the user, whom the status shows now, and create a new request under a new name";

/// An update of the status of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusUpdate {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason of every condition.
    pub reason: Reason,
    /// The truth about the invalidation of the password.
    pub invalidated: Truth,
    /// One sentence for people. No user name, no upstream text.
    pub message: String,
}

impl StatusUpdate {
    /// Returns the conditions of this status. All others are absent.
    #[must_use]
    pub fn conditions(&self) -> Vec<(ConditionType, Truth)> {
        use ConditionType::{PasswordInvalidated, Ready, Reconciling, Stalled, Succeeded};
        let (succeeded, ready, last) = match self.outcome {
            Outcome::Pending => (Truth::Unknown, Truth::Unknown, Some(Reconciling)),
            Outcome::Succeeded => (Truth::True, Truth::True, None),
            Outcome::Failed => (Truth::False, Truth::False, Some(Stalled)),
            Outcome::Unknown => (Truth::Unknown, Truth::False, Some(Stalled)),
        };
        let mut wanted = vec![(Succeeded, succeeded), (Ready, ready), (PasswordInvalidated, self.invalidated)];
        wanted.extend(last.map(|type_| (type_, Truth::True)));
        wanted
    }
}

/// Returns the status of a request that waits.
#[must_use]
pub fn waiting(reason: WaitReason) -> StatusUpdate {
    let message = waiting_message(reason).to_owned();
    StatusUpdate { outcome: Outcome::Pending, reason: reason.into(), invalidated: Truth::Unknown, message }
}

/// Returns the status of a request that waits because of this service account.
#[must_use]
pub fn waiting_for_account(reason: WaitReason, account: &str) -> StatusUpdate {
    let message = format!(
        "{}; a platform administrator can add \"{account}\" to approvalServiceAccounts of the grant",
        waiting_message(reason)
    );
    StatusUpdate { message, ..waiting(reason) }
}

/// The same, with a word about what it waits for after the first clause: a cause of a failed
/// connection, a code, never anybody's text.
#[must_use]
pub fn waiting_for(reason: WaitReason, word: &str) -> StatusUpdate {
    let message = waiting_message(reason);
    let (first, rest) = message.split_at(message.find(';').unwrap_or(message.len()));
    let message = format!("{first} ({word}){rest}");
    StatusUpdate { message, ..waiting(reason) }
}

/// Returns the status of a request that a hold holds back. The reason is repeated, because its
/// author wrote it for those who wait, and the CRD bounds it.
#[must_use]
pub fn held(by: &HeldBy) -> StatusUpdate {
    let hold = &by.hold;
    let (others, s) = match by.others {
        0 => (String::new(), "s"),
        others => (format!(" and {others} more"), ""),
    };
    let message = match &by.cause {
        HoldCause::Matches(reason) => {
            let reason: String = reason.chars().take(MOST_OF_A_REASON).collect();
            format!("nothing is sent while the UserPoolHold {hold}{others} exist{s}; its reason: {reason}")
        }
        HoldCause::HoldUnreadable => format!(
            "nothing is sent: this operator cannot parse the UserPoolHold {hold}{others}, and holds every request that it may match; an administrator has to delete it or upgrade the operator"
        ),
        HoldCause::UserUnreadable => format!(
            "nothing is sent: the UserPoolHold {hold}{others} name{s} users, and this user cannot be read to compare; retrying"
        ),
        HoldCause::UserNotRead => format!(
            "nothing is sent: the UserPoolHold {hold}{others} name{s} users, and the matching UserPoolGrants let nobody read this user to compare (userStateSource: None); wait until the hold is deleted, or ask a platform administrator to set userStateSource to AdminGetUser or ListUsers"
        ),
    };
    StatusUpdate { message, ..waiting(WaitReason::UserPoolHeld) }
}

/// Returns the status of a request that has ended without a call, while its record waits to be
/// written.
#[must_use]
pub fn closing_queued() -> StatusUpdate {
    let message = "nothing is sent: the request has expired, has exceeded its deadline or needs no call; the outcome follows when its record is closed, and the records of a namespace are closed one after another";
    StatusUpdate { message: message.to_owned(), ..waiting(WaitReason::RateLimited) }
}

/// Returns the status of a request that waits for this limit of a grant.
#[must_use]
pub fn limited_by_grant(
    GrantLimits { grant, per_minute, share_percent }: &GrantLimits,
    limit: GrantLimit,
) -> StatusUpdate {
    let message = match (limit, per_minute, share_percent) {
        (GrantLimit::Rate, Some(number), _) => format!(
            "waiting for its turn: the UserPoolGrant {grant} limits its resets per minute to {number} (maxResetsPerMinute)"
        ),
        (GrantLimit::Share, _, Some(percent)) => format!(
            "waiting for its turn: while others wait, the UserPoolGrant {grant} takes {percent} % of the resets of the AWS account and Region (maxSharePercent)"
        ),
        // The limit was removed meanwhile.
        (GrantLimit::Rate, None, _) | (GrantLimit::Share, _, None) => return waiting(WaitReason::RateLimited),
    };
    StatusUpdate { message, ..waiting(WaitReason::RateLimited) }
}

/// Returns the status of a request whose call could not be sent, for this cause.
#[must_use]
pub fn unreachable(cause: FailureCause) -> StatusUpdate {
    let update = waiting_for(WaitReason::CognitoUnreachable, cause.in_words());
    match cause {
        FailureCause::Request => {
            let message =
                "the request to Cognito could not be built; nothing was sent, retrying; see the operator's log";
            StatusUpdate { message: message.to_owned(), ..update }
        }
        FailureCause::Dns
        | FailureCause::Refused
        | FailureCause::TimedOut
        | FailureCause::Tls
        | FailureCause::Proxy
        | FailureCause::Network => update,
    }
}

/// Returns the status of a request that waits because the read of its user by this source failed: a
/// cause of a failed connection, or a code.
#[must_use]
pub fn user_read_failed(source: UserStateSource, word: &str) -> StatusUpdate {
    let message = format!(
        "{} failed ({word}); nothing was sent, retrying; if no response came, check the NetworkPolicies, the DNS and the proxy of the operator's Pod",
        source.as_str()
    );
    StatusUpdate { message, ..waiting(WaitReason::CognitoUnreachable) }
}

/// Returns the status of a request that awaits an approval while its user cannot be read by this
/// source: a cause of a failed connection, or a code.
#[must_use]
pub fn user_not_shown(source: UserStateSource, word: &str) -> StatusUpdate {
    let reason = WaitReason::AwaitingApproval;
    let message = format!(
        "{}; the status does not show who the user is, because {} failed ({word})",
        waiting_message(reason),
        source.as_str()
    );
    StatusUpdate { message, ..waiting(reason) }
}

/// Returns the status of a request with a write that is refused by `refuser`, or that fails if
/// there is none. `ended` is what its settled record says, where that is only to remember an
/// expiry.
#[must_use]
pub fn refused(write: RecordWrite, refuser: Option<&Refuser>, ended: &StatusUpdate) -> StatusUpdate {
    let hindrance = hindrance(refuser);
    let message = match write {
        RecordWrite::Claim => format!(
            "nothing was sent: the write of the record that must exist before a call {hindrance}; retrying until the deadline"
        ),
        RecordWrite::EarlierEffects => format!(
            "nothing was sent: the write of the results of earlier requests into their records {hindrance}, and no new call is made until it succeeds; retrying until the deadline"
        ),
        // Another replica may have been quicker: only the record can say that nothing was sent.
        RecordWrite::Close(cause) => {
            let cause = match cause {
                CloseCause::Expired => "notAfter has passed",
                CloseCause::DeadlineExceeded => "deadlineSeconds have passed",
                CloseCause::AlreadyResetRequired => "the user already has to reset the password",
                CloseCause::UserReadRefused => "Cognito rejects AdminGetUser for the user",
                CloseCause::UserChanged => "the user is not the one whom the status showed for the approval",
            };
            format!(
                "{cause} and nothing is sent, but the write of the record that says so {hindrance}; the outcome stays Pending until it is written; retrying"
            )
        }
        RecordWrite::ExtendExpiry => format!(
            "{}. The write of the request's notAfter into the record {hindrance}; the outcome stays Pending until it is written; retrying",
            ended.message
        ),
    };
    let invalidated = match write {
        RecordWrite::Claim | RecordWrite::EarlierEffects | RecordWrite::Close(_) => Truth::Unknown,
        RecordWrite::ExtendExpiry => ended.invalidated,
    };
    StatusUpdate { outcome: Outcome::Pending, reason: WaitReason::WriteRefused.into(), invalidated, message }
}

fn hindrance(refuser: Option<&Refuser>) -> String {
    match refuser {
        None => "failed".to_owned(),
        Some(refuser) if refuser.is_of_admission() => {
            format!("was rejected by {refuser}, which has to accept the operator's writes")
        }
        Some(refuser) => format!("was rejected by {refuser}"),
    }
}

/// Returns the status of a request whose effect cannot be stored in its record: the status after it
/// is stored, except for the outcome. `refuser` refuses the write; it is `None` if the write fails
/// in another way. `ours` is true if the attempt was made for this object, and not for an earlier
/// one of the name.
#[must_use]
pub fn held_up(attempt: &Attempt, finding: &Finding, refuser: Option<&Refuser>, ours: bool) -> StatusUpdate {
    let mut settled = attempt.clone();
    finding.put_into(&mut settled);
    let (invalidated, known) = match (ledger::retry_reason(&settled), ledger::code(&settled)) {
        (Some(_), Some(code)) => (Truth::Unknown, format!("Cognito returned {}; nothing was changed", code.as_str())),
        (Some(_), None) => (Truth::Unknown, "nothing was sent".to_owned()),
        (None, _) => {
            let update = settled_attempt(finding.settlement.effect, &settled);
            (update.invalidated, update.message)
        }
    };
    let of_whom = if ours { "" } else { "for an earlier request of this name: " };
    let hindrance = hindrance(refuser);
    let message = format!(
        "{of_whom}{known}. The write of the record that says so {hindrance}; the outcome stays Pending until it is written; retrying"
    );
    let invalidated = match invalidated {
        Truth::True => Truth::True,
        // Only the record can say that nothing happened.
        Truth::False | Truth::Unknown => Truth::Unknown,
    };
    StatusUpdate { outcome: Outcome::Pending, reason: WaitReason::WriteRefused.into(), invalidated, message }
}

/// Returns the final status of a request with a settled record.
#[must_use]
pub fn ended(record: Option<&PasswordResetRecord>, request_uid: Option<&str>) -> StatusUpdate {
    let unsettled = || StatusUpdate {
        outcome: Outcome::Unknown,
        reason: EndReason::OutcomeUnknown.into(),
        invalidated: Truth::Unknown,
        message: "the record is not settled".into(),
    };
    let Some(record) = record else { return unsettled() };
    let last = ledger::last(record);
    let (update, uid, at) = match (&record.spec.closed, record.spec.effect, last) {
        (Some(end), Some(Effect::NotPerformed), _) => {
            (closed(end, last), &end.origin.request_uid, Some(&end.closed_at))
        }
        (None, Some(effect), Some(last)) => {
            let update = match effect {
                Effect::Unknown if ledger::is_contradicted(record) => contradicted(last),
                Effect::NotPerformed | Effect::Unknown | Effect::Performed => settled_attempt(effect, last),
            };
            (update, &last.origin.request_uid, last.settled_at.as_ref())
        }
        (None, None, _) | (None, Some(_), None) | (Some(_), None | Some(Effect::Unknown | Effect::Performed), _) => {
            return unsettled();
        }
    };
    if request_uid == Some(uid.as_str()) { update } else { of_an_earlier_one(update, at) }
}

/// Returns the status for a record that was closed without a call. `last` is its last attempt,
/// which had no effect.
fn closed(closed: &Closed, last: Option<&Attempt>) -> StatusUpdate {
    let (reason, message) = match closed.cause {
        CloseCause::AlreadyResetRequired => {
            let (invalidated, message) = match closed.origin.user_state_source {
                Some(UserStateSource::ListUsers) => (
                    Truth::Unknown,
                    "nothing was sent: by ListUsers, which may return a state that is some seconds old, the user already had to reset the password",
                ),
                Some(UserStateSource::AdminGetUser | UserStateSource::None) | None => {
                    (Truth::True, "nothing was sent: the user already had to reset the password")
                }
            };
            return StatusUpdate {
                outcome: Outcome::Succeeded,
                reason: EndReason::AlreadyResetRequired.into(),
                invalidated,
                message: message.into(),
            };
        }
        CloseCause::UserReadRefused => {
            let exception = closed.exception_code.as_deref().and_then(Exception::from_code);
            let code = exception.map_or("an exception that this operator does not know", Exception::code);
            let reason = exception.map_or(EndReason::UnrecognizedError, EndReason::Cognito);
            (reason, format!("Cognito returned {code} for AdminGetUser; nothing was sent"))
        }
        CloseCause::Expired => (EndReason::Expired, nothing_happened("notAfter passed", last)),
        CloseCause::DeadlineExceeded => (EndReason::DeadlineExceeded, nothing_happened("deadlineSeconds passed", last)),
        CloseCause::UserChanged => (EndReason::UserChanged, USER_CHANGED.into()),
    };
    StatusUpdate { outcome: Outcome::Failed, reason: reason.into(), invalidated: Truth::False, message }
}

/// Returns the status for a settled attempt.
fn settled_attempt(effect: Effect, attempt: &Attempt) -> StatusUpdate {
    let code = ledger::code(attempt);
    let reason = code.as_ref().map(|code| match code {
        Code::Known(exception) => EndReason::Cognito(*exception),
        Code::Unrecognized(_) => EndReason::UnrecognizedError,
    });
    let (outcome, reason, invalidated) = match effect {
        Effect::Performed => match code.as_ref().map(Code::class) {
            None if attempt.evidence == Some(Evidence::CognitoResponse) => {
                (Outcome::Succeeded, EndReason::ResetAccepted, Truth::True)
            }
            None | Some(Class::Ambiguous) => (Outcome::Succeeded, EndReason::ConfirmedByProbe, Truth::True),
            Some(Class::AmbiguousFailure | Class::Refused | Class::Throttled | Class::Blocked) => {
                (Outcome::Failed, reason.unwrap_or(EndReason::OutcomeUnknown), Truth::True)
            }
        },
        Effect::NotPerformed => (Outcome::Failed, reason.unwrap_or(EndReason::OutcomeUnknown), Truth::False),
        Effect::Unknown => {
            let seen = attempt.user_status_after == Some(UserStatus::ResetRequired);
            let invalidated = if seen { Truth::True } else { Truth::Unknown };
            (Outcome::Unknown, reason.unwrap_or(EndReason::OutcomeUnknown), invalidated)
        }
    };
    let message = message(reason, outcome, invalidated, code.as_ref());
    StatusUpdate { outcome, reason: reason.into(), invalidated, message }
}

/// Returns the status for a record whose last attempt was claimed only to end the request.
fn contradicted(last: &Attempt) -> StatusUpdate {
    let message = "Cognito reported for an earlier attempt that nothing was changed, but the user now has to reset the password; it is unknown whether this request caused that; nothing more will be sent";
    StatusUpdate { message: message.into(), ..settled_attempt(Effect::Unknown, last) }
}

/// Converts the status for a later request of the same name.
fn of_an_earlier_one(update: StatusUpdate, at: Option<&Time>) -> StatusUpdate {
    let at = at.map_or_else(|| "an earlier time".to_owned(), |time| time.0.to_string());
    if update.outcome == Outcome::Succeeded && update.reason != EndReason::AlreadyResetRequired {
        let message = format!(
            "nothing was sent now: an earlier request of this name reset the password at {at}; use a new name to reset again"
        );
        return StatusUpdate { reason: EndReason::AlreadyPerformed.into(), message, ..update };
    }
    let message = format!(
        "nothing was sent for this request: an earlier request of this name ended at {at}; use a new name to try again. Its result: {}",
        update.message
    );
    StatusUpdate { message, ..update }
}

fn message(reason: EndReason, outcome: Outcome, invalidated: Truth, code: Option<&Code>) -> String {
    let named = code.map_or("an unnamed exception", Code::as_str);
    let returned = code.map_or_else(
        || "no response from Cognito was received".to_owned(),
        |code| format!("Cognito returned {}", code.as_str()),
    );
    match (outcome, invalidated) {
        (Outcome::Succeeded, _) if reason == EndReason::ResetAccepted => {
            "password invalidated; Cognito accepted a code for sending, but its delivery is unconfirmed".into()
        }
        (Outcome::Succeeded, _) => {
            "password invalidated: no clear response from Cognito was received, but the user has to reset the password now and did not before the call".into()
        }
        (Outcome::Failed, Truth::True) => {
            format!("the password was invalidated, but Cognito reported {named}: the user may not have received a code")
        }
        (Outcome::Failed, _) => format!("Cognito rejected the reset with {named}; nothing was changed{}", known_cause(reason)),
        (Outcome::Unknown, Truth::True) => format!(
            "{returned}; the user has to reset the password now, but it is unknown whether this request caused that; nothing more will be sent"
        ),
        (Outcome::Unknown | Outcome::Pending, _) => {
            format!("{returned}; it is unknown whether the reset was made; nothing more will be sent")
        }
    }
}

/// The cause of a refusal, if its name alone misleads: one looks like a missing IAM permission,
/// another like an error of the operator.
const fn known_cause(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Cognito(Exception::ResourceNotFound) => {
            "; no such user pool is in the AWS account of these credentials and in the Region that userPoolID names before its last underscore: create a request with the right userPoolID under a new name, or correct the roleARN of the grant"
        }
        EndReason::Cognito(Exception::NotAuthorized) => {
            "; the user is disabled, or in a state that cannot be reset, such as FORCE_CHANGE_PASSWORD or UNCONFIRMED"
        }
        EndReason::Cognito(Exception::InvalidParameter) => {
            "; the user may have no verified e-mail address or phone number"
        }
        _ => "",
    }
}

fn nothing_happened(cause: &str, last: Option<&Attempt>) -> String {
    match last.and_then(ledger::retry_reason) {
        Some(last) => {
            let last = WaitReason::from(last);
            format!("{cause} before the reset was performed; the last attempt ended with {last}; nothing was changed")
        }
        None => format!("{cause} before the reset was performed; nothing was sent"),
    }
}

const fn waiting_message(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::Suspended => "the request is suspended; set spec.suspend to false to continue",
        WaitReason::GrantsNotConfirmed => {
            "the operator could not confirm recently that its grants, holds and namespace labels are current; nothing is sent, retrying; see the operator's log"
        }
        WaitReason::NoMatchingGrant => {
            "no UserPoolGrant allows this namespace to reset this user of this pool; ask a platform administrator for one"
        }
        WaitReason::ConflictingGrants => {
            "the UserPoolGrants that match differ in roleARN, externalID or sessionTags; a platform administrator has to make them agree"
        }
        WaitReason::UserPoolHeld => "a UserPoolHold holds this request back; nothing is sent while it exists",
        WaitReason::GrantSuspended => "the matching UserPoolGrants are suspended; ask a platform administrator",
        WaitReason::NotAfterRequired => {
            "the matching UserPoolGrants allow only requests with notAfter; create a new request that has one"
        }
        WaitReason::AwaitingApproval => {
            "the matching UserPoolGrants require an approval: a user with the verb approve, other than the requester, has to set spec.approved to true"
        }
        WaitReason::RequesterUnverified => {
            "the matching UserPoolGrants require an approval, and the requester is not authenticated: install the component stamp-requester or refuse-unverified, then create a new request"
        }
        WaitReason::ApproverUnverified => {
            "the matching UserPoolGrants require an approval, and the approver is not authenticated: install the component stamp-requester or refuse-unverified, then create a new request"
        }
        WaitReason::RequesterNotIndependent => {
            "the matching UserPoolGrants require an approval, and a service account of this namespace does not count as requester: create a new request as another user"
        }
        WaitReason::ApproverNotIndependent => {
            "the matching UserPoolGrants require an approval, and a service account of this namespace does not count as approver: create a new request, and have another user approve it"
        }
        WaitReason::SelfApproval => {
            "the matching UserPoolGrants require an approval by a second person, and by the approvalIdentity of the grants the requester and the approver are not shown to be two people: create a new request, and have another user approve it"
        }
        WaitReason::PendingLimitReached => {
            "this namespace has reached maxPendingPerNamespace of the matching UserPoolGrants; waiting for earlier requests to end"
        }
        WaitReason::RateLimited => {
            "waiting for its turn: the call rate for the AWS account and Region (--rate) is used up"
        }
        WaitReason::Throttled => "Cognito throttles the call; nothing was changed, retrying more slowly",
        WaitReason::DeliveryFailing => {
            "Cognito cannot deliver codes of this user pool; nothing is sent for this request yet, and one request of the pool is tried after 1, 5, 15, then every 60 minutes; check how the pool delivers: the limits and identities of SES or SNS, its roles, and its Lambda triggers"
        }
        WaitReason::AwsCredentialsUnavailable => {
            "no AWS credentials could be loaded, or the grant's role could not be assumed; retrying; see the operator's log"
        }
        WaitReason::UserStateUnreadable => {
            "the user cannot be read, which ifResetRequired: Skip, the usernamePattern of the grants, or an approval for the user whom the status shows requires; nothing is sent, retrying"
        }
        WaitReason::UserStateNotRead => {
            "ifResetRequired: Skip, or an approval for the user whom the status shows, requires to read the user, and the matching UserPoolGrants let nobody read users (userStateSource: None); nothing is sent; create a new request with ifResetRequired: Resend, or ask a platform administrator to set userStateSource to AdminGetUser or ListUsers"
        }
        WaitReason::AwaitingPriorAttempt => {
            "waiting for an earlier attempt, or another request for the same user, to end"
        }
        WaitReason::CognitoUnreachable => {
            "cannot connect to Cognito; nothing was sent, retrying; check the NetworkPolicies, the DNS and the proxy of the operator's Pod"
        }
        WaitReason::RegionNotServed => {
            "the configured endpoint of Cognito is in another Region than the user pool; nothing was sent; run one operator for each Region, or remove the configured endpoint"
        }
        WaitReason::ClaimTimedOut => {
            "writing the claim took too long, or grants, holds or a response to another call no longer allowed the call; nothing was sent, retrying"
        }
        WaitReason::ClockSkew => {
            "the clocks of the operator and the API server disagree about whether notAfter or the deadline has passed, or the API server's response has no Date header; nothing is sent until they agree; check both clocks, and let proxies pass the Date header"
        }
        WaitReason::RecordNotUsable => {
            "the record was written by a newer operator or belongs to another request; nothing is sent; if the operator is older than the record, upgrade it"
        }
        WaitReason::ObjectTooLarge => {
            "the request's metadata exceeds 1 MiB, which leaves no room for its status; nothing is sent; remove labels, annotations, owners, finalizers or field managers"
        }
        WaitReason::WriteRefused => "the API server rejects a write that the operator has to make; retrying",
        WaitReason::Cognito(_) => {
            "Cognito rejected the call because of the pool's configuration or the operator's AWS permissions or credentials, which an administrator has to correct; nothing was changed, retrying with growing pauses"
        }
        WaitReason::InvalidObject => "this operator cannot parse the request; nothing is sent",
    }
}

const fn password(invalidated: Truth) -> Password {
    match invalidated {
        Truth::True => Password::Invalidated,
        Truth::False => Password::Unchanged,
        Truth::Unknown => Password::Unknown,
    }
}

/// Returns the new status, based on the present one. Without news it is equal to that.
#[must_use]
pub fn status(
    request: &PasswordResetRequest,
    record: Option<&PasswordResetRecord>,
    update: &StatusUpdate,
    now: Timestamp,
) -> PasswordResetRequestStatus {
    let current = request.status.clone().unwrap_or_default();
    let generation = request.metadata.generation;
    let attempt = record.and_then(ledger::last);
    let ended = update.outcome != Outcome::Pending;
    let user_sub = user_sub(request, &current, record, ended);
    PasswordResetRequestStatus {
        outcome: update.outcome,
        observed_generation: generation,
        // The record drops early attempts, so a start time that was shown once stays.
        start_time: current.start_time.or_else(|| Some(record?.spec.attempts.first()?.claimed_at.clone())),
        completion_time: ended.then(|| current.completion_time.unwrap_or(Time(now))),
        performed_time: record.and_then(ledger::performed_at).map(Time),
        password: password(update.invalidated),
        attempts: Some(record.map_or(0, ledger::attempts)),
        aws_request_id: attempt.and_then(|attempt| attempt.aws_request_id.clone()),
        user_name: current.user_name.filter(|_| user_sub == current.user_sub),
        user_sub,
        record_ref: record.map(|record| RecordRef { name: record.name_any() }),
        conditions: conditions(
            &current.conditions,
            &update.conditions(),
            update.reason,
            &update.message,
            generation,
            now,
        ),
    }
}

/// Returns the `sub` that the status shows.
///
/// While the request is pending, a `sub` that was shown stays: somebody may approve the request for
/// this user. Only an attempt for this object shows one that was not. In the end, the record says
/// whom the request was for, or does not know it.
fn user_sub(
    request: &PasswordResetRequest,
    current: &PasswordResetRequestStatus,
    record: Option<&PasswordResetRecord>,
    ended: bool,
) -> Option<String> {
    let attempt = record.and_then(ledger::last);
    let of_record = record.and_then(|record| record.spec.user_sub.clone());
    let shown = current.user_sub.clone();
    if ended {
        return if attempt.is_some() { of_record } else { of_record.or(shown) };
    }
    let is_ours = attempt.is_some_and(|attempt| request.metadata.uid.as_ref() == Some(&attempt.origin.request_uid));
    shown.or(of_record.filter(|_| is_ours))
}

/// Returns the status with the name and `sub` of the user, if the user was read to be shown and the
/// status does not show another one. Hidden characters of a name are escaped, because users choose
/// their names in some pools.
#[must_use]
pub fn showing(user: Option<&UserNames>, status: PasswordResetRequestStatus) -> PasswordResetRequestStatus {
    let Some(user) = user.filter(|user| status.user_sub.is_none() || status.user_sub == user.sub) else {
        return status;
    };
    let name = user.name().map(|name| escaped(name, |_| false).into_owned());
    PasswordResetRequestStatus {
        user_name: name.filter(|name| name.chars().count() <= LONGEST_NAME),
        user_sub: user.sub.clone(),
        ..status
    }
}

#[cfg(test)]
mod tests;
