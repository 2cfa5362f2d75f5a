//! Lists the user's other records after a probe, to know who caused the state that it has read.

use std::time::Duration;

use crate::{
    ledger::attribution::{Attribution, OtherRecord, UserRecords, attribution},
    machine::{
        ApiFailure, At, Command, FIRST_PAUSE, LONGEST_PAUSE, Machine, Note, Phase, ReconcileError, Retry, failed,
        longer, state,
    },
};

/// The pause before the list is repeated, while the call of another claim may be in flight.
const PAUSE: Duration = Duration::from_secs(2);

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
        self.list_pause = Some(PAUSE);
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
        self.list_pause = Some(self.list_pause.map_or(FIRST_PAUSE, longer));
        if failure.refuser().is_some() || self.list_pause == Some(LONGEST_PAUSE) {
            self.notes.push(Note::HeldUp { by: failure.refuser().cloned() });
        }
        self.notes.push(Note::Retried { what: Retry::ListUserRecords, failure });
        None
    }

    /// Continues after a panic.
    pub(super) fn listing_panicked(&mut self) -> Option<Command<S>> {
        match self.facts.attempt_id {
            Some(_) => self.not_listed(ApiFailure::NoResponse { detail: ReconcileError::Panicked.to_string() }),
            None => Some(Command::Finish(Err(ReconcileError::Panicked))),
        }
    }
}
