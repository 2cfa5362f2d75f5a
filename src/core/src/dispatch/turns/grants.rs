//! The grants of a lane that have limits of their own.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::dispatch::{
    fair::Admission,
    pace::{Pace, Rate},
    turns::{request::GrantLimits, share::Share},
};

/// The grants with requests in the queues of a lane, and those that are at a limit.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: HashMap<Arc<str>, Grant>,
    /// The grants that are at their rate, by the time of their next turn.
    at_rate: BTreeSet<(Instant, Arc<str>)>,
    /// The grants that have had their share, by the number of turns of the lane at which they may
    /// have another turn.
    at_share: BTreeSet<(u64, Arc<str>)>,
    /// The number of turns of the lane.
    turns: u64,
}

#[derive(Debug, Default)]
struct Grant {
    pace: Option<Pace>,
    share: Option<Share>,
    /// The number of its requests in the queues.
    queued: usize,
    /// The time under which it is in `at_rate`.
    rate_due: Option<Instant>,
    /// The number under which it is in `at_share`.
    share_due: Option<u64>,
}

impl Grant {
    const fn admission(&self) -> Admission {
        match (self.rate_due, self.share_due) {
            (Some(_), _) => Admission::Closed,
            (None, Some(_)) => Admission::Yields,
            (None, None) => Admission::Open,
        }
    }
}

impl Grants {
    /// Takes in the limits of a grant with one more request, which may differ from those before.
    pub(super) fn enter(&mut self, limits: &GrantLimits, now: Instant) -> Admission {
        let (name, turns) = (&limits.grant, self.turns);
        let grant = self.grants.entry(Arc::clone(name)).or_default();
        grant.queued += 1;
        match (&mut grant.pace, limits.per_minute.map(Rate::per_minute)) {
            (Some(pace), Some(rate)) => pace.set_budget(rate),
            (pace, rate) => *pace = rate.map(|rate| Pace::new(rate, now)),
        }
        match (&mut grant.share, limits.share_percent) {
            (Some(share), Some(percent)) => share.set_percent(percent, turns),
            (share, percent) => *share = percent.map(|percent| Share::new(percent, turns)),
        }
        self.list(name, now)
    }

    /// Lists a grant under the time and the number of turns from which it is at no limit.
    fn list(&mut self, name: &Arc<str>, now: Instant) -> Admission {
        let Some(grant) = self.grants.get_mut(name) else { return Admission::Open };
        let rate_due = grant.pace.as_ref().map(Pace::due).filter(|due| *due > now);
        if rate_due != grant.rate_due {
            if let Some(listed) = grant.rate_due {
                self.at_rate.remove(&(listed, Arc::clone(name)));
            }
            self.at_rate.extend(rate_due.map(|due| (due, Arc::clone(name))));
            grant.rate_due = rate_due;
        }
        let share_due = grant.share.and_then(|share| share.due(self.turns));
        if share_due != grant.share_due {
            if let Some(listed) = grant.share_due {
                self.at_share.remove(&(listed, Arc::clone(name)));
            }
            self.at_share.extend(share_due.map(|due| (due, Arc::clone(name))));
            grant.share_due = share_due;
        }
        grant.admission()
    }

    /// Counts a request that has left the queues. A grant at a limit is kept, so that its limits
    /// hold for requests that are created later.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        if let Some(grant) = self.grants.get_mut(name) {
            grant.queued -= 1;
        }
        self.drop_unused(name);
    }

    fn drop_unused(&mut self, name: &Arc<str>) {
        let is_unused = |grant: &Grant| grant.queued == 0 && grant.admission() == Admission::Open;
        if self.grants.get(name).is_some_and(is_unused) {
            self.grants.remove(name);
        }
    }

    /// Counts a turn of the lane, which may be one of a grant with limits.
    pub(super) fn take(&mut self, name: Option<&Arc<str>>, now: Instant) -> Admission {
        let turns = self.turns;
        self.turns += 1;
        let Some((name, grant)) = name.and_then(|name| Some((name, self.grants.get_mut(name)?))) else {
            return Admission::Open;
        };
        if let Some(pace) = &mut grant.pace {
            let is_due = pace.take(now);
            debug_assert!(is_due, "the requests of a grant at its rate have no turn");
        }
        if let Some(share) = &mut grant.share {
            share.take(turns);
        }
        self.list(name, now)
    }

    /// Forgets who has had its share. Returns these grants and their admission.
    pub(super) fn forget_shares(&mut self) -> Vec<(Arc<str>, Admission)> {
        let mut forgotten = Vec::new();
        for (_, name) in std::mem::take(&mut self.at_share) {
            if let Some(grant) = self.grants.get_mut(&name) {
                (grant.share, grant.share_due) = (None, None);
            }
            forgotten.push((Arc::clone(&name), self.admission(&name)));
            self.drop_unused(&name);
        }
        forgotten
    }

    /// Returns the admission of a grant.
    pub(super) fn admission(&self, name: &Arc<str>) -> Admission {
        self.grants.get(name).map_or(Admission::Open, Grant::admission)
    }

    /// Returns the time at which the first grant is at its rate no longer.
    pub(super) fn first(&self) -> Option<Instant> {
        self.at_rate.first().map(|(due, _)| *due)
    }

    /// Returns the next grant that is at one of its limits no longer, and its admission.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Arc<str>, Admission)> {
        let by_rate = self.at_rate.first().filter(|(due, _)| *due <= now).map(|(_, name)| Arc::clone(name));
        let by_share = || self.at_share.first().filter(|(due, _)| *due <= self.turns).map(|(_, name)| Arc::clone(name));
        let name = by_rate.or_else(by_share)?;
        let admission = self.list(&name, now);
        self.drop_unused(&name);
        Some((name, admission))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }
}
