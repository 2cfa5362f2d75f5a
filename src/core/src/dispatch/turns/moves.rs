//! The moves of requests between the queues of lanes, the users, and the timers.

use std::time::Instant;

use crate::dispatch::{
    brake::TurnId,
    key::{Key, UserKey},
    lane::Lane,
    turns::{
        Dispatcher,
        entries::{After, State},
        queues::Queues,
        request::{Finish, Turn, WaitsFor},
    },
};

impl Dispatcher {
    /// Takes in the end of a request's turn. `is_shown` is true if it was a look that has shown why
    /// the request waits for its turn.
    pub(super) fn follow(&mut self, key: Key, finish: Finish, is_shown: bool, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Running { then } = entry.state else { return };
        let looks = match finish {
            Finish::Done => then == After::Changed,
            Finish::Look { .. } => true,
            Finish::Wait { .. } | Finish::Again => false,
        };
        entry.end(looks, is_shown);
        if finish == Finish::Again {
            entry.defer_deadline(now);
        }
        match (then, finish) {
            (After::Removed, _) | (After::Unchanged, Finish::Done) => self.entries.remove(key),
            (After::Unchanged, Finish::Wait { reason, until }) => {
                entry.state = State::Waiting { reason: Some(reason), until };
                self.entries.set_timer(key);
            }
            (After::Unchanged, Finish::Look { until }) => {
                entry.state = State::Waiting { reason: None, until: Some(until) };
                self.entries.set_timer(key);
            }
            (After::Unchanged, Finish::Again) => self.settle(key, now),
            (After::Changed, _) => self.wake(key, now),
        }
    }

    /// Queues a request, or lets it wait for a change.
    pub(super) fn settle(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match entry.blocked {
            Some(reason) if !entry.looks() => {
                entry.state = State::Waiting { reason: Some(reason), until: None };
                self.entries.set_timer(key);
            }
            Some(_) | None => self.enqueue(key, now),
        }
    }

    /// Queues a request whose wait is over. If it is still blocked, or its deadline has passed, it
    /// is only looked at.
    pub(super) fn wake(&mut self, key: Key, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.wake();
            self.enqueue(key, now);
        }
    }

    fn enqueue(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.queue();
        let lane = entry.lane();
        let limits = self.limits.of(&lane);
        let queues = self.lanes.entry(lane.clone()).or_insert_with(|| Queues::new(limits, now));
        queues.insert(&entry.line(), entry.order(key), entry.limits(), now);
        if entry.is_queued() {
            self.lasting.waits(key, entry.shown.is_some(), now);
        }
        self.entries.set_timer(key);
        self.list(&lane);
    }

    /// Takes a request out of the queue in which it waits.
    pub(super) fn dequeue(&mut self, key: Key, now: Instant) {
        let Some(entry) = self.entries.get(key) else { return };
        let (lane, line, order, user) = (entry.lane(), entry.line(), entry.order(key), entry.user());
        match entry.state {
            State::Queued => {
                if let Some(queues) = self.lanes.get_mut(&lane) {
                    queues.remove(&line, order);
                    self.list(&lane);
                }
                if let Some(user) = user {
                    self.release(user, now);
                }
            }
            State::Parked => {
                if let Some(user) = user {
                    self.users.unpark(user, lane, line, order);
                }
            }
            State::Waiting { .. } | State::Running { .. } => {}
        }
    }

    /// Queues the requests that have waited for a user.
    pub(super) fn release(&mut self, user: UserKey, now: Instant) {
        for key in self.users.release(user) {
            self.enqueue(key, now);
        }
    }

    /// Gives a turn of a lane that is due, unless the users of all its requests are busy.
    pub(super) fn take(&mut self, lane: &Lane, now: Instant) -> Option<Turn> {
        let queues = self.lanes.get_mut(lane)?;
        queues.prepare(now);
        let mut turn = None;
        while let Some((line, order)) = queues.peek() {
            let Some(entry) = self.entries.get_mut(order.1) else {
                queues.remove(&line, order);
                continue;
            };
            if let Some(user) = entry.user().filter(|user| self.users.is_busy(*user)) {
                queues.remove(&line, order);
                entry.state = State::Parked;
                self.users.park(user, lane.clone(), line, order);
                continue;
            }
            self.last_turn += 1;
            let id = TurnId(self.last_turn);
            queues.serve(id, &line, order, entry.source(), now);
            turn = Some(entry.begin(id, order.1));
            break;
        }
        if let Some(turn) = &turn {
            self.begun(turn);
        }
        self.list(lane);
        turn
    }

    /// Has those looked at whose status does not show yet why they wait.
    pub(super) fn show_lasting(&mut self, now: Instant) {
        while let Some(key) = self.lasting.pop_lasted(now) {
            if self.unshown_reason(key, now).is_some()
                && let Some(entry) = self.entries.get(key)
            {
                self.lasting.is_unshown(entry.flow_of_look(), entry.order(key));
            }
        }
        while let Some(key) = self.lasting.pop_unshown(now) {
            let Some(reason) = self.unshown_reason(key, now) else { continue };
            self.lasting.shown(now);
            self.dequeue(key, now);
            if let Some(entry) = self.entries.get_mut(key) {
                entry.show(reason);
            }
            self.enqueue(key, now);
        }
    }

    /// Returns the reason for which a request waits for its turn, unless its last look has shown
    /// the same one. Then it is compared again later.
    fn unshown_reason(&mut self, key: Key, now: Instant) -> Option<WaitsFor> {
        let entry = self.entries.get(key).filter(|entry| entry.is_queued())?;
        let reason = self.reason_of(key, now)?;
        if entry.shown == Some(reason.kind()) {
            self.lasting.waits(key, true, now);
            return None;
        }
        Some(reason)
    }

    fn begun(&mut self, turn: &Turn) {
        self.lasting.remove(turn.key);
        self.running += usize::from(turn.lane != Lane::Api);
        self.entries.set_timer(turn.key);
        if let Some(user) = turn.user {
            self.users.begin(user);
        }
    }

    /// Returns the first lane that is due and may have a slot of all.
    pub(super) fn first_due(&self) -> Option<&(Instant, Lane)> {
        self.due.iter().find(|(_, lane)| self.has_slot(lane))
    }

    pub(super) fn has_slot(&self, lane: &Lane) -> bool {
        let has_none = || self.lanes.get(lane).is_none_or(|queues| queues.running() == 0);
        *lane == Lane::Api || self.running < self.limits.slots_of_all || has_none()
    }

    /// Lists a lane under the time from which it can give a turn.
    pub(super) fn list(&mut self, lane: &Lane) {
        let due = self.lanes.get(lane).and_then(Queues::due);
        let listed = self.listed.get(lane).copied();
        if due == listed {
            return;
        }
        if let Some(listed) = listed {
            self.due.remove(&(listed, lane.clone()));
        }
        match due {
            Some(due) => {
                self.due.insert((due, lane.clone()));
                self.listed.insert(lane.clone(), due);
            }
            None => _ = self.listed.remove(lane),
        }
    }
}
