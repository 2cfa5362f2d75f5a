//! The one function that decides what happens next.
//!
//! What a crash leaves behind is decided here too. Between the claim and the call, or between the
//! call and the record of its effect, the next task finds [`Ledger::Open`]: it waits until the call
//! can no longer be in flight, probes the user, and settles the claim as `Performed` (the user has
//! to reset now and did not before) or `Unknown`. It never sends: only the task that wrote a claim
//! ever holds [`OwnAttempt::Claimed`], and it holds it once.

use cognito_reset_api::{CloseCause, Effect, Evidence, UserStateSource, UserStatus, conditions::WaitReason};
use jiff::{SignedDuration, Timestamp};

use crate::{
    action::response::{Class, ResetResponse},
    ledger::{Baseline, Ledger, Settlement},
    machine::state::{
        Attribution, Credentials, Desired, OwnAttempt, Pace, Permission, Probes, RecordWrite, Refused, Request,
        Snapshot, State, Turn,
    },
};

/// The maximum age of request and record when the claim is sent, counted from the later response. A
/// suspension takes effect up to that moment. Credentials and snapshot may have taken longer.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_secs(1);

/// The wait of a request whose refreshed read is too old again, because grants and holds take long
/// to check.
const STALE_WAIT: SignedDuration = SignedDuration::from_secs(2);

/// The limits of the wait while the two clocks disagree. Within the longest, a clock that was set
/// right is noticed.
const SHORTEST_SKEW: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// The shortest wait if the response has no Date.
const SHORTEST_WITHOUT_DATE: SignedDuration = SignedDuration::from_secs(10);

/// The next step. All steps but `Wait`, `WriteStatus` and `Done` change the state, and are followed
/// by another decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the request and its record afresh. The first time, the record may be assumed to be
    /// absent.
    Gather,
    /// Ask for a slot among the closings of the namespace.
    TakeClosingSlot,
    /// Load the credentials.
    LoadCredentials,
    /// Read the user's state before the claim, by AdminGetUser.
    TakeSnapshot,
    /// Find the user by ListUsers before the claim.
    ListUser,
    /// Write the claim.
    Claim,
    /// Ask grants and holds once more, because writing the claim may have taken long.
    Confirm,
    /// Send the one call of the claim.
    Send,
    /// Read the user's state after an ambiguous call.
    Probe,
    /// List the user's other records after a probe. Another call may have caused the state that it
    /// read.
    ListUserRecords,
    /// Write what is known into the record.
    Settle(Settlement),
    /// Write into the record that nothing more will be sent, and why. The status is written only
    /// afterwards: until the record is closed, another replica may claim.
    Close(CloseCause),
    /// Write into the settled record that a request with this expiry shows its outcome: a record is
    /// not forgotten while such a request, applied again, would be performed.
    ExtendExpiry(Timestamp),
    /// Write what the settled record says into the request's status: the end.
    WriteStatus,
    /// Show the reason in the request's status, and look again at that moment or when something
    /// changes.
    Wait {
        /// The reason.
        reason: WaitReason,
        /// The latest moment to look again.
        until: Timestamp,
    },
    /// Wait for a turn among calls.
    AwaitTurn {
        /// The reason that the status shows.
        reason: WaitReason,
        /// The time until which the wait lasts at least. A short one is not shown.
        until: Timestamp,
    },
    /// Nothing is to be done.
    Done,
}

/// Decides the next step. `now` is the wall clock; it only ever forbids a call or ends a wait. It
/// closes a record only together with the API server's clock.
#[must_use]
pub fn decide(state: &State, now: Timestamp) -> Step {
    match next(state, now) {
        step @ (Step::LoadCredentials | Step::TakeSnapshot | Step::ListUser | Step::Claim) => step,
        // Only the creation of a record proves that there was none. What a record knows is never
        // overruled, so it is read before anything else.
        _ if state.assumed => Step::Gather,
        step => step,
    }
}

fn next(state: &State, now: Timestamp) -> Step {
    match &state.attempt {
        OwnAttempt::Claimed { too_late: true, .. } => return settle(Effect::NotPerformed, Evidence::NeverSent),
        // The claim keeps other replicas from sending, too. What happened can only be Unknown.
        OwnAttempt::Claimed { .. } if is_contradicted(state) => return resolve(state.baseline(), state),
        OwnAttempt::Claimed { .. } if is_over(state, now) => {
            return settle(Effect::NotPerformed, Evidence::NeverSent);
        }
        OwnAttempt::Claimed { confirmed: false, .. } => return Step::Confirm,
        OwnAttempt::Claimed { confirmed: true, .. } => return Step::Send,
        OwnAttempt::Called(response) => return after_call(response, state),
        OwnAttempt::None => {}
    }
    // The record comes first: what it knows is never overruled by a gate.
    match state.ledger {
        Ledger::Unread => Step::Gather,
        Ledger::Settled(_) => match state.request {
            Request::Unread => Step::Gather,
            Request::Gone | Request::Finished => Step::Done,
            Request::Pending(ref desired) => write_status(state, desired, now),
        },
        Ledger::Open { in_flight_until: Some(until), .. } if now < until => {
            Step::Wait { reason: WaitReason::AwaitingPriorAttempt, until }
        }
        Ledger::Open { baseline, .. } => match state.user_busy {
            Some(until) => Step::Wait { reason: WaitReason::AwaitingPriorAttempt, until },
            None => resolve(baseline, state),
        },
        Ledger::NotUsable => {
            with_desired(state, |_| Step::Wait { reason: WaitReason::RecordNotUsable, until: Timestamp::MAX })
        }
        Ledger::Absent => with_desired(state, |desired| prepare(state, desired, None, now)),
        Ledger::Retryable { not_before, reason, .. } => {
            with_desired(state, |desired| prepare(state, desired, Some((not_before, reason.into())), now))
        }
    }
}

fn with_desired(state: &State, then: impl FnOnce(&Desired) -> Step) -> Step {
    match &state.request {
        Request::Unread => Step::Gather,
        Request::Gone | Request::Finished => Step::Done,
        Request::Pending(desired) => then(desired),
    }
}

/// Writes the status, after the record has remembered the expiry of the request. An expiry that has
/// passed does not matter. The record of an ungranted request is then kept longer, so it takes a
/// turn as if it were closed again.
fn write_status(state: &State, desired: &Desired, now: Timestamp) -> Step {
    // The API server keeps whole seconds.
    let covers = |expires: Timestamp| state.remembered.is_some_and(|until| until.as_second() >= expires.as_second());
    match (desired.expires, state.refused) {
        (Some(expires), refused) if !has_passed(expires, state, now) && !covers(expires) => match refused {
            Some(Refused { write: RecordWrite::ExtendExpiry, until }) if now < until => {
                let until = if now < expires { until.min(expires) } else { until };
                Step::Wait { reason: WaitReason::WriteRefused, until }
            }
            Some(_) | None if state.ungranted => match in_turn(Step::ExtendExpiry(expires), state) {
                Step::Wait { reason, until } if now < expires => Step::Wait { reason, until: until.min(expires) },
                step => step,
            },
            Some(_) | None => Step::ExtendExpiry(expires),
        },
        (Some(_) | None, _) => Step::WriteStatus,
    }
}

/// Closes the record, unless just that was refused. Nothing is concluded beside the record, so the
/// request waits for it.
///
/// The closings of a namespace take turns. One that follows a read of the user has had its turn
/// among the calls, and to wait for another one would cost a further read.
fn close(cause: CloseCause, state: &State, now: Timestamp) -> Step {
    match (state.refused, cause) {
        (Some(Refused { write: RecordWrite::Close(_), until }), _) if now < until => {
            Step::Wait { reason: WaitReason::WriteRefused, until }
        }
        (_, CloseCause::Expired | CloseCause::DeadlineExceeded) => in_turn(Step::Close(cause), state),
        (_, CloseCause::AlreadyResetRequired | CloseCause::UserReadRefused | CloseCause::UserChanged) => {
            Step::Close(cause)
        }
    }
}

/// Writes the record in the turn of its request among the closings of the namespace.
fn in_turn(write: Step, state: &State) -> Step {
    match state.closing {
        Turn::NotAsked => Step::TakeClosingSlot,
        Turn::Later { until, reason } => Step::Wait { reason, until },
        Turn::Now => write,
    }
}

/// The gates before a claim, cheapest first.
fn prepare(state: &State, desired: &Desired, retry: Option<(Timestamp, WaitReason)>, now: Timestamp) -> Step {
    let wait = |reason, until: Timestamp| Step::Wait { reason, until: until.min(last_moment(desired)) };
    let cause = if desired.expires.is_some_and(|expires| has_passed(expires, state, now)) {
        Some(CloseCause::Expired)
    } else {
        has_passed(desired.deadline, state, now).then_some(CloseCause::DeadlineExceeded)
    };
    match (cause, state.permission) {
        // The grants decide on the default deadline, and on the content of the record.
        (Some(_), Permission::NotConfirmed { until }) => {
            return Step::Wait { reason: WaitReason::GrantsNotConfirmed, until };
        }
        (Some(cause), _) => return close(cause, state, now),
        (None, _) => {}
    }
    if may_have_passed(last_moment(desired), state, now) {
        return await_agreement(last_moment(desired), state, now);
    }
    if desired.suspended {
        return wait(WaitReason::Suspended, Timestamp::MAX);
    }
    match state.permission {
        Permission::Granted => {}
        Permission::Denied(reason) => return wait(reason, Timestamp::MAX),
        Permission::Unreadable { until } => return wait(WaitReason::UserPoolHeld, until),
        Permission::AwaitsApproval => return before_approval(state, desired),
        Permission::NotConfirmed { until } => return wait(WaitReason::GrantsNotConfirmed, until),
    }
    if let Some((not_before, reason)) = retry
        && now < not_before
    {
        return wait(reason, not_before);
    }
    if let Some(until) = state.user_busy {
        return wait(WaitReason::AwaitingPriorAttempt, until);
    }
    // Before anything is asked of AWS for it again.
    if let Some(Refused { write: RecordWrite::Claim | RecordWrite::EarlierEffects, until }) = state.refused
        && now < until
    {
        return wait(WaitReason::WriteRefused, until);
    }
    if desired.needs_user() && state.source == UserStateSource::None {
        return wait(WaitReason::UserStateNotRead, Timestamp::MAX);
    }
    if let Pace::Later { until, reason } = state.pace {
        return Step::AwaitTurn { reason: reason.into(), until };
    }
    match state.credentials {
        Credentials::NotLoaded => return Step::LoadCredentials,
        Credentials::Unavailable { until, reason } => return wait(reason.into(), until),
        Credentials::Loaded => {}
    }
    if let (Snapshot::NotRead, Some(step)) = (state.before, read_user(state)) {
        return step;
    }
    match state.before {
        Snapshot::NoResponse { until, reason } => wait(reason.into(), until),
        // An approver has seen another user, so the approval does not count for this one.
        Snapshot::Unreadable { .. } | Snapshot::Read(_) | Snapshot::Listed(_) if state.user_changed => {
            close(CloseCause::UserChanged, state, now)
        }
        Snapshot::Unreadable { until } if desired.needs_user() => wait(WaitReason::UserStateUnreadable, until),
        Snapshot::Refused(_) if desired.needs_user() => close(CloseCause::UserReadRefused, state, now),
        Snapshot::Read(UserStatus::ResetRequired) | Snapshot::Listed(UserStatus::ResetRequired)
            if desired.skip_if_reset_required && !is_contradicted(state) =>
        {
            // Grants and holds may name users, and the request is not granted before they are asked
            // about this one.
            if state.user_evaluated { close(CloseCause::AlreadyResetRequired, state, now) } else { Step::Gather }
        }
        Snapshot::NotRead
        | Snapshot::Unreadable { .. }
        | Snapshot::Refused(_)
        | Snapshot::Read(_)
        | Snapshot::Listed(_)
            if !is_fresh(state, now) =>
        {
            if state.refreshed {
                wait(WaitReason::GrantsNotConfirmed, after(STALE_WAIT, now))
            } else {
                Step::Gather
            }
        }
        Snapshot::NotRead
        | Snapshot::Unreadable { .. }
        | Snapshot::Refused(_)
        | Snapshot::Read(_)
        | Snapshot::Listed(_) => Step::Claim,
    }
}

/// Returns the step that reads the user before the claim; `None` if the grants let nobody read the
/// user. A turn is spaced for one read by ListUsers, so another one needs another turn.
const fn read_user(state: &State) -> Option<Step> {
    match state.source {
        UserStateSource::AdminGetUser => Some(Step::TakeSnapshot),
        UserStateSource::ListUsers if state.listed => {
            Some(Step::AwaitTurn { reason: WaitReason::RateLimited, until: state.read_at })
        }
        UserStateSource::ListUsers => Some(Step::ListUser),
        UserStateSource::None => None,
    }
}

/// Reads the user of a request that lacks nothing but an approval, in its turn. The request waits
/// for the approval in any case. Once the user is known, grants and holds are checked again.
fn before_approval(state: &State, desired: &Desired) -> Step {
    let wait =
        |until: Timestamp| Step::Wait { reason: WaitReason::AwaitingApproval, until: until.min(last_moment(desired)) };
    if let Some(until) = state.user_busy {
        return wait(until);
    }
    match (state.pace, state.credentials, state.before) {
        (Pace::Later { until, .. }, _, _) => Step::AwaitTurn { reason: WaitReason::AwaitingApproval, until },
        (Pace::Now, Credentials::Unavailable { until, .. }, _) => wait(until),
        (Pace::Now, Credentials::NotLoaded, _) => Step::LoadCredentials,
        (Pace::Now, Credentials::Loaded, Snapshot::NotRead) => read_user(state).unwrap_or_else(|| wait(Timestamp::MAX)),
        (Pace::Now, Credentials::Loaded, Snapshot::NoResponse { until, .. } | Snapshot::Unreadable { until }) => {
            wait(until)
        }
        (Pace::Now, Credentials::Loaded, Snapshot::Refused(_)) => wait(Timestamp::MAX),
        (Pace::Now, Credentials::Loaded, Snapshot::Read(_) | Snapshot::Listed(_)) => Step::Gather,
    }
}

/// Returns true if the user has to reset now, and did not before an attempt to which Cognito
/// responded that nothing happened. Either somebody else has reset the user, or that response is
/// wrong: nothing is sent on its word.
fn is_contradicted(state: &State) -> bool {
    let not_reset_before = matches!(state.ledger, Ledger::Retryable { not_reset_before: true, .. });
    not_reset_before && state.before.status() == Some(UserStatus::ResetRequired)
}

/// Returns true if request and record were read recently enough for a claim.
#[must_use]
pub(super) fn is_fresh(state: &State, now: Timestamp) -> bool {
    now.duration_since(state.read_at).abs() <= FRESH_FOR
}

/// Returns true if the time in which a request may be performed may have passed.
fn is_over(state: &State, now: Timestamp) -> bool {
    matches!(&state.request, Request::Pending(desired) if may_have_passed(last_moment(desired), state, now))
}

/// Returns true if both clocks have passed this moment. One clock may be wrong, and what is closed
/// stays closed.
fn has_passed(moment: Timestamp, state: &State, now: Timestamp) -> bool {
    now >= moment && state.server_time.is_some_and(|server| server >= moment)
}

/// Returns true if one of the clocks has passed this moment. Nothing is sent then.
fn may_have_passed(moment: Timestamp, state: &State, now: Timestamp) -> bool {
    now >= moment || state.server_time.is_some_and(|server| server >= moment)
}

/// Waits until the clock that is behind has passed this moment too. A Date that was read too long
/// ago is read again first, but only once: checking the grants may take that long each time.
fn await_agreement(moment: Timestamp, state: &State, now: Timestamp) -> Step {
    if !is_fresh(state, now) && !state.refreshed {
        return Step::Gather;
    }
    // The further the clocks are apart, the longer the wait, so that many requests do not read at a
    // high rate.
    let left = match state.server_time {
        Some(server) => moment.duration_since(server.min(now)).clamp(SHORTEST_SKEW, LONGEST_SKEW),
        None => now.duration_since(moment).clamp(SHORTEST_WITHOUT_DATE, LONGEST_SKEW),
    };
    Step::Wait { reason: WaitReason::ClockSkew, until: after(left, now) }
}

fn after(wait: SignedDuration, now: Timestamp) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// The moment at which a request that only waits has failed.
fn last_moment(desired: &Desired) -> Timestamp {
    desired.expires.map_or(desired.deadline, |expires| expires.min(desired.deadline))
}

/// Returns the step after the response to the machine's own call.
fn after_call(response: &ResetResponse, state: &State) -> Step {
    match response {
        ResetResponse::Accepted => settle(Effect::Performed, Evidence::CognitoResponse),
        ResetResponse::NotSent(_) => settle(Effect::NotPerformed, Evidence::Unreachable),
        ResetResponse::NoResponse => resolve(state.baseline(), state),
        ResetResponse::Exception(code) => match code.class() {
            Class::Refused | Class::Throttled | Class::Blocked => {
                settle(Effect::NotPerformed, Evidence::CognitoResponse)
            }
            Class::Ambiguous | Class::AmbiguousFailure => resolve(state.baseline(), state),
        },
    }
}

/// Settles an attempt without a clear response, by the user's state before and now. Having to reset
/// now and surely not before proves that the password was invalidated since, and the user's other
/// records have to show that no other request did it; anything else proves nothing.
fn resolve(baseline: Baseline, state: &State) -> Step {
    match (baseline, state.probes) {
        (Baseline::NotRead, _) => settle(Effect::Unknown, Evidence::Inconclusive),
        (_, Probes { last: Some(UserStatus::ResetRequired), .. }) => match baseline {
            Baseline::Known(UserStatus::ResetRequired | UserStatus::Unknown)
            | Baseline::Unknown
            | Baseline::NotRead => settle(Effect::Unknown, Evidence::Inconclusive),
            Baseline::Known(_) => attribute(state),
        },
        (_, Probes { left: 0, .. }) => settle(Effect::Unknown, Evidence::Inconclusive),
        (_, Probes { .. }) => Step::Probe,
    }
}

/// Settles an attempt after which the user has to reset, and did not before. The machine's own
/// attempt waits for others by listing again, because no other process knows its response.
const fn attribute(state: &State) -> Step {
    match (state.attribution, &state.attempt) {
        (Attribution::Own, _) => settle(Effect::Performed, Evidence::UserStatusCheck),
        (Attribution::Unclear, _) => settle(Effect::Unknown, Evidence::Inconclusive),
        (Attribution::AwaitsOther { until }, OwnAttempt::None) => {
            Step::Wait { reason: WaitReason::AwaitingPriorAttempt, until }
        }
        (Attribution::NotListed, _)
        | (Attribution::AwaitsOther { .. }, OwnAttempt::Claimed { .. } | OwnAttempt::Called(_)) => {
            Step::ListUserRecords
        }
    }
}

const fn settle(effect: Effect, evidence: Evidence) -> Step {
    Step::Settle(Settlement { effect, evidence })
}

#[cfg(test)]
mod tests;
