//! Lists the user's other records after a probe, to know who caused the state that it has read.

use crate::{
    ledger::attribution::{Attribution, OtherRecord, UserRecords, attribution},
    machine::{
        ApiFailure, At, Command, FIRST_PAUSE, Machine, Note, Phase, ReconcileError, Retry, failed, longer, state,
    },
};

/// The number of lists that fail in a row, after which the effect counts as held up.
const PATIENCE: u32 = 8;

impl<S: Clone> Machine<S> {
    /// Lists the user's other records: the first time at once, each further time after a pause.
    pub(super) fn attribute(&mut self) -> Option<Command<S>> {
        match self.list_pause {
            None => self.list_now(),
            Some(pause) => {
                self.phase = Phase::BetweenLists;
                Some(Command::Sleep(pause))
            }
        }
    }

    pub(super) fn list_now(&mut self) -> Option<Command<S>> {
        let Some(query) = self.facts.record.as_deref().and_then(UserRecords::of) else {
            self.facts.state.attribution = state::Attribution::Unclear;
            return None;
        };
        self.phase = Phase::ListingRecords;
        Some(Command::ListUserRecords(query))
    }

    /// Takes in the user's other records. Without them nothing is believed.
    pub(super) fn records_listed(
        &mut self,
        listed: Result<Vec<OtherRecord>, ApiFailure>,
        at: At<'_>,
    ) -> Option<Command<S>> {
        let others = match listed {
            Ok(others) => others,
            Err(failure) => return self.not_listed(failure),
        };
        let Some(record) = self.facts.record.as_deref() else {
            self.facts.state.attribution = state::Attribution::Unclear;
            return None;
        };
        let found = attribution(record, &others, self.settings.waits.in_flight);
        self.notes.push(Note::Attributed(found));
        self.lists_failed = 0;
        self.pause_lists();
        self.facts.state.attribution = match found {
            Attribution::Own => state::Attribution::Own,
            Attribution::Unclear => state::Attribution::Unclear,
            Attribution::AwaitsOther(left) => state::Attribution::AwaitsOther { until: at.after(left) },
        };
        None
    }

    /// Lists again, if the attempt is the machine's own: no other process knows its response.
    /// Another process's attempt is resolved again later.
    pub(super) fn not_listed(&mut self, failure: ApiFailure) -> Option<Command<S>> {
        if self.facts.attempt_id.is_none() {
            return Some(failed(failure));
        }
        self.pause_lists();
        self.lists_failed = self.lists_failed.saturating_add(1).min(PATIENCE);
        if failure.refuser().is_some() || self.lists_failed == PATIENCE {
            self.notes.push(Note::HeldUp { by: failure.refuser().cloned() });
        }
        self.notes.push(Note::Retried { what: Retry::ListUserRecords, failure });
        None
    }

    /// Lets the pause before the next list grow: a list costs the API server a pass over all
    /// records.
    fn pause_lists(&mut self) {
        self.list_pause = Some(self.list_pause.map_or(FIRST_PAUSE, longer));
    }

    /// Continues after a panic.
    pub(super) fn listing_panicked(&mut self) -> Option<Command<S>> {
        match self.facts.attempt_id {
            Some(_) => self.not_listed(ApiFailure::NoResponse { detail: ReconcileError::Panicked.to_string() }),
            None => Some(Command::Finish(Err(ReconcileError::Panicked))),
        }
    }
}
