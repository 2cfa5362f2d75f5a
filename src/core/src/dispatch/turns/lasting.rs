//! The requests that wait for their turn so long that their status has to say so.
//!
//! To say so costs a look and a write. Most waits are short, and a backlog of thousands must not
//! begin with thousands of writes. So a wait has to last, and such looks have a pace of their own.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use crate::dispatch::{
    key::Key,
    pace::{Pace, Rate},
};

/// The time after which the reason that a status shows is compared again.
const REPEATS: Duration = Duration::from_secs(20);
/// The number of such looks per second.
const LOOKS: Rate = Rate::per_second(5.0);

/// The requests that wait for their turn, by the time from which their status should say why.
#[derive(Debug)]
pub(super) struct Lasting {
    shown_after: Option<Duration>,
    pace: Pace,
    order: BTreeSet<(Instant, Key)>,
    times: HashMap<Key, Instant>,
}

impl Lasting {
    pub(super) fn new(shown_after: Option<Duration>, now: Instant) -> Self {
        Self { shown_after, pace: Pace::new(LOOKS, now), order: BTreeSet::new(), times: HashMap::new() }
    }

    /// Adds a request that waits from now on, unless it waits already.
    pub(super) fn waits(&mut self, key: Key, is_shown: bool, now: Instant) {
        let Some(shown_after) = self.shown_after else { return };
        if let Entry::Vacant(vacant) = self.times.entry(key) {
            let time = *vacant.insert(now + if is_shown { REPEATS } else { shown_after });
            self.order.insert((time, key));
        }
    }

    /// Removes a request that has a turn, or is gone.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(time) = self.times.remove(&key) {
            self.order.remove(&(time, key));
        }
    }

    /// Removes the next request whose wait has lasted, if the pace allows a look now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Key> {
        let (_, key) = *self.order.first().filter(|(time, _)| *time <= now && self.pace.due() <= now)?;
        self.remove(key);
        Some(key)
    }

    /// Counts a look.
    pub(super) fn shown(&mut self, now: Instant) {
        self.pace.take(now);
    }

    /// Returns the time of the next look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.first().map(|(time, _)| (*time).max(self.pace.due()))
    }
}
