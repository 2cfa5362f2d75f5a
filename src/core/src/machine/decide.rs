//! The one function that decides what happens next.
//!
//! What a crash leaves behind is decided here too. Between the claim and the call, or between the
//! call and the record of its effect, the next task finds [`Ledger::Open`]: it waits until the call
//! can no longer be in flight, probes the user, and settles the claim as `Performed` (the user has
//! to reset now and did not before) or `Unknown`. It never sends: only the task that wrote a claim
//! ever holds [`Attempt::Claimed`], and it holds it once.

use cognito_reset_api::{Effect, Evidence, UserStatus, conditions::Reason};
use jiff::{SignedDuration, Timestamp};

use crate::{
    action::response::{Answer, Class},
    machine::state::{
        Attempt, Budget, Credentials, Ledger, Permission, Probes, RecordWrite, Refused, Request, Situation, Snapshot,
        Wishes,
    },
};

/// How long ago request and record may have been read, counted from the later reply, when the claim is sent: up to then a
/// suspension is heeded. Credentials and snapshot may have taken longer.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_secs(1);

/// What to do next. All but `Wait`, `Tell` and `Leave` add to the situation, and are followed by
/// another decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the request and its record afresh.
    Gather,
    /// Ask the budget of the account and Region for one call.
    AskBudget,
    /// Load the credentials.
    LoadCredentials,
    /// Read the user's state before the claim.
    TakeSnapshot,
    /// Write the claim.
    Claim,
    /// Consume the claim and send the one call.
    Send,
    /// Read the user's state after an ambiguous call.
    Probe,
    /// Write what is known into the record.
    Settle(Settlement),
    /// Write into the record that nothing more will be sent, and why. Only then may it be told: until it is
    /// written, another replica may claim.
    Close(Evidence),
    /// Write into the settled record that a request with this expiry was told of it: a record is not forgotten while
    /// such a request, applied again, would be performed.
    Remember(Timestamp),
    /// Write what the settled record says into the request's status: the end.
    Tell,
    /// Show the reason in the request's status, and look again at that moment or when something changes.
    Wait {
        /// Why.
        reason: Reason,
        /// When to look again at the latest.
        until: Timestamp,
    },
    /// Nothing is to be done.
    Leave,
}

/// What is to stand in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settlement {
    /// What is known to have happened.
    pub effect: Effect,
    /// What it is known from.
    pub evidence: Evidence,
}

/// Decides the next step. `now` is the wall clock; it only ever forbids a call or ends a wait.
#[must_use]
pub fn decide(situation: &Situation, now: Timestamp) -> Step {
    match &situation.attempt {
        Attempt::Claimed { too_late } if *too_late || is_over(&situation.request, now) => {
            return settle(Effect::NotPerformed, Evidence::NeverSent);
        }
        Attempt::Claimed { .. } => return Step::Send,
        Attempt::Answered(answer) => return after_answer(answer, situation),
        Attempt::None => {}
    }
    // The record comes first: what it knows is never overruled by a gate.
    match situation.ledger {
        Ledger::Unread => Step::Gather,
        Ledger::Settled(_) => match situation.request {
            Request::Unread => Step::Gather,
            Request::Gone | Request::Finished => Step::Leave,
            Request::Pending(ref wishes) => tell(situation, wishes, now),
        },
        Ledger::Open { in_flight_until: Some(until), .. } if now < until => {
            Step::Wait { reason: Reason::AwaitingPriorAttempt, until }
        }
        Ledger::Open { before, .. } => match situation.user_busy {
            Some(until) => Step::Wait { reason: Reason::AwaitingPriorAttempt, until },
            None => resolve(before, situation),
        },
        Ledger::NotUsable => {
            with_wishes(situation, |_| Step::Wait { reason: Reason::RecordNotUsable, until: Timestamp::MAX })
        }
        Ledger::Absent => with_wishes(situation, |wishes| prepare(situation, wishes, None, now)),
        Ledger::Retryable { not_before, reason } => {
            with_wishes(situation, |wishes| prepare(situation, wishes, Some((not_before, reason)), now))
        }
    }
}

fn with_wishes(situation: &Situation, then: impl FnOnce(&Wishes) -> Step) -> Step {
    match &situation.request {
        Request::Unread => Step::Gather,
        Request::Gone | Request::Finished => Step::Leave,
        Request::Pending(wishes) => then(wishes),
    }
}

/// Before a request is told, its record has to remember its expiry. Of an expiry that has passed nothing is to be feared.
fn tell(situation: &Situation, wishes: &Wishes, now: Timestamp) -> Step {
    // The API server keeps whole seconds.
    let covers =
        |expires: Timestamp| situation.remembered.is_some_and(|until| until.as_second() >= expires.as_second());
    match (wishes.expires, situation.refused) {
        (Some(expires), refused) if now < expires && !covers(expires) => match refused {
            Some(Refused { write: RecordWrite::Remember, until }) if now < until => {
                Step::Wait { reason: Reason::WriteRefused, until: until.min(expires) }
            }
            Some(_) | None => Step::Remember(expires),
        },
        (Some(_) | None, _) => Step::Tell,
    }
}

/// Closes the record, unless just that was refused. Nothing is concluded beside the record, so the request waits for it.
fn close(evidence: Evidence, situation: &Situation, now: Timestamp) -> Step {
    match situation.refused {
        Some(Refused { write: RecordWrite::Close(_), until }) if now < until => {
            Step::Wait { reason: Reason::WriteRefused, until }
        }
        Some(_) | None => Step::Close(evidence),
    }
}

/// The gates before a claim, cheapest first.
fn prepare(situation: &Situation, wishes: &Wishes, retry: Option<(Timestamp, Reason)>, now: Timestamp) -> Step {
    let wait = |reason, until: Timestamp| Step::Wait { reason, until: until.min(last_moment(wishes)) };
    if wishes.expires.is_some_and(|expires| now >= expires) {
        return close(Evidence::Expired, situation, now);
    }
    if now >= wishes.deadline {
        return close(Evidence::DeadlineExceeded, situation, now);
    }
    if wishes.suspended {
        return wait(Reason::Suspended, Timestamp::MAX);
    }
    if let Permission::Denied(reason) = situation.permission {
        return wait(reason, Timestamp::MAX);
    }
    if let Some((not_before, reason)) = retry
        && now < not_before
    {
        return wait(reason, not_before);
    }
    if let Some(until) = situation.user_busy {
        return wait(Reason::AwaitingPriorAttempt, until);
    }
    // Before anything is asked of AWS for it again.
    if let Some(Refused { write: RecordWrite::Claim | RecordWrite::EarlierEffects, until }) = situation.refused
        && now < until
    {
        return wait(Reason::WriteRefused, until);
    }
    match situation.budget {
        Budget::NotAsked => return Step::AskBudget,
        Budget::Exhausted { until, reason } => return wait(reason, until),
        Budget::Granted => {}
    }
    match situation.credentials {
        Credentials::NotLoaded => return Step::LoadCredentials,
        Credentials::Unavailable { until, reason } => return wait(reason, until),
        Credentials::Loaded => {}
    }
    match situation.before {
        Snapshot::NotRead => Step::TakeSnapshot,
        Snapshot::Unreadable { until } if wishes.skip_if_reset_required => wait(Reason::UserStateUnreadable, until),
        Snapshot::Refused(_) if wishes.skip_if_reset_required => close(Evidence::UserReadResponse, situation, now),
        Snapshot::Read(UserStatus::ResetRequired) if wishes.skip_if_reset_required => {
            close(Evidence::AlreadyResetRequired, situation, now)
        }
        Snapshot::Unreadable { .. } | Snapshot::Refused(_) | Snapshot::Read(_)
            if now.duration_since(situation.read_at).abs() > FRESH_FOR =>
        {
            Step::Gather
        }
        Snapshot::Unreadable { .. } | Snapshot::Refused(_) | Snapshot::Read(_) => Step::Claim,
    }
}

/// Whether the time in which a request may be performed has passed.
fn is_over(request: &Request, now: Timestamp) -> bool {
    matches!(request, Request::Pending(wishes) if now >= last_moment(wishes))
}

/// The moment at which a request that only waits has failed.
fn last_moment(wishes: &Wishes) -> Timestamp {
    wishes.expires.map_or(wishes.deadline, |expires| expires.min(wishes.deadline))
}

/// What this task's own call says.
fn after_answer(answer: &Answer, situation: &Situation) -> Step {
    match answer {
        Answer::Accepted => settle(Effect::Performed, Evidence::CognitoResponse),
        Answer::NotSent(_) => settle(Effect::NotPerformed, Evidence::Unreachable),
        Answer::Lost => resolve(situation.before.status(), situation),
        Answer::Exception(code) => match code.class() {
            Class::Refused | Class::Throttled | Class::Blocked => {
                settle(Effect::NotPerformed, Evidence::CognitoResponse)
            }
            Class::Ambiguous | Class::AmbiguousFailure => resolve(situation.before.status(), situation),
        },
    }
}

/// Settles what nobody has an answer for, by the user's state before and now. Having to reset now
/// and surely not before proves that the password was invalidated since; anything else proves nothing.
fn resolve(before: Option<UserStatus>, situation: &Situation) -> Step {
    match situation.probes {
        Probes { last: Some(UserStatus::ResetRequired), .. } => match before {
            Some(UserStatus::ResetRequired | UserStatus::Unknown) | None => {
                settle(Effect::Unknown, Evidence::Inconclusive)
            }
            Some(_) => settle(Effect::Performed, Evidence::UserStatusCheck),
        },
        Probes { left: 0, .. } => settle(Effect::Unknown, Evidence::Inconclusive),
        Probes { .. } => Step::Probe,
    }
}

const fn settle(effect: Effect, evidence: Evidence) -> Step {
    Step::Settle(Settlement { effect, evidence })
}

#[cfg(test)]
mod tests;
