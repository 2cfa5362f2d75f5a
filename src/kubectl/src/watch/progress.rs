//! The progress of the requests that are watched. Pure: events and times in, counts out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use cognito_reset_core::shared::Shared;

use crate::{
    request::{Id, Request},
    tally::{State, Tally},
};

/// The time over which the rate is measured.
const MEASURED: Duration = Duration::from_secs(60);
/// The time between two measurements.
const BETWEEN: Duration = Duration::from_secs(1);
/// The time after which a watch without a terminal says for the first time what requests wait for.
const SOON: Duration = Duration::from_secs(10);
/// The time after which it says so again.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);
/// The time after which a request without a status means that the operator may not run.
const SILENCE: Duration = Duration::from_secs(60);

/// The requests that are watched, with as little of each as is needed. Times are those since the
/// command began.
#[derive(Debug, Default)]
pub struct Progress {
    requests: HashMap<Id, Kept>,
    reasons: Shared<str>,
    tally: Tally,
    /// The pending requests without a status of the operator.
    unseen: usize,
    /// The number of the list that is being read, or was read last.
    list: u32,
    is_complete: bool,
    /// True if one got an outcome since all were listed.
    got_outcome: bool,
    /// The number of ends, and when it was measured.
    ends: VecDeque<(Duration, usize)>,
    changed: Duration,
    has_warned: bool,
    next_report: Option<Duration>,
}

/// The part of a request that is kept.
#[derive(Clone, Debug)]
struct Kept {
    state: State,
    /// The reason for which it waits; empty if it has ended, or has no status of the operator.
    reason: Arc<str>,
    list: u32,
}

impl Kept {
    fn is_unseen(&self) -> bool {
        self.state == State::Pending && self.reason.is_empty()
    }
}

impl Progress {
    /// Notes that all requests are listed from the beginning.
    pub const fn list_begins(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Notes a request that was listed, created or updated. Returns true if it has ended, and was
    /// not known to have.
    pub fn put(&mut self, request: &Request, now: Duration) -> bool {
        self.store(request, request.into(), now)
    }

    /// Notes a request that was deleted, as it last was. Returns its state if that is new: one
    /// that had ended keeps its outcome.
    pub fn delete(&mut self, request: &Request, now: Duration) -> Option<State> {
        let known = self.requests.get(&request.id()).map_or(State::Pending, |kept| kept.state);
        let state = match (known, State::from(request)) {
            (State::Pending, State::Pending) => State::Deleted,
            (State::Pending, ended) => ended,
            _ => return None,
        };
        self.store(request, state, now);
        Some(state)
    }

    /// Notes that all requests were listed. Returns those that were pending, and do not exist any
    /// more.
    pub fn list_ends(&mut self, now: Duration) -> Vec<Id> {
        let list = self.list;
        let is_gone = |kept: &Kept| kept.list != list && kept.state == State::Pending;
        let gone: Vec<Id> = self.requests.iter().filter(|(_, kept)| is_gone(kept)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.replace(id.clone(), State::Deleted, "", now);
        }
        if !self.is_complete {
            // What had ended before says nothing about the rate.
            self.is_complete = true;
            self.ends = VecDeque::from([(now, self.tally.ended())]);
        }
        gone
    }

    /// Notes requests that were never seen, although they have to exist.
    pub fn miss(&mut self, ids: impl IntoIterator<Item = Id>, now: Duration) -> Vec<Id> {
        let missed: Vec<Id> = ids.into_iter().filter(|id| !self.requests.contains_key(id)).collect();
        for id in &missed {
            self.replace(id.clone(), State::Deleted, "", now);
        }
        missed
    }

    fn store(&mut self, request: &Request, state: State, now: Duration) -> bool {
        let waits = state == State::Pending && request.is_seen();
        let reason = if waits { request.reason() } else { "" };
        let before = self.replace(request.id(), state, reason, now);
        state != State::Pending && before != Some(state)
    }

    /// Replaces what is kept of a request. Returns its state before.
    fn replace(&mut self, id: Id, state: State, reason: &str, now: Duration) -> Option<State> {
        let kept = Kept { state, reason: self.reasons.share(reason), list: self.list };
        let before = self.requests.get(&id);
        let was = before.map(|before| before.state);
        if let Some(before) = before {
            *self.tally.of(before.state) -= 1;
            self.unseen -= usize::from(before.is_unseen());
        }
        if before.is_none_or(|before| before.state != state || before.reason != kept.reason) {
            self.changed = now;
            self.has_warned = false;
        }
        let has_outcome = !matches!(state, State::Pending | State::Deleted);
        self.got_outcome |= self.is_complete && has_outcome && was != Some(state);
        *self.tally.of(state) += 1;
        self.unseen += usize::from(kept.is_unseen());
        self.requests.insert(id, kept);
        was
    }

    /// Returns the counts.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Returns true if all requests were listed, and each has ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_complete && self.tally.pending == 0
    }

    /// Returns true if all requests were listed.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the number of pending requests by the reason for which they wait. The reason of
    /// those without a status of the operator is empty.
    #[must_use]
    pub fn waiting(&self) -> BTreeMap<Arc<str>, usize> {
        let mut waiting = BTreeMap::new();
        for kept in self.requests.values().filter(|kept| kept.state == State::Pending) {
            *waiting.entry(Arc::clone(&kept.reason)).or_default() += 1;
        }
        waiting
    }

    /// Returns true if nothing shows that an operator runs: no pending request has a status of it,
    /// and none has got an outcome since all were listed.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.is_complete && self.unseen > 0 && self.unseen == self.tally.pending && !self.got_outcome
    }

    /// Measures the rate. To be called about once a second.
    pub fn measure(&mut self, now: Duration) {
        let is_due = self.ends.back().is_some_and(|(at, _)| now.saturating_sub(*at) >= BETWEEN);
        if !is_due {
            return;
        }
        self.ends.push_back((now, self.tally.ended()));
        while self.ends.front().is_some_and(|(at, _)| now.saturating_sub(*at) > MEASURED) {
            self.ends.pop_front();
        }
    }

    /// Returns the number of ends a second over the last minute, if it is known.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.ends.front()?, self.ends.back()?);
        let time = last.0.saturating_sub(first.0).as_secs_f64();
        let ends = u32::try_from(last.1.saturating_sub(first.1)).unwrap_or(u32::MAX);
        (time > 0.0).then(|| f64::from(ends) / time)
    }

    /// Returns the time until all have ended, if it goes on at this rate.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        let pending = u32::try_from(self.tally.pending).unwrap_or(u32::MAX);
        Duration::try_from_secs_f64(f64::from(pending) / rate).ok()
    }

    /// Returns true after ten seconds, and then each minute, if requests wait.
    pub fn reports(&mut self, now: Duration) -> bool {
        let reports = self.is_complete && self.tally.pending > 0 && now >= self.next_report.unwrap_or(SOON);
        if reports {
            self.next_report = Some(now + BETWEEN_REPORTS);
        }
        reports
    }

    /// Returns true, once, if nothing has changed for a minute, and there are requests without a
    /// status of the operator. In a long backlog it writes only a few statuses a second, so a
    /// request without a status alone means nothing.
    pub fn warns(&mut self, now: Duration) -> bool {
        let warns = !self.has_warned && self.unseen > 0 && now.saturating_sub(self.changed) >= SILENCE;
        self.has_warned |= warns;
        warns
    }
}

#[cfg(test)]
mod tests;
