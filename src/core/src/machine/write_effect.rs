//! Writes the effect of an attempt, and repeats the write until it is stored.

use std::time::Duration;

use cognito_reset_api::{Outcome, PasswordResetRecord};

use crate::{
    ledger::{self, Finding, Settlement, Settling},
    machine::{
        ApiFailure, At, Command, Event, FIRST_PAUSE, Machine, Note, Object, Phase, ReconcileError, RequestRead, Retry,
        StatusWrite, Written, failed, longer, note::Settled, status, write_status::StatusWriting,
    },
    recent::RecentSet,
    refusal::Refuser,
};

/// The number of failures, other than refusals, after which the status reports that an effect is
/// not stored.
const PATIENCE: u32 = 5;

/// An effect that is being written.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct EffectWrite {
    /// The record as it was known when the effect was found.
    known: Object<PasswordResetRecord>,
    /// The record as last seen.
    current: Object<PasswordResetRecord>,
    finding: Finding,
    /// True if the attempt is this machine's own, so that no other process knows what happened.
    own: bool,
    hindrance: Hindrance,
    /// The pause before the next write.
    pause: Duration,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Hash)]
enum Stage {
    /// The effect is being written.
    Writing,
    /// The request is being read, to report in its status that the effect is not stored.
    ReadingRequest(ApiFailure),
    /// The status is being written.
    WritingStatus(ApiFailure, StatusWriting),
    /// The pause before the next write.
    Pausing,
    /// The record is being read for the next write.
    Reading,
}

impl<S: Clone> Machine<S> {
    /// Begins to write the effect of an attempt into its record.
    pub(super) fn settle(&mut self, settlement: Settlement, at: At<'_>) -> Option<Command<S>> {
        let Some((known, finding)) = self.facts.finding(settlement) else {
            self.facts.settled(self.settings.probes);
            return None;
        };
        let own = self.facts.attempt_id.is_some();
        let (hindrance, current) = (Hindrance::default(), known.clone());
        let effect = EffectWrite { known, current, finding, own, hindrance, pause: FIRST_PAUSE, stage: Stage::Writing };
        Some(self.write_effect(Box::new(effect), at))
    }

    /// Writes the effect, unless the record already contains as much.
    fn write_effect(&mut self, mut effect: Box<EffectWrite>, at: At<'_>) -> Command<S> {
        match ledger::settled(&effect.current, &effect.finding, at.now.wall) {
            Settling::Unchanged => {
                let stored = effect.current.clone();
                self.settled(&effect, stored)
            }
            Settling::Write(record) => {
                effect.stage = Stage::Writing;
                self.phase = Phase::Settling(effect);
                Command::WriteRecord { record: (*record).into(), within: None }
            }
        }
    }

    /// Continues to write an effect. No other process knows the effect of this machine's own
    /// attempt, so it is retried until it is stored. The effect of another process's attempt can be
    /// found again, so a refusal ends its write, and no request has to wait for it.
    pub(super) fn settling(&mut self, mut effect: Box<EffectWrite>, event: Event<S>, at: At<'_>) -> Option<Command<S>> {
        match (std::mem::replace(&mut effect.stage, Stage::Pausing), event) {
            (Stage::Writing, Event::RecordWritten(Written::Stored(stored))) => Some(self.settled(&effect, stored)),
            (Stage::Writing, Event::RecordWritten(Written::Conflict)) => Some(self.hindered(effect, conflict())),
            (Stage::Writing, Event::RecordWritten(Written::NotFound)) => Some(self.hindered(effect, not_found())),
            (Stage::Writing, Event::RecordWritten(Written::Failed(failure))) => Some(self.hindered(effect, failure)),
            (Stage::ReadingRequest(failure), Event::Request(read)) => Some(self.show_effect(effect, failure, read, at)),
            (Stage::WritingStatus(failure, writing), Event::StatusWritten(result)) => {
                Some(self.effect_shown(effect, failure, &writing, result))
            }
            (Stage::Pausing, Event::Slept) => {
                effect.stage = Stage::Reading;
                self.phase = Phase::Settling(effect);
                Some(Command::ReadRecord { within: None })
            }
            (Stage::Reading, Event::Record(Ok(stored))) => {
                effect.current = stored.unwrap_or_else(|| ledger::recreated(&effect.known).into());
                Some(self.write_effect(effect, at))
            }
            // The record as last read is enough, because the write is guarded.
            (Stage::Reading, Event::Record(Err(failure))) => {
                self.notes.push(Note::Retried { what: Retry::ReadEffect, failure });
                Some(self.write_effect(effect, at))
            }
            // A panic.
            (Stage::Writing | Stage::Reading, _) => Some(self.hindered(effect, panicked())),
            (Stage::ReadingRequest(failure) | Stage::WritingStatus(failure, _), _) => {
                Some(self.pause_effect(effect, failure))
            }
            (Stage::Pausing, _) => Some(self.pause_effect(effect, panicked())),
        }
    }

    /// Notes that the effect was not stored. If that lasts, the request's status reports what
    /// happened.
    fn hindered(&mut self, mut effect: Box<EffectWrite>, failure: ApiFailure) -> Command<S> {
        let is_new = effect.hindrance.met(failure.refuser(), failure.is_response());
        match failure.clone() {
            ApiFailure::Refused { by, detail } => self.notes.push(Note::EffectRefused { by, detail, is_new }),
            failure @ (ApiFailure::Responded { .. } | ApiFailure::NoResponse { .. }) => {
                self.notes.push(Note::Retried { what: Retry::WriteEffect, failure });
            }
        }
        if !effect.hindrance.has_to_be_shown() {
            return self.pause_effect(effect, failure);
        }
        effect.stage = Stage::ReadingRequest(failure);
        self.phase = Phase::Settling(effect);
        Command::ReadRequest
    }

    /// Reports in the status what happened and that it cannot be stored. The request was just read,
    /// because it may have changed, or another one may have its name.
    fn show_effect(
        &mut self,
        mut effect: Box<EffectWrite>,
        failure: ApiFailure,
        read: Result<RequestRead, ApiFailure>,
        at: At<'_>,
    ) -> Command<S> {
        let request = match read {
            Ok(RequestRead { request, .. }) => request.filter(|request| self.facts.matches(request)),
            Err(unread) => {
                self.notes.push(Note::Retried { what: Retry::ShowEffect, failure: unread });
                return self.pause_effect(effect, failure);
            }
        };
        let request = request.filter(|request| request.outcome() == Outcome::Pending);
        let (Some(request), Some(attempt)) = (request, ledger::last(&effect.current)) else {
            effect.hindrance.shown = true;
            return self.pause_effect(effect, failure);
        };
        let ours = Some(&attempt.origin.request_uid) == request.metadata.uid.as_ref();
        let update = status::held_up(attempt, &effect.finding, effect.hindrance.refusers.newest(), ours);
        match StatusWriting::begin(request, Some(&effect.current), None, update, "Settle", at.now.wall) {
            Some((writing, wanted)) => {
                effect.stage = Stage::WritingStatus(failure, writing);
                self.phase = Phase::Settling(effect);
                Command::WriteStatus(wanted)
            }
            None => {
                effect.hindrance.shown = true;
                self.pause_effect(effect, failure)
            }
        }
    }

    fn effect_shown(
        &mut self,
        mut effect: Box<EffectWrite>,
        failure: ApiFailure,
        writing: &StatusWriting,
        result: Result<StatusWrite, ApiFailure>,
    ) -> Command<S> {
        writing.note(&result, &mut self.notes);
        match result {
            Ok(StatusWrite::Applied | StatusWrite::NotFound) => effect.hindrance.shown = true,
            Ok(StatusWrite::Conflict) => {}
            Err(failure) => self.notes.push(Note::Retried { what: Retry::ShowEffect, failure }),
        }
        self.pause_effect(effect, failure)
    }

    /// Waits for the next write, or gives up if the effect can be found again.
    fn pause_effect(&mut self, mut effect: Box<EffectWrite>, failure: ApiFailure) -> Command<S> {
        if !effect.own && effect.hindrance.is_refused() {
            return failed(failure);
        }
        if effect.hindrance.lasts() {
            self.notes.push(Note::HeldUp { by: effect.hindrance.refusers.newest().cloned() });
        }
        let pause = effect.pause;
        effect.pause = longer(pause);
        effect.stage = Stage::Pausing;
        self.phase = Phase::Settling(effect);
        Command::Sleep(pause)
    }

    /// Notes that the record contains the effect.
    fn settled(&mut self, effect: &EffectWrite, stored: Object<PasswordResetRecord>) -> Command<S> {
        let Finding { attempt_id, settlement, .. } = &effect.finding;
        self.notes.push(Note::Settled(Settled {
            attempt_id: attempt_id.clone(),
            effect: stored.spec.effect,
            evidence: settlement.evidence,
            is_new: stored.spec.effect == Some(settlement.effect),
        }));
        self.facts.settled(self.settings.probes);
        self.probed = 0;
        self.list_pause = None;
        self.lists_failed = 0;
        self.recall(Some(stored), true)
    }
}

fn conflict() -> ApiFailure {
    ApiFailure::Responded { detail: "another write was quicker".to_owned() }
}

fn not_found() -> ApiFailure {
    ApiFailure::Responded { detail: "the record is gone".to_owned() }
}

fn panicked() -> ApiFailure {
    ApiFailure::NoResponse { detail: ReconcileError::Panicked.to_string() }
}

/// The failures to store an effect so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Hindrance {
    /// The refusers. Several may refuse in turn, and each is reported once.
    refusers: RecentSet<Refuser>,
    /// The number of responses that were neither success nor refusal.
    failures: u32,
    shown: bool,
}

impl Hindrance {
    /// Counts a failed write: with its refuser, if it was refused, and with whether there was a
    /// response. Returns true for a refuser that is new.
    fn met(&mut self, refuser: Option<&Refuser>, responded: bool) -> bool {
        let is_new = refuser.is_some_and(|refuser| self.refusers.is_new(refuser));
        if is_new {
            self.shown = false;
        } else if refuser.is_none() {
            self.failures = self.failures.saturating_add(u32::from(responded)).min(PATIENCE);
        }
        is_new
    }

    fn is_refused(&self) -> bool {
        self.refusers.newest().is_some()
    }

    fn lasts(&self) -> bool {
        self.is_refused() || self.failures >= PATIENCE
    }

    fn has_to_be_shown(&self) -> bool {
        self.lasts() && !self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_reported_at_once_and_a_failure_if_it_lasts() {
        let policy = |name: &str| Some(Refuser::ValidatingPolicy(name.into()));
        let mut so_far = Hindrance::default();
        // The refuser of the next write, whether there is a response, and whether the status has to
        // report it.
        for (number, (refuser, responded, wanted)) in [
            (None, true, false),
            (None, false, false),
            (None, true, false),
            (None, true, false),
            (None, true, false),
            (None, true, true),
            (None, true, false),
            (policy("a"), true, true),
            (policy("a"), true, false),
            (None, false, false),
            (policy("b"), true, true),
            (policy("b"), true, false),
            // Two refusers in turn.
            (policy("a"), true, false),
            (policy("b"), true, false),
            (policy("a"), true, false),
            (policy("c"), true, true),
            (policy("a"), true, false),
        ]
        .into_iter()
        .enumerate()
        {
            let is_new = so_far.met(refuser.as_ref(), responded);
            assert_eq!(so_far.has_to_be_shown(), wanted, "try {number}");
            assert_eq!(is_new, wanted && refuser.is_some(), "try {number}");
            so_far.shown = so_far.shown || wanted;
        }
        let mut refused = Hindrance::default();
        refused.met(policy("a").as_ref(), true);
        assert!(refused.has_to_be_shown());
    }
}
