//! Writes a record once: its closing, or a later expiry.

use cognito_reset_api::{CloseCause, PasswordResetRecord};

use crate::{
    machine::{
        ApiFailure, At, Command, Machine, Note, Phase, RefusedWrite, Written, failed, signed, state::RecordWrite,
    },
    refusal::Refuser,
};

impl<S: Clone> Machine<S> {
    /// Closes the record without a call. After a conflict, request and record are read again.
    pub(super) fn close(&mut self, cause: CloseCause, at: At<'_>) -> Option<Command<S>> {
        let operator_instance = self.settings.operator_instance.clone();
        let closed = self.facts.close(cause, operator_instance, at.now.wall);
        self.write(RecordWrite::Close(cause), closed)
    }

    /// Extends the expiry that the record remembers. After a conflict, request and record are read again.
    pub(super) fn extend_expiry(&mut self) -> Option<Command<S>> {
        self.write(RecordWrite::ExtendExpiry, self.facts.extend_expiry())
    }

    pub(super) fn write(&mut self, write: RecordWrite, wanted: Option<PasswordResetRecord>) -> Option<Command<S>> {
        let Some(wanted) = wanted else {
            self.facts.invalidate();
            return None;
        };
        self.phase = Phase::Writing(write);
        Some(Command::WriteRecord { record: wanted.into(), within: None })
    }

    pub(super) fn written(&mut self, write: RecordWrite, written: Written, at: At<'_>) -> Option<Command<S>> {
        match written {
            Written::Stored(stored) => Some(self.recall(Some(stored), false)),
            Written::Conflict | Written::NotFound => {
                self.facts.invalidate();
                None
            }
            Written::Failed(ApiFailure::Refused { by, detail }) => Some(self.refused(write, by, detail, at)),
            Written::Failed(failure) => Some(failed(failure)),
        }
    }

    /// Counts a refused write of the record. The request waits for it.
    pub(super) fn refused(&mut self, write: RecordWrite, by: Refuser, detail: String, at: At<'_>) -> Command<S> {
        self.notes.push(Note::WriteRefused { write, by: by.clone(), detail });
        self.phase = Phase::CountingRefusal;
        Command::CountRefusal { write, by, jitter: at.id.to_owned() }
    }

    pub(super) fn wait_for(&mut self, refused: RefusedWrite, at: At<'_>) -> Option<Command<S>> {
        let RefusedWrite { write, refuser, pause } = refused;
        self.facts.refused(write, refuser, at.after(signed(pause)));
        None
    }
}
