//! Writes the status of a request, and reports with an Event what cannot be written.

use std::time::Duration;

use cognito_reset_api::{
    Outcome, PasswordResetRecord, PasswordResetRequest,
    conditions::{ConditionType, Reason, WaitReason},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    action::{port::Role, user_names::UserNames},
    ledger::Ledger,
    machine::{
        Announcement, ApiFailure, At, Command, Machine, Next, Note, Object, Phase, StatusWrite,
        facts::{has_room, with_status},
        failed,
        state::{RecordWrite, Refused, Request},
        status::StatusUpdate,
    },
    refusal::Refuser,
    retention::gitops,
};

const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const TOO_LARGE: &str =
    "the request's metadata exceeds 1 MiB; remove labels, annotations, owners, finalizers or field managers";

/// A status that is being written.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct StatusWriting {
    /// The request before the write.
    before: Object<PasswordResetRequest>,
    /// The new status.
    update: StatusUpdate,
    /// The write of the record that an Event about it names.
    action: &'static str,
    /// The end of the reconcile afterwards.
    next: Next,
}

impl StatusWriting {
    /// Returns the status to write, or `None` if the request already has it.
    pub(super) fn begin(
        before: Object<PasswordResetRequest>,
        record: Option<&PasswordResetRecord>,
        user: Option<&UserNames>,
        update: StatusUpdate,
        action: &'static str,
        now: Timestamp,
    ) -> Option<(Self, Object<PasswordResetRequest>)> {
        let wanted = with_status(&before, record, user, &update, now)?;
        Some((Self { before, update, action, next: Next::Done }, wanted.into()))
    }

    /// Notes the result of the write.
    pub(super) fn note(&self, result: &Result<StatusWrite, ApiFailure>, notes: &mut Vec<Note>) {
        match result {
            Ok(StatusWrite::Applied) => notes.extend(self.new_refusal().map(Note::Announced)),
            Ok(StatusWrite::Conflict | StatusWrite::NotFound) => {}
            Err(failure) => {
                let by = failure.refuser().cloned();
                notes.extend(by.clone().map(|by| Note::StatusRefused { by }));
                let announcement = self.in_place_of_status(by.as_ref());
                notes.extend(announcement.map(|announcement| {
                    let message = self.update.message.clone();
                    Note::NotShown { announcement, message, by }
                }));
            }
        }
    }

    fn announcement(&self, reason: impl Into<Reason>, note: String) -> Announcement {
        Announcement { request: self.before.clone(), reason: reason.into(), note, action: self.action }
    }

    /// Returns the Event for a status that reports a new refusal.
    fn new_refusal(&self) -> Option<Announcement> {
        let mut conditions = self.before.status.iter().flat_map(|status| &status.conditions);
        let is_known = conditions.any(|condition| {
            condition.type_ == ConditionType::Ready.as_str() && condition.message == self.update.message
        });
        let is_new = self.update.reason == WaitReason::WriteRefused && !is_known;
        is_new.then(|| self.announcement(self.update.reason, self.update.message.clone()))
    }

    /// Returns the Event that replaces a status that is refused or does not fit, or `None` if the
    /// status will be written soon.
    fn in_place_of_status(&self, refuser: Option<&Refuser>) -> Option<Announcement> {
        let message = &self.update.message;
        if !has_room(&self.before) {
            let note = if self.update.reason == WaitReason::ObjectTooLarge {
                message.clone()
            } else {
                format!("{message}. The status cannot be written: {TOO_LARGE}")
            };
            return Some(self.announcement(WaitReason::ObjectTooLarge, note));
        }
        let note = format!("{message}. The status cannot be written: rejected by {}; retrying", refuser?);
        Some(self.announcement(self.update.reason, note))
    }
}

impl<S: Clone> Machine<S> {
    /// Writes the outcome.
    pub(super) fn write_end(&mut self, at: At<'_>) -> Command<S> {
        let update = self.facts.ended();
        self.write_status(update, Next::Done, at).unwrap_or_else(|| self.done())
    }

    /// Writes why the request waits, unless the wait is short.
    pub(super) fn wait(&mut self, reason: WaitReason, until: Timestamp, at: At<'_>) -> Command<S> {
        let left = at.now.wall.duration_until(until);
        let after = Duration::try_from(left).unwrap_or_default().clamp(SHORTEST_WAIT, LONGEST_WAIT);
        self.wait_for_next(reason, left, Next::Wait { reason, after }, at)
    }

    /// Writes that the request waits for its turn, unless the wait is short.
    pub(super) fn await_turn(&mut self, reason: WaitReason, until: Timestamp, at: At<'_>) -> Command<S> {
        let next = Next::NeedsTurn {
            is_unclaimed: self.facts.state.ledger == Ledger::Absent,
            account: self.facts.role().and_then(Role::account).map(str::to_owned),
            source: self.facts.state.source,
            limits: self.facts.limits().cloned(),
        };
        self.wait_for_next(reason, at.now.wall.duration_until(until), next, at)
    }

    fn wait_for_next(&mut self, reason: WaitReason, left: SignedDuration, next: Next, at: At<'_>) -> Command<S> {
        // A refusal lasts until an administrator fixes it, even if it is retried soon.
        let is_shown = left >= self.settings.shown_wait || reason == WaitReason::WriteRefused;
        let is_pending = matches!(self.facts.state.request, Request::Pending(_));
        let shown = (is_shown && is_pending).then(|| self.waiting(reason));
        shown.and_then(|update| self.write_status(update, next.clone(), at)).unwrap_or(Command::Finish(Ok(next)))
    }

    fn write_status(&mut self, update: StatusUpdate, next: Next, at: At<'_>) -> Option<Command<S>> {
        let (request, action) = (self.facts.request.clone()?, self.action(&update));
        let (record, user) = (self.facts.record.as_deref(), self.facts.shown_user());
        let (writing, wanted) = StatusWriting::begin(request, record, user, update, action, at.now.wall)?;
        self.phase = Phase::WritingStatus(Box::new(StatusWriting { next, ..writing }));
        Some(Command::WriteStatus(wanted))
    }

    /// Continues after the status was written. After a conflict, request and record are read again.
    pub(super) fn status_written(
        &mut self,
        writing: StatusWriting,
        result: Result<StatusWrite, ApiFailure>,
    ) -> Option<Command<S>> {
        writing.note(&result, &mut self.notes);
        let StatusWriting { before, update, next, .. } = writing;
        match (result, update.outcome) {
            (Err(failure), _) => Some(failed(failure)),
            (Ok(StatusWrite::Conflict), _) => {
                self.facts.invalidate();
                None
            }
            (Ok(StatusWrite::Applied | StatusWrite::NotFound), Outcome::Pending) => Some(Command::Finish(Ok(next))),
            (Ok(StatusWrite::NotFound), Outcome::Succeeded | Outcome::Failed | Outcome::Unknown) => Some(self.done()),
            (Ok(StatusWrite::Applied), Outcome::Succeeded | Outcome::Failed | Outcome::Unknown) => {
                let exempt = gitops::exempt(&before);
                self.notes.push(Note::Finished { request: before, update, exempt });
                Some(self.done())
            }
        }
    }

    /// Returns the write that an Event about this status names.
    fn action(&self, update: &StatusUpdate) -> &'static str {
        if update.reason != WaitReason::WriteRefused {
            return "UpdateStatus";
        }
        match self.facts.state.refused.map(|Refused { write, .. }| write) {
            Some(RecordWrite::Claim | RecordWrite::EarlierEffects) => "Claim",
            Some(RecordWrite::Close(_)) => "Close",
            Some(RecordWrite::ExtendExpiry) => "ExtendExpiry",
            None => "Settle",
        }
    }
}
