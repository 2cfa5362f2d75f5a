//! The dispatcher: hands out turns to the requests that wait.
//!
//! A request waits here by its key. That costs no timer, no task and no request to the API server.
//! When a turn is free, [`Dispatcher::next`] names the request, and only then anything is read. The
//! order is fair: in each lane round robin over namespaces, then over the pools of a namespace, and
//! by creation within a pool. The caller holds one timer, for [`Dispatcher::wake_at`].
//!
//! A turn of a lane needs all of these, and a request that lacks one keeps up no other:
//!
//! - the lane is due by its [pace](super::pace), and has a free slot;
//! - no [brake](super::brake) stops the lane or the pool, or the turn is a try;
//! - the grant of the request is not at its rate, and within its share or nobody else waits;
//! - no other request of the user has a turn.
//!
//! A turn is handed out before the call is made, and what happens in between counts: right before
//! the call the caller asks [`Dispatcher::may_begin`]. So no call begins after a response that
//! stops its lane or its pool was [reported](Dispatcher::responded).

mod entries;
mod grants;
mod lasting;
mod moves;
mod pools;
mod queues;
mod request;
mod share;
mod users;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use cognito_reset_api::conditions::WaitReason;

pub use self::request::{Class, Finish, GrantLimit, GrantLimits, Place, Request, Response, Turn, WaitsFor};
use self::{
    entries::{After, Entries, Entry, State},
    lasting::Lasting,
    queues::Queues,
    users::Users,
};
use crate::dispatch::{
    key::Key,
    lane::{Lane, Limits},
};
use crate::shared::Shared;

/// The dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    limits: Limits,
    places: Shared<Place>,
    entries: Entries,
    lanes: HashMap<Lane, Queues>,
    /// The lanes that can give a turn, by the time from which they can.
    due: BTreeSet<(Instant, Lane)>,
    /// The time under which each lane is in `due`.
    listed: HashMap<Lane, Instant>,
    users: Users,
    lasting: Lasting,
    /// The number of turns in lanes of Cognito.
    running: usize,
    last_turn: u64,
}

impl Dispatcher {
    /// Returns a dispatcher without requests.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            lasting: Lasting::new(limits.shown_after, now),
            limits,
            places: Shared::default(),
            entries: Entries::default(),
            lanes: HashMap::new(),
            due: BTreeSet::new(),
            listed: HashMap::new(),
            users: Users::default(),
            running: 0,
            last_turn: 0,
        }
    }

    /// Adds a request, or takes in a change of one. `blocked` is the reason, known without a read,
    /// why it can have no turn before a change.
    ///
    /// A request that is added with `look_first` has its first turn in [`Lane::Api`]. A request
    /// that has not changed keeps its state: the event of its own status does not end its back-off.
    pub fn put(&mut self, request: Request, place: Place, blocked: Option<WaitReason>, look_first: bool, now: Instant) {
        let key = request.key;
        let mut new = Entry::new(request, place, blocked, look_first, &mut self.places);
        if let Some(known) = self.entries.get(key) {
            if !new.replaces(known) {
                self.entries.set_deadline(key, new.deadline());
                return;
            }
            if let State::Running { .. } = known.state {
                new.state = State::Running { then: After::Changed };
                self.entries.insert(key, new);
                return;
            }
            self.dequeue(key, now);
        }
        self.entries.insert(key, new);
        self.settle(key, now);
    }

    /// Removes a request. If it has a turn, the turn keeps its slot until it ends.
    pub fn remove(&mut self, key: Key, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key)
            && let State::Running { then } = &mut entry.state
        {
            *then = After::Removed;
            return;
        }
        self.dequeue(key, now);
        self.lasting.remove(key);
        self.entries.remove(key);
    }

    /// Removes all requests except these, and what nobody uses.
    pub fn retain(&mut self, keys: &HashSet<Key>, now: Instant) {
        for key in self.entries.keys() {
            if !keys.contains(&key) {
                self.remove(key, now);
            }
        }
        let idle: Vec<_> = self.lanes.iter().filter(|(_, queues)| queues.is_at_rest(now)).collect();
        for lane in idle.into_iter().map(|(lane, _)| lane.clone()).collect::<Vec<_>>() {
            self.lanes.remove(&lane);
            self.list(&lane);
        }
    }

    /// Ends the waits of these requests: something has changed on which they may depend. A request
    /// that its last `put` blocks is looked at in [`Lane::Api`].
    pub fn reconsider(&mut self, keys: impl IntoIterator<Item = Key>, now: Instant) {
        for key in keys {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            match &mut entry.state {
                State::Waiting { .. } => self.wake(key, now),
                State::Running { then: then @ After::Unchanged } => *then = After::Changed,
                State::Running { .. } | State::Queued | State::Parked => {}
            }
        }
    }

    /// Ends the waits of all requests that wait for this reason.
    pub fn end_waits(&mut self, reason: WaitReason, now: Instant) {
        for key in self.entries.waiting_for(reason) {
            self.wake(key, now);
        }
    }

    /// Gives the next turn, if one is due.
    pub fn next(&mut self, now: Instant) -> Option<Turn> {
        while let Some(key) = self.entries.pop_expired(now) {
            self.dequeue(key, now);
            self.wake(key, now);
        }
        self.show_lasting(now);
        while let Some(lane) = self.first_due().filter(|(due, _)| *due <= now).map(|(_, lane)| lane.clone()) {
            if let Some(turn) = self.take(&lane, now) {
                return Some(turn);
            }
        }
        None
    }

    /// Returns the time from which [`Self::next`] may give a turn; `None` if that needs an event.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let lanes = self.first_due().map(|(due, _)| *due);
        lanes.into_iter().chain(self.entries.first_timer()).chain(self.lasting.due()).min()
    }

    /// Returns the reason why the call of a turn may not begin, to be asked right before it.
    ///
    /// # Errors
    /// Returns the reason. The turn then ends without a call.
    pub fn may_begin(&self, turn: &Turn, now: Instant) -> Result<(), WaitsFor> {
        let stopped = self.lanes.get(&turn.lane).and_then(|queues| queues.stopped(turn, now));
        stopped.map_or(Ok(()), Err)
    }

    /// Takes in the response to the call of a turn, before anything else is done with it. A look
    /// may read a user, and that is not about its own lane.
    pub fn responded(&mut self, turn: &Turn, response: &Response, now: Instant) {
        if let Some(queues) = self.lanes.get_mut(&turn.lane).filter(|_| turn.lane != Lane::Api) {
            queues.responded(turn, response, now);
            self.list(&turn.lane);
        }
    }

    /// Ends a turn.
    pub fn finished(&mut self, turn: &Turn, finish: Finish, now: Instant) {
        let Some(queues) = self.lanes.get_mut(&turn.lane) else { return };
        queues.finished(turn, now);
        self.list(&turn.lane);
        self.running -= usize::from(turn.lane != Lane::Api);
        if let Some(user) = turn.user {
            self.users.end(user);
        }
        let is_shown = turn.shows.is_some() && finish == Finish::Again;
        self.follow(turn.key, finish, is_shown, now);
        if let Some(user) = turn.user {
            self.release(user, now);
        }
    }

    /// Returns the reason why a request has no turn; `None` if it has one, or is not known.
    #[must_use]
    pub fn reason_of(&self, key: Key, now: Instant) -> Option<WaitsFor> {
        let entry = self.entries.get(key)?;
        match entry.state {
            State::Running { .. } => None,
            State::Waiting { reason, .. } => Some(reason.map_or(WaitsFor::Look, WaitsFor::Reason)),
            State::Parked => Some(WaitsFor::User),
            State::Queued => {
                let queues = self.lanes.get(&entry.lane())?;
                Some(queues.waits_for(entry.pool(), entry.limits().map(|limits| &limits.grant), now))
            }
        }
    }

    /// Returns the time after which a request that is put into this place now may have a turn;
    /// `None` if that is not known, because calls are stopped or slowed down, its grant is at a
    /// limit, or lanes that hang have all slots.
    #[must_use]
    pub fn expected_wait(&self, place: &Place, now: Instant) -> Option<Duration> {
        if !self.has_slot(&place.lane) {
            return None;
        }
        self.lanes.get(&place.lane).map_or(Some(Duration::ZERO), |queues| queues.expected_wait(place, now))
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
