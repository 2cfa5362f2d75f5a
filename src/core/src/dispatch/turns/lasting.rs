//! The requests that wait for their turn so long that their status has to say so.
//!
//! To say so costs a look and a write. Most waits are short, and a backlog of thousands must not
//! begin with thousands of writes. So a wait has to last, and such looks have a pace of their own.
//! Like turns, they go round the namespaces. Within a pool they begin with the request that was
//! created last: it has the longest wait before it, while a look at the first one would be followed
//! by its turn.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::dispatch::{
    fair::{FairQueue, Flow, Order},
    key::Key,
    pace::{Pace, Rate},
};

/// The time after which the reason that a status shows is compared again.
const REPEATS: Duration = Duration::from_secs(20);
/// The number of such looks per second.
const LOOKS: Rate = Rate::per_second(5.0);

/// The requests that wait for their turn.
#[derive(Debug)]
pub(super) struct Lasting {
    shown_after: Option<Duration>,
    pace: Pace,
    waits: BTreeMap<Key, Wait>,
    timers: BTreeSet<(Instant, Key)>,
    /// Those whose wait has lasted, and whose status does not say why.
    unshown: FairQueue,
}

#[derive(Debug)]
enum Wait {
    /// The wait has lasted from this time on.
    Until(Instant),
    /// The wait has lasted. The request is in the queue of those that are looked at.
    Unshown(Box<Flow>, Timestamp),
}

impl Lasting {
    pub(super) fn new(shown_after: Option<Duration>, now: Instant) -> Self {
        Self {
            shown_after,
            pace: Pace::new(LOOKS, now),
            waits: BTreeMap::new(),
            timers: BTreeSet::new(),
            unshown: FairQueue::default(),
        }
    }

    /// Adds a request that waits from now on, unless it waits already.
    pub(super) fn waits(&mut self, key: Key, is_shown: bool, now: Instant) {
        let Some(shown_after) = self.shown_after else { return };
        if let Entry::Vacant(vacant) = self.waits.entry(key) {
            let time = now + if is_shown { REPEATS } else { shown_after };
            vacant.insert(Wait::Until(time));
            self.timers.insert((time, key));
        }
    }

    /// Removes a request that has a turn, or is gone.
    pub(super) fn remove(&mut self, key: Key) {
        match self.waits.remove(&key) {
            Some(Wait::Until(time)) => _ = self.timers.remove(&(time, key)),
            Some(Wait::Unshown(flow, created)) => self.unshown.remove(&flow, (created, key)),
            None => {}
        }
    }

    /// Removes the next request whose wait has lasted.
    pub(super) fn pop_lasted(&mut self, now: Instant) -> Option<Key> {
        let (_, key) = *self.timers.first().filter(|(time, _)| *time <= now)?;
        self.remove(key);
        Some(key)
    }

    /// Adds a request whose wait has lasted to those that are looked at.
    pub(super) fn is_unshown(&mut self, flow: Flow, (created, key): Order) {
        self.unshown.insert(&flow, (created, key));
        self.waits.insert(key, Wait::Unshown(Box::new(flow), created));
    }

    /// Removes the next request to look at, if the pace allows a look now.
    pub(super) fn pop_unshown(&mut self, now: Instant) -> Option<Key> {
        let (flow, order) = self.unshown.peek_last().filter(|_| self.pace.due() <= now)?;
        self.unshown.serve(&flow, order);
        self.waits.remove(&order.1);
        Some(order.1)
    }

    /// Counts a look.
    pub(super) fn shown(&mut self, now: Instant) {
        self.pace.take(now);
    }

    /// Returns the time of the next look.
    pub(super) fn due(&self) -> Option<Instant> {
        let lasted = || self.timers.first().map(|(time, _)| (*time).max(self.pace.due()));
        if self.unshown.is_ready() { Some(self.pace.due()) } else { lasted() }
    }
}
