//! Reads the request, the record, and what the process remembers of them.

use cognito_reset_api::PasswordResetRecord;

use crate::{
    action::user_names::KnownUser,
    ledger::{self, Ledger, RetryReason},
    machine::{
        ApiFailure, At, Command, HeldUp, Machine, Object, Objects, Observed, Phase, Purpose, Recalled, ReconcileError,
        failed, signed,
        state::{Credentials, RecordWrite, Request},
    },
};

impl<S: Clone> Machine<S> {
    /// Reads request and record, unless they have changed too often. The first time, the record may
    /// be assumed to be absent.
    pub(super) fn gather(&mut self) -> Command<S> {
        // Counts the first read and those after a conflict, but not the read that only refreshes
        // the request, nor the first one of a record that was assumed to be absent. The latter is
        // no refresh either.
        let is_read = self.facts.state.request != Request::Unread;
        self.facts.state.refreshed = is_read && !self.facts.state.assumed;
        if !is_read {
            if self.reads == self.settings.most_reads {
                return Command::Finish(Err(ReconcileError::Contended(self.reads)));
            }
            self.reads += 1;
        }
        let after_assumption = self.facts.state.assumed;
        self.facts.state.assumed = self.facts.start.take_assumption();
        if self.facts.state.assumed {
            self.phase = Phase::ReadingRequest;
            return Command::ReadRequest;
        }
        self.phase = Phase::Reading { after_assumption };
        Command::Read
    }

    /// Takes in request and record. A record that was assumed to be absent is read where a
    /// reconcile without the assumption would go on from its own first read. So the grants are
    /// asked as there: as long as the user could not be read, not about the user.
    pub(super) fn read(
        &mut self,
        read: Result<Objects, ApiFailure>,
        after_assumption: bool,
        at: At<'_>,
    ) -> Option<Command<S>> {
        let Objects { request, record, server_time } = match read {
            Ok(objects) => objects,
            Err(failure) => return Some(failed(failure)),
        };
        self.facts.state.read_at = at.now.wall;
        self.facts.state.server_time = server_time;
        match request.filter(|request| self.facts.matches(request)) {
            Some(request) => {
                self.phase = Phase::Authorizing { request: request.clone(), record };
                let user = match &self.facts.user {
                    KnownUser::Unreadable if after_assumption => KnownUser::NotRead,
                    user => user.clone(),
                };
                Some(Command::CheckGrants { request, user, purpose: Purpose::Read })
            }
            None => {
                self.facts.read_request(None, at.now.wall);
                self.request_read(record)
            }
        }
    }

    pub(super) fn request_read(&mut self, record: Option<Object<PasswordResetRecord>>) -> Option<Command<S>> {
        if self.facts.state.credentials == Credentials::NotLoaded {
            self.session = None;
        }
        Some(self.recall(record, false))
    }

    /// Takes in a record after the process has recalled what it remembers of it.
    pub(super) fn recall(&mut self, record: Option<Object<PasswordResetRecord>>, settled: bool) -> Command<S> {
        let awaited = record.as_deref().and_then(|record| ledger::observed(record, &self.facts.identity));
        let observed =
            awaited.map(|attempt| Observed { attempt_id: attempt.id.clone(), settled: attempt.settled_at.is_some() });
        self.phase = Phase::Recalling { record, settled };
        Command::Recall(observed)
    }

    /// Takes in the record and the refusals that earlier reconciles of this process met. If the
    /// effects of too many requests cannot be stored, the request waits, so that tasks are left to
    /// write the status of others.
    pub(super) fn recalled(
        &mut self,
        record: Option<Object<PasswordResetRecord>>,
        settled: bool,
        recalled: Recalled,
        at: At<'_>,
    ) -> Option<Command<S>> {
        self.facts.read_record(record, &self.settings.waits, signed(recalled.observed_for), at.now.wall);
        if let Some(refused) = recalled.refused {
            self.wait_for(refused, at);
        } else if let Some(HeldUp { by }) = recalled.held_up {
            self.facts.refused(RecordWrite::EarlierEffects, by, self.slowly(at));
        }
        if let Ledger::Retryable {
            reason: reason @ (RetryReason::CognitoUnreachable | RetryReason::Cognito(_)), ..
        } = self.facts.state.ledger
            && settled
        {
            self.unavailable(reason.into());
        }
        None
    }
}
