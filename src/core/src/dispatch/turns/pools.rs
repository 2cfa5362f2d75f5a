//! The pools of a lane whose delivery of codes has failed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::dispatch::{
    brake::{Brake, DELIVERY, TurnId},
    meaning::Delivery,
    turns::request::{Response, Turn},
};

/// The pools that are stopped.
#[derive(Debug, Default)]
pub(super) struct Pools {
    stopped: HashMap<Arc<str>, Stopped>,
    /// The stopped pools without a try, by the time of the next one.
    tries: BTreeSet<(Instant, Arc<str>)>,
}

#[derive(Debug)]
struct Stopped {
    brake: Brake,
    /// The time under which the pool is in `tries`.
    listed: Option<Instant>,
}

/// The effect of an event on a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was not stopped, and is not.
    None,
    /// It is stopped. It may have been before.
    Stopped,
    /// It is not stopped any more.
    Started,
}

impl Pools {
    /// Returns the brake of a stopped pool.
    pub(super) fn brake(&self, pool: &str) -> Option<&Brake> {
        self.stopped.get(pool).map(|stopped| &stopped.brake)
    }

    /// Makes a turn the try of its pool, if the pool is stopped.
    pub(super) fn begin_try(&mut self, pool: &Arc<str>, turn: TurnId) -> Change {
        self.change(pool, |brake| brake.begin_try(turn))
    }

    /// Takes in the response to the call of a turn.
    pub(super) fn responded(&mut self, turn: &Turn, response: &Response, now: Instant) -> Change {
        let delivery = response.meaning.delivery;
        if delivery == Delivery::Fails && !self.stopped.contains_key(&turn.pool) {
            let stopped = Stopped { brake: Brake::new(&DELIVERY), listed: None };
            self.stopped.insert(Arc::clone(&turn.pool), stopped);
        }
        self.change(&turn.pool, |brake| match delivery {
            Delivery::Works => brake.succeeded(response.begun),
            Delivery::Fails => brake.failed(turn.id, now),
            Delivery::Untried => brake.ended(turn.id, now),
            Delivery::Unclear => brake.unclear(turn.id, now),
            Delivery::NotAsked => {}
        })
    }

    /// Ends a turn.
    pub(super) fn finished(&mut self, turn: &Turn, now: Instant) -> Change {
        self.change(&turn.pool, |brake| brake.ended(turn.id, now))
    }

    fn change(&mut self, pool: &Arc<str>, change: impl FnOnce(&mut Brake)) -> Change {
        let Some(stopped) = self.stopped.get_mut(pool) else { return Change::None };
        change(&mut stopped.brake);
        if let Some(listed) = stopped.listed.take() {
            self.tries.remove(&(listed, Arc::clone(pool)));
        }
        if !stopped.brake.is_closed() {
            self.stopped.remove(pool);
            return Change::Started;
        }
        stopped.listed = stopped.brake.next_try();
        self.tries.extend(stopped.listed.map(|next| (next, Arc::clone(pool))));
        Change::Stopped
    }

    /// Returns the time of the first try.
    pub(super) fn first(&self) -> Option<Instant> {
        self.tries.first().map(|(due, _)| *due)
    }

    /// Returns the next pool in which a request may be tried.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (due, pool) = self.tries.first().filter(|(due, _)| *due <= now).cloned()?;
        self.tries.remove(&(due, Arc::clone(&pool)));
        if let Some(stopped) = self.stopped.get_mut(&pool) {
            stopped.listed = None;
        }
        Some(pool)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stopped.is_empty()
    }
}
