//! Sorts attempts and calls: those that are in the ledger and in CloudTrail, or in one of them.

use std::collections::{HashMap, HashSet};

use cognito_reset_api::{Effect, Evidence, PasswordResetRecord};
use jiff::Timestamp;

use super::{cloudtrail::Call, sent::Sent};
use crate::{moment::Range, report::row::text, sheet::Column};

const fn column(name: &'static str, in_table: bool) -> Column {
    Column { name, in_table }
}

/// The columns, in the order of [`Pair::cells`].
pub const COLUMNS: &[Column] = &[
    column("found-in", true),
    column("ledger-time", true),
    column("cloudtrail-time", true),
    column("record", false),
    column("namespace", true),
    column("request", true),
    column("pool", false),
    column("user", true),
    column("user-sub", false),
    column("effect", true),
    column("exception", true),
    column("cloudtrail-error", true),
    column("matched-by", true),
    column("caller", true),
    column("aws-request-id", true),
    column("note", true),
];

/// The places in which a reset was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// In the ledger and in CloudTrail.
    Both,
    /// Only in the ledger.
    LedgerOnly,
    /// Only in CloudTrail.
    CloudTrailOnly,
}

impl Class {
    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::LedgerOnly => "ledger only",
            Self::CloudTrailOnly => "CloudTrail only",
        }
    }
}

/// An attempt, a call, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The attempt of the ledger.
    pub attempt: Option<Sent>,
    /// The call in CloudTrail.
    pub call: Option<Call>,
    /// The value by which they were found to be the same.
    pub matched_by: &'static str,
}

impl Pair {
    /// Returns the places in which the reset was found.
    #[must_use]
    pub const fn class(&self) -> Class {
        match (&self.attempt, &self.call) {
            (Some(_), Some(_)) => Class::Both,
            (Some(_), None) => Class::LedgerOnly,
            (None, _) => Class::CloudTrailOnly,
        }
    }

    /// Returns the time of the sending, as far as it is known.
    #[must_use]
    pub fn moment(&self) -> Timestamp {
        let of_call = self.call.as_ref().map(|call| call.time);
        let of_attempt = self.attempt.as_ref().map(Sent::time);
        of_attempt.or(of_call).unwrap_or_default()
    }

    /// Returns the contradiction or doubt, if there is one.
    #[must_use]
    pub fn note(&self) -> &'static str {
        match (&self.attempt, &self.call) {
            (Some(attempt), Some(call)) => attempt.contradiction(call).unwrap_or_default(),
            (Some(attempt), None) if attempt.evidence == Some(Evidence::Inconclusive) || attempt.sent.is_none() => {
                "no response is known; it may never have arrived"
            }
            _ => "",
        }
    }

    /// Returns true if the reset is in both, with the same result for the same user.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.class() == Class::Both && self.note().is_empty()
    }

    fn is_in(&self, range: &Range) -> bool {
        let claimed = self.attempt.as_ref().is_some_and(|attempt| range.contains(attempt.claimed));
        claimed || self.call.as_ref().is_some_and(|call| range.contains(call.time))
    }

    /// Returns the cells, in the order of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let (attempt, call) = (self.attempt.as_ref(), self.call.as_ref());
        let of_attempt = |field: fn(&Sent) -> &String| text(attempt.map(field));
        let effect = attempt.map(|attempt| attempt.effect.map_or("open", Effect::as_str));
        let id = attempt.and_then(|it| it.aws_request_id.as_ref()).or(call.and_then(|it| it.request_id.as_ref()));
        let pool = attempt.map(|it| &it.pool).or(call.and_then(|it| it.pool.as_ref()));
        let sub = attempt.and_then(|it| it.sub.as_ref()).or(call.and_then(|it| it.sub.as_ref()));
        vec![
            self.class().as_str().to_owned(),
            text(attempt.map(Sent::time)),
            text(call.map(|it| it.time)),
            of_attempt(|it| &it.record),
            of_attempt(|it| &it.namespace),
            of_attempt(|it| &it.request),
            text(pool),
            of_attempt(|it| &it.user),
            text(sub),
            text(effect),
            text(attempt.and_then(|it| it.exception.as_ref())),
            text(call.and_then(|it| it.error.as_ref())),
            self.matched_by.to_owned(),
            text(call.and_then(|it| it.caller.as_ref())),
            text(id),
            self.note().to_owned(),
        ]
    }
}

/// The calls of CloudTrail, from which the attempts of the ledger take theirs.
#[derive(Debug, Default)]
pub struct Sorter {
    range: Range,
    pool: Option<String>,
    calls: Vec<Option<Call>>,
    by_id: HashMap<String, usize>,
    events: HashSet<String>,
    /// The attempts without a request id: their responses were lost.
    lost: Vec<Sent>,
    /// The number of attempts of which the ledger says that nothing was sent.
    pub unsent: usize,
    /// The number of events that were in the files more than once.
    pub repeated: usize,
}

impl Sorter {
    /// Returns a sorter for a range of time, and a user pool if only one is wanted.
    #[must_use]
    pub fn new(range: Range, pool: Option<String>) -> Self {
        Self { range, pool, ..Self::default() }
    }

    /// Adds a call. One whose event or request is known was logged twice.
    pub fn add_call(&mut self, call: Call) {
        let is_known_event = call.event_id.as_ref().is_some_and(|id| !self.events.insert(id.clone()));
        if is_known_event || call.request_id.as_ref().is_some_and(|id| self.by_id.contains_key(id)) {
            self.repeated += 1;
            return;
        }
        if let Some(id) = &call.request_id {
            self.by_id.insert(id.clone(), self.calls.len());
        }
        self.calls.push(Some(call));
    }

    /// Returns the first and the last time of a call.
    #[must_use]
    pub fn times(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.calls.iter().flatten().map(|call| call.time);
        Some((times().min()?, times().max()?))
    }

    /// Takes the calls of a record. Returns those attempts that are decided.
    pub fn add_record(&mut self, record: &PasswordResetRecord) -> Vec<Pair> {
        let (attempts, closed) = (&record.spec.attempts, record.spec.closed.is_some());
        let mut pairs = Vec::new();
        for (index, attempt) in attempts.iter().enumerate() {
            let is_last = index + 1 == attempts.len() && !closed;
            let effect = if is_last { record.spec.effect } else { Some(Effect::NotPerformed) };
            pairs.extend(self.add_attempt(Sent::new(record, attempt, effect)));
        }
        pairs.retain(|pair| pair.is_in(&self.range));
        pairs
    }

    fn add_attempt(&mut self, attempt: Sent) -> Option<Pair> {
        if let Some(id) = &attempt.aws_request_id {
            let call = self.by_id.get(id).and_then(|index| self.calls.get_mut(*index)).and_then(Option::take);
            let matched_by = if call.is_some() { "request id" } else { "" };
            return Some(Pair { attempt: Some(attempt), call, matched_by });
        }
        if attempt.is_unsent() {
            self.unsent += usize::from(self.range.contains(attempt.claimed));
        } else {
            self.lost.push(attempt);
        }
        None
    }

    /// Decides the attempts whose responses were lost. Returns them, and the calls that are left.
    pub fn finish(mut self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for attempt in std::mem::take(&mut self.lost) {
            let found = self.calls.iter().enumerate().filter_map(|(index, call)| {
                let call = call.as_ref()?;
                let by = attempt.matches(call)?;
                Some((by != "session", call.time.duration_since(attempt.claimed).abs(), index, by))
            });
            let found = found.min();
            let call = found.and_then(|(_, _, index, _)| self.calls.get_mut(index)).and_then(Option::take);
            let matched_by = found.map_or("", |(_, _, _, by)| by);
            pairs.push(Pair { attempt: Some(attempt), call, matched_by });
        }
        let of_pool = |call: &Call| self.pool.is_none() || call.pool.is_none() || call.pool == self.pool;
        let left = self.calls.into_iter().flatten().filter(of_pool);
        pairs.extend(left.map(|call| Pair { attempt: None, call: Some(call), matched_by: "" }));
        pairs.retain(|pair| pair.is_in(&self.range));
        pairs
    }
}

#[cfg(test)]
mod tests;
