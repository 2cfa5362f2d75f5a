//! Writes a claim, and repeats the write while it is unknown whether it was applied.

use std::time::Duration;

use cognito_reset_api::PasswordResetRecord;
use jiff::SignedDuration;

use crate::{
    ledger,
    machine::{
        ApiFailure, At, Command, Event, FIRST_PAUSE, Machine, Note, Object, Phase, Retry, Written, longer,
        state::RecordWrite,
    },
};

/// The time before a claim in which another one counts as made at the same time, with a tolerance
/// for the clocks of two nodes. It is shorter than the duration of a Lease.
const BESIDE: SignedDuration = SignedDuration::from_secs(5);

/// A claim that is being written.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct ClaimWrite {
    wanted: Object<PasswordResetRecord>,
    /// True if an earlier write may have been applied. Then a refusal of a later one proves
    /// nothing.
    uncertain: bool,
    /// The pause before the next write.
    pause: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum Stage {
    /// The claim is being written.
    Writing,
    /// The record is read after a conflict.
    Reading,
    /// The pause before the next write.
    Pausing,
}

impl ClaimWrite {
    pub(super) fn new(wanted: Object<PasswordResetRecord>) -> Self {
        Self { wanted, uncertain: false, pause: FIRST_PAUSE, stage: Stage::Writing }
    }
}

impl<S: Clone> Machine<S> {
    /// Writes the claim, or exactly the same claim again. Only one such write is stored, and a
    /// conflict may be with the machine's own earlier write.
    pub(super) fn write_claim(&mut self, claim: ClaimWrite, at: At<'_>) -> Command<S> {
        let within = self.time_to_send(at);
        let record = claim.wanted.clone();
        self.phase = Phase::Claiming(ClaimWrite { stage: Stage::Writing, ..claim });
        Command::WriteRecord { record, within }
    }

    pub(super) fn claiming(&mut self, mut claim: ClaimWrite, event: Event<S>, at: At<'_>) -> Option<Command<S>> {
        match (claim.stage, event) {
            (Stage::Writing, Event::RecordWritten(Written::Stored(stored))) => {
                self.notes.push(Note::Claimed);
                self.facts.claimed(stored, self.time_to_send(at).is_none());
                return None;
            }
            (Stage::Writing, Event::RecordWritten(Written::Conflict | Written::NotFound)) => {
                let within = self.time_to_send(at);
                self.phase = Phase::Claiming(ClaimWrite { stage: Stage::Reading, ..claim });
                return Some(Command::ReadRecord { within });
            }
            (Stage::Writing, Event::RecordWritten(Written::Failed(ApiFailure::Refused { by, detail })))
                if !claim.uncertain =>
            {
                return Some(self.refused(RecordWrite::Claim, by, detail, at));
            }
            (Stage::Writing, Event::RecordWritten(Written::Failed(failure))) => {
                claim.uncertain = true;
                self.notes.push(Note::Retried { what: Retry::WriteClaim, failure });
            }
            (Stage::Reading, Event::Record(Ok(stored))) => {
                match stored {
                    Some(ours) if ledger::is_same_claim(&ours, &claim.wanted) => {
                        self.notes.push(Note::Claimed);
                        self.facts.claimed(ours, self.time_to_send(at).is_none());
                    }
                    other => {
                        self.notes.extend(other.and_then(|record| self.claimed_by_another(&record, &claim.wanted)));
                        self.facts.invalidate();
                    }
                }
                return None;
            }
            (Stage::Reading, Event::Record(Err(failure))) => {
                self.notes.push(Note::Retried { what: Retry::ReadClaim, failure });
            }
            (Stage::Pausing, Event::Slept) if self.time_to_send(at).is_some() => {
                return Some(self.write_claim(claim, at));
            }
            // A panic: the write may have been applied.
            (Stage::Writing, _) => claim.uncertain = true,
            (Stage::Reading | Stage::Pausing, _) => {}
        }
        self.pause_claim(claim, at)
    }

    /// Returns the note about a claim that another process made at about the same time. An earlier
    /// one is that of a process that this one has replaced.
    fn claimed_by_another(&self, record: &PasswordResetRecord, wanted: &PasswordResetRecord) -> Option<Note> {
        let (other, own) = (ledger::last(record)?, ledger::last(wanted)?);
        let operator_instance = other.origin.operator_instance.clone();
        let is_beside = other.claimed_at.0.duration_since(own.claimed_at.0) > -BESIDE;
        (is_beside && operator_instance != self.settings.operator_instance)
            .then_some(Note::ClaimLost { operator_instance })
    }

    /// Waits for the next write. After the deadline the claim is settled as never sent, whether or
    /// not it was stored.
    fn pause_claim(&mut self, claim: ClaimWrite, at: At<'_>) -> Option<Command<S>> {
        let Some(left) = self.time_to_send(at) else {
            self.facts.claimed(claim.wanted, true);
            return None;
        };
        let pause = claim.pause.min(left);
        self.phase = Phase::Claiming(ClaimWrite { stage: Stage::Pausing, pause: longer(claim.pause), ..claim });
        Some(Command::Sleep(pause))
    }
}
