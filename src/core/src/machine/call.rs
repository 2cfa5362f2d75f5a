//! Goes from the last checks before a claim to the response to its call.

use std::time::Duration;

use cognito_reset_api::PasswordResetRequest;

use crate::{
    action::{port::Reply, response::Class},
    grants::Evaluation,
    machine::{
        At, Call, Command, Machine, Note, Object, Phase, Purpose, decide::is_fresh, state::PaceReason,
        write_claim::ClaimWrite,
    },
};

impl<S: Clone> Machine<S> {
    pub(super) fn check_grants(&self, request: Object<PasswordResetRequest>, purpose: Purpose) -> Command<S> {
        Command::CheckGrants { request, user: self.facts.user.clone(), purpose }
    }

    /// Checks grants and holds again, because the watch may have shown a change since the request
    /// was read, and because the user is known by now.
    pub(super) fn reauthorize(&mut self) -> Option<Command<S>> {
        let Some(request) = self.facts.request.clone() else {
            self.facts.invalidate();
            return None;
        };
        self.phase = Phase::Reauthorizing;
        Some(self.check_grants(request, Purpose::Claim))
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
        Some(self.check_grants(request, Purpose::Send))
    }

    /// Gives up the turn before the claim: a response has stopped the calls of the lane or of the
    /// pool since. Nothing is claimed, and the request waits.
    pub(super) fn turn_lost(&mut self, reason: PaceReason) -> Option<Command<S>> {
        self.facts.lose_turn(reason);
        None
    }

    /// Settles the claim as never sent: a response has stopped the calls of the lane or of the pool
    /// since it was written.
    pub(super) fn turn_lost_after_claim(&mut self, reason: PaceReason) -> Option<Command<S>> {
        self.facts.lose_turn(reason);
        self.facts.too_late();
        None
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
        self.facts.responded(reply);
        None
    }
}
