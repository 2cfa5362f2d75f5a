//! Goes from the slot of a request to the response to its call.

use std::time::Duration;

use crate::{
    action::{
        port::{Reply, region},
        response::Class,
    },
    dispatch::QuotaKey,
    grants::Evaluation,
    machine::{
        At, Call, Command, Machine, Note, Phase, Slot,
        decide::is_fresh,
        state::{Pace, PaceReason},
        write_claim::ClaimWrite,
    },
};

impl<S: Clone> Machine<S> {
    pub(super) fn slot(&mut self, slot: Slot, at: At<'_>) -> Option<Command<S>> {
        self.facts.state.pace = match slot {
            Slot::Now => Pace::Now,
            Slot::Later { after, throttled } => Pace::Later {
                until: at.after(after),
                reason: if throttled { PaceReason::Throttled } else { PaceReason::RateLimited },
            },
        };
        None
    }

    pub(super) fn quota(&self) -> QuotaKey {
        QuotaKey {
            account: self.facts.role().and_then(|role| role.account()).map(str::to_owned),
            region: region(&self.facts.identity.user_pool_id).to_owned(),
        }
    }

    /// Checks grants and holds again, because the watch may have shown a change since the request
    /// was read, and because the user is known by now.
    pub(super) fn reauthorize(&mut self) -> Option<Command<S>> {
        let Some(request) = self.facts.request.clone() else {
            self.facts.invalidate();
            return None;
        };
        self.phase = Phase::Reauthorizing;
        Some(Command::CheckGrants(request, self.facts.user.clone()))
    }

    /// Begins to claim, if grants and holds are confirmed and allow the request by the same role as
    /// when it was read. Checking them may have taken so long that the request has to be read
    /// again.
    pub(super) fn claim(&mut self, evaluation: &Evaluation, at: At<'_>) -> Option<Command<S>> {
        let operator_instance = self.settings.operator_instance.clone();
        let is_allowed = self.facts.reauthorized(evaluation);
        let wanted = self.facts.claim(at.id.to_owned(), operator_instance, at.now.wall);
        match wanted.filter(|_| is_allowed) {
            Some(_) if !is_fresh(&self.facts.state, at.now.wall) => None,
            Some(wanted) => {
                self.send_until = at.now.monotonic.saturating_add(self.settings.claim_timeout);
                Some(self.write_claim(ClaimWrite::new(wanted.into()), at))
            }
            None => {
                self.facts.invalidate();
                None
            }
        }
    }

    /// Checks grants and holds once more, right before the call. The claim is stored by now, and
    /// its write may have taken longer than a confirmation is valid.
    pub(super) fn confirm(&mut self) -> Option<Command<S>> {
        let Some(request) = self.facts.request.clone() else {
            self.facts.too_late();
            return None;
        };
        self.phase = Phase::Confirming;
        Some(Command::CheckGrants(request, self.facts.user.clone()))
    }

    /// Lets the call of the claim be made, or settles the claim as never sent.
    pub(super) fn confirmed(&mut self, evaluation: &Evaluation) -> Option<Command<S>> {
        if self.facts.is_still_allowed(evaluation) {
            self.facts.confirmed();
        } else {
            self.facts.too_late();
        }
        None
    }

    /// Returns the time until the call of the claim may not be sent any more, or `None` if that
    /// time has passed.
    pub(super) fn time_to_send(&self, at: At<'_>) -> Option<Duration> {
        self.send_until.checked_sub(at.now.monotonic).filter(|left| !left.is_zero())
    }

    /// Commands the call. No other function does.
    pub(super) fn call(&mut self, at: At<'_>) -> Option<Command<S>> {
        let attempt_id = self.facts.attempt_id.clone();
        let in_time = self.time_to_send(at).is_some();
        let (Some(attempt_id), Some(session), true) = (attempt_id, self.session.clone(), in_time) else {
            self.facts.too_late();
            return None;
        };
        self.facts.calling(at.now.wall);
        self.phase = Phase::Calling;
        let request = self.facts.request.as_ref();
        let created = request.and_then(|request| request.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        let client_metadata = request.and_then(|request| request.spec.client_metadata.clone());
        Some(Command::Call(Call { attempt_id, session, created, client_metadata }))
    }

    pub(super) fn responded(&mut self, reply: Reply) -> Option<Command<S>> {
        let attempt_id = self.facts.attempt_id.clone().unwrap_or_default();
        self.notes.push(Note::Called { attempt_id, response: reply.response.clone() });
        match reply.response.class() {
            Some(Class::Blocked | Class::Ambiguous) => {}
            Some(Class::Refused | Class::Throttled | Class::AmbiguousFailure) | None => {
                self.notes.push(Note::Available(self.awaited()));
            }
        }
        match reply.response.class() {
            Some(Class::Throttled) => self.notes.push(Note::Throttled(self.quota())),
            Some(Class::Refused | Class::Ambiguous | Class::AmbiguousFailure) | None => {
                self.notes.push(Note::NotThrottled(self.quota()));
            }
            Some(Class::Blocked) => {}
        }
        self.facts.responded(reply);
        None
    }
}
