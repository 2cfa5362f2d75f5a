//! Writes a record once: its closing, or a later expiry.

use cognito_reset_api::{CloseCause, PasswordResetRecord, conditions::WaitReason};

use crate::{
    ledger::Ledger,
    machine::{
        ApiFailure, At, Command, Machine, Note, Phase, RefusedWrite, Slot, Written, failed, signed,
        state::{Permission, RecordWrite, Turn},
    },
    refusal::Refuser,
};

impl<S: Clone> Machine<S> {
    pub(super) fn take_closing_slot(&mut self, at: At<'_>) -> Command<S> {
        self.phase = Phase::TakingClosingSlot;
        let queue = self.facts.closing_queue(at.now.wall);
        Command::TakeClosingSlot { queue, uid: self.facts.uid().unwrap_or_default() }
    }

    /// Takes in the turn of the closing.
    pub(super) fn closing_slot(&mut self, slot: Slot, at: At<'_>) -> Option<Command<S>> {
        self.facts.state.closing = match slot {
            Slot::Now => Turn::Now,
            Slot::Later { after } => Turn::Later { until: at.after(after), reason: self.reason_to_queue() },
        };
        None
    }

    /// Returns the reason to wait for a turn. The status of a request that waited before keeps its
    /// reason, so that a queue of closings costs no further writes.
    const fn reason_to_queue(&self) -> WaitReason {
        let waited_before = !matches!(self.facts.state.ledger, Ledger::Settled(_));
        match self.facts.state.permission {
            Permission::Denied(reason) if waited_before => reason,
            Permission::Unreadable { .. } if waited_before => WaitReason::UserPoolHeld,
            Permission::AwaitsApproval if waited_before => WaitReason::AwaitingApproval,
            Permission::NotConfirmed { .. } if waited_before => WaitReason::GrantsNotConfirmed,
            Permission::Granted
            | Permission::Denied(_)
            | Permission::Unreadable { .. }
            | Permission::AwaitsApproval
            | Permission::NotConfirmed { .. } => WaitReason::RateLimited,
        }
    }

    /// Closes the record without a call. After a conflict, request and record are read again.
    pub(super) fn close(&mut self, cause: CloseCause, at: At<'_>) -> Option<Command<S>> {
        let operator_instance = self.settings.operator_instance.clone();
        let closed = self.facts.close(cause, operator_instance, at.now.wall);
        self.write(RecordWrite::Close(cause), closed)
    }

    /// Extends the expiry that the record remembers. After a conflict, request and record are read
    /// again.
    pub(super) fn extend_expiry(&mut self) -> Option<Command<S>> {
        self.write(RecordWrite::ExtendExpiry, self.facts.extend_expiry())
    }

    pub(super) fn write(&mut self, write: RecordWrite, wanted: Option<PasswordResetRecord>) -> Option<Command<S>> {
        let Some(wanted) = wanted else {
            self.facts.invalidate();
            return None;
        };
        self.phase = Phase::Writing(write);
        // A turn is good for one write.
        self.facts.state.closing = Turn::NotAsked;
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
