//! The grants of a lane that have limits of their own.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::dispatch::{pace::Pace, turns::request::GrantLimits};

/// The grants with requests in the queues of a lane, and those that are at their rate.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: HashMap<Arc<str>, Grant>,
    /// The grants that are at their rate, by the time of their next turn.
    at_rate: BTreeSet<(Instant, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Grant {
    weight: u32,
    pace: Option<Pace>,
    /// The number of its requests in the queues.
    queued: usize,
    /// The time under which it is in `at_rate`.
    listed: Option<Instant>,
}

impl Grants {
    /// Takes in the limits of a grant with one more request, which may differ from those before.
    /// Returns true if the grant is at its rate.
    pub(super) fn enter(&mut self, limits: &GrantLimits, now: Instant) -> bool {
        let name = &limits.grant;
        let grant = self.grants.entry(Arc::clone(name)).or_default();
        grant.queued += 1;
        grant.weight = limits.weight;
        match (&mut grant.pace, limits.rate) {
            (Some(pace), Some(rate)) => pace.set_budget(rate),
            (pace, rate) => *pace = rate.map(|rate| Pace::new(rate, now)),
        }
        let due = grant.pace.as_ref().map(Pace::due).filter(|due| *due > now);
        if due != grant.listed {
            if let Some(listed) = grant.listed {
                self.at_rate.remove(&(listed, Arc::clone(name)));
            }
            self.at_rate.extend(due.map(|due| (due, Arc::clone(name))));
            grant.listed = due;
        }
        due.is_some()
    }

    /// Counts a request that has left the queues. A grant at its rate is kept, so that its rate
    /// holds for requests that are created later.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        if let Some(grant) = self.grants.get_mut(name) {
            grant.queued -= 1;
        }
        self.drop_unused(name);
    }

    fn drop_unused(&mut self, name: &Arc<str>) {
        if self.grants.get(name).is_some_and(|grant| grant.queued == 0 && grant.listed.is_none()) {
            self.grants.remove(name);
        }
    }

    /// Takes a turn of a grant. Returns true if it is at its rate now.
    pub(super) fn take(&mut self, name: &Arc<str>, now: Instant) -> bool {
        let Some(grant) = self.grants.get_mut(name) else { return false };
        let Some(pace) = &mut grant.pace else { return false };
        let is_due = pace.take(now);
        debug_assert!(is_due, "the requests of a grant at its rate have no turn");
        grant.listed = Some(pace.due());
        self.at_rate.insert((pace.due(), Arc::clone(name)));
        true
    }

    /// Returns the number of turns in a round of a namespace that has one by this grant.
    pub(super) fn weight(&self, name: &Arc<str>) -> u32 {
        self.grants.get(name).map_or(1, |grant| grant.weight)
    }

    /// Returns the time at which the first grant is at its rate no longer.
    pub(super) fn first(&self) -> Option<Instant> {
        self.at_rate.first().map(|(due, _)| *due)
    }

    /// Returns the next grant that is at its rate no longer.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (due, name) = self.at_rate.first().filter(|(due, _)| *due <= now).cloned()?;
        self.at_rate.remove(&(due, Arc::clone(&name)));
        if let Some(grant) = self.grants.get_mut(&name) {
            grant.listed = None;
        }
        self.drop_unused(&name);
        Some(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }
}
