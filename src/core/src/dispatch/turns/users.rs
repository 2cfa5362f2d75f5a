//! The users whose requests have turns. One request of a user has a turn at a time.
//!
//! A request whose user is busy is taken out of its queue, so that it is not met again and again.
//! Once the user is free, the first of each line goes back, and the others wait behind it: a user
//! with ten thousand requests costs no more than another one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dispatch::{
    fair::Order,
    key::{Key, UserKey},
    lane::Lane,
    turns::queues::Line,
};

/// The users with a turn, or with requests that wait for one that ended.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<UserKey, User>);

#[derive(Debug, Default)]
struct User {
    busy: bool,
    parked: BTreeMap<(Lane, Line), BTreeSet<Order>>,
}

impl Users {
    /// Returns true if a request of the user has a turn.
    pub(super) fn is_busy(&self, user: UserKey) -> bool {
        self.0.get(&user).is_some_and(|user| user.busy)
    }

    /// Notes that a request of the user has a turn.
    pub(super) fn begin(&mut self, user: UserKey) {
        self.0.entry(user).or_default().busy = true;
    }

    /// Adds a request that waits for the user.
    pub(super) fn park(&mut self, user: UserKey, lane: Lane, line: Line, order: Order) {
        self.0.entry(user).or_default().parked.entry((lane, line)).or_default().insert(order);
    }

    /// Removes a request that waits for the user no longer.
    pub(super) fn unpark(&mut self, user: UserKey, lane: Lane, line: Line, order: Order) {
        let Some(of_user) = self.0.get_mut(&user) else { return };
        let place = (lane, line);
        if let Some(requests) = of_user.parked.get_mut(&place) {
            requests.remove(&order);
            if requests.is_empty() {
                of_user.parked.remove(&place);
            }
        }
        self.drop_idle(user);
    }

    /// Notes that the turn has ended.
    pub(super) fn end(&mut self, user: UserKey) {
        if let Some(of_user) = self.0.get_mut(&user) {
            of_user.busy = false;
        }
        self.drop_idle(user);
    }

    /// Removes and returns the first request of each line, if the user has no turn.
    pub(super) fn release(&mut self, user: UserKey) -> Vec<Key> {
        let Some(of_user) = self.0.get_mut(&user).filter(|user| !user.busy) else { return Vec::new() };
        let firsts = of_user.parked.values_mut().filter_map(BTreeSet::pop_first).map(|(_, key)| key).collect();
        of_user.parked.retain(|_, requests| !requests.is_empty());
        self.drop_idle(user);
        firsts
    }

    fn drop_idle(&mut self, user: UserKey) {
        if self.0.get(&user).is_some_and(|user| !user.busy && user.parked.is_empty()) {
            self.0.remove(&user);
        }
    }

    /// Returns true if no user is known.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
