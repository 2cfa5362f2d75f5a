//! One lane: its pace, its slots, its brakes, and its two fair queues.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::UserStateSource;

use crate::dispatch::{
    brake::{Brake, OUTAGE, TurnId},
    fair::{Admission, FairQueue, Flow, Order},
    lane::{LaneLimits, spacing},
    meaning::{Load, Service},
    pace::Pace,
    turns::{
        grants::Grants,
        pools::{Change, Pools},
        request::{Class, GrantLimit, GrantLimits, Place, Response, Turn, WaitsFor},
    },
};

/// The expected wait for a slot.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// A position in a lane: the class and the flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) class: Class,
    pub(super) flow: Flow,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Queues {
    start: Instant,
    slots: usize,
    running: usize,
    pace: Pace,
    outage: Brake,
    single: FairQueue,
    bulk: FairQueue,
    grants: Grants,
    pools: Pools,
}

impl Queues {
    pub(super) fn new(limits: LaneLimits, now: Instant) -> Self {
        Self {
            start: now,
            slots: limits.slots.max(1),
            running: 0,
            pace: Pace::new(limits.budget, now),
            outage: Brake::new(&OUTAGE),
            single: FairQueue::default(),
            bulk: FairQueue::default(),
            grants: Grants::default(),
            pools: Pools::default(),
        }
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// Returns the time from which a request can have a turn; `None` if that needs an event.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.running >= self.slots {
            return None;
        }
        let queued = if self.single.is_ready() || self.bulk.is_ready() {
            self.start
        } else {
            self.grants.first().into_iter().chain(self.pools.first()).min()?
        };
        let service = if self.outage.is_closed() { self.outage.next_try()? } else { self.start };
        Some(queued.max(service).max(self.pace.due()))
    }

    /// Returns the time after which a single request in this place that is added now may have a
    /// turn, if each turn is taken when the pace allows it; `None` if calls are stopped or slowed
    /// down, or the grant is at a limit.
    pub(super) fn expected_wait(&self, place: &Place, now: Instant) -> Option<Duration> {
        let admission = place.grant.as_ref().map_or(Admission::Open, |limits| self.grants.admission(&limits.grant));
        let is_stopped = self.outage.is_closed() || self.pools.brake(&place.pool).is_some();
        if is_stopped || self.pace.is_slowed(now) || admission != Admission::Open {
            return None;
        }
        let before = u32::try_from(self.single.len()).unwrap_or(u32::MAX);
        let period = self.pace.budget().period().max(spacing(place.source));
        let paced = self.pace.due().saturating_duration_since(now) + period.saturating_mul(before);
        Some(if self.running < self.slots { paced } else { paced.max(SLOT_WAIT) })
    }

    /// Adds a request.
    pub(super) fn insert(&mut self, line: &Line, order: Order, limits: Option<&GrantLimits>, now: Instant) {
        if let Some(limits) = limits {
            let admission = self.grants.enter(limits, now);
            self.set_admission(&limits.grant, admission);
        }
        self.queue(line.class).insert(&line.flow, order);
    }

    /// Removes a request without a turn.
    pub(super) fn remove(&mut self, line: &Line, order: Order) {
        self.queue(line.class).remove(&line.flow, order);
        if let Some(grant) = &line.flow.group {
            self.grants.leave(grant);
        }
        self.forget_shares();
    }

    /// Forgets the shares once nobody waits to whom a grant could have yielded.
    fn forget_shares(&mut self) {
        if self.single.is_empty() && self.bulk.is_empty() {
            for (grant, admission) in self.grants.forget_shares() {
                self.set_admission(&grant, admission);
            }
        }
    }

    /// Lets grants and pools in whose time has come.
    pub(super) fn prepare(&mut self, now: Instant) {
        while let Some((grant, admission)) = self.grants.pop_due(now) {
            self.set_admission(&grant, admission);
        }
        while let Some(pool) = self.pools.pop_due(now) {
            self.both().into_iter().for_each(|queue| queue.start_pool(&pool));
        }
    }

    /// Returns the request whose turn is next.
    pub(super) fn peek(&self) -> Option<(Line, Order)> {
        let single = self.single.peek().map(|next| (Class::Single, next));
        let next = single.or_else(|| self.bulk.peek().map(|next| (Class::Bulk, next)));
        next.map(|(class, (flow, order))| (Line { class, flow }, order))
    }

    /// Gives a turn to the request that [`Self::peek`] returned.
    pub(super) fn serve(&mut self, turn: TurnId, line: &Line, order: Order, source: UserStateSource, now: Instant) {
        let is_due = self.pace.take_spaced(spacing(source), now);
        debug_assert!(is_due, "a turn is given when it is due");
        self.running += 1;
        self.outage.begin_try(turn);
        let Flow { pool, group, .. } = &line.flow;
        self.queue(line.class).serve(&line.flow, order);
        let admission = self.grants.take(group.as_ref(), now);
        if let Some(grant) = group {
            self.set_admission(grant, admission);
            self.grants.leave(grant);
        }
        self.forget_shares();
        let change = self.pools.begin_try(pool, turn);
        self.follow(pool, change);
    }

    /// Returns the reason why the call of a turn may not begin.
    pub(super) fn stopped(&self, turn: &Turn, now: Instant) -> Option<WaitsFor> {
        if !self.outage.admits(turn.id) {
            return Some(WaitsFor::Service { until: self.outage.next_try() });
        }
        if let Some(brake) = self.pools.brake(&turn.pool).filter(|brake| !brake.admits(turn.id)) {
            return Some(WaitsFor::Delivery { until: brake.next_try() });
        }
        (now < self.pace.not_before()).then_some(WaitsFor::Throttled)
    }

    /// Returns the reason why a request of this pool and grant has to wait for its turn.
    pub(super) fn waits_for(&self, pool: &str, grant: Option<&Arc<str>>, now: Instant) -> WaitsFor {
        if self.outage.is_closed() {
            return WaitsFor::Service { until: self.outage.next_try() };
        }
        match self.pools.brake(pool) {
            Some(brake) => WaitsFor::Delivery { until: brake.next_try() },
            None if self.pace.is_slowed(now) => WaitsFor::Throttled,
            None => match grant.map_or(Admission::Open, |grant| self.grants.admission(grant)) {
                Admission::Closed => WaitsFor::Grant(GrantLimit::Rate),
                Admission::Yields => WaitsFor::Grant(GrantLimit::Share),
                Admission::Open => WaitsFor::Turn,
            },
        }
    }

    /// Takes in the response to the call of a turn.
    pub(super) fn responded(&mut self, turn: &Turn, response: &Response, now: Instant) {
        let Response { begun, meaning, retry_after } = *response;
        match meaning.load {
            Load::Accepted => self.pace.accepted(begun, now),
            Load::Throttled => self.pace.throttled(begun, retry_after, now),
            Load::Unclear => {}
        }
        match meaning.service {
            Service::Alive => self.outage.open(),
            Service::Lost => self.outage.failed(turn.id, now),
            Service::Untried => self.outage.ended(turn.id, now),
            Service::NotAsked => {}
        }
        let change = self.pools.responded(turn, response, now);
        self.follow(&turn.pool, change);
    }

    /// Takes back the slot of a turn.
    pub(super) fn finished(&mut self, turn: &Turn, now: Instant) {
        self.running -= 1;
        self.outage.ended(turn.id, now);
        let change = self.pools.finished(turn, now);
        self.follow(&turn.pool, change);
    }

    fn set_admission(&mut self, grant: &Arc<str>, admission: Admission) {
        self.both().into_iter().for_each(|queue| queue.set_admission(grant, admission));
    }

    fn follow(&mut self, pool: &Arc<str>, change: Change) {
        match change {
            Change::None => {}
            Change::Stopped => self.both().into_iter().for_each(|queue| queue.stop_pool(pool)),
            Change::Started => self.both().into_iter().for_each(|queue| queue.start_pool(pool)),
        }
    }

    /// Returns true if a new lane would behave in the same way.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        let is_empty = self.single.is_empty() && self.bulk.is_empty() && self.running == 0;
        let has_no_limits = self.grants.is_empty() && self.pools.is_empty() && self.outage.is_at_rest();
        is_empty && has_no_limits && self.pace.is_at_rest(now)
    }

    const fn queue(&mut self, class: Class) -> &mut FairQueue {
        match class {
            Class::Single => &mut self.single,
            Class::Bulk => &mut self.bulk,
        }
    }

    const fn both(&mut self) -> [&mut FairQueue; 2] {
        [&mut self.single, &mut self.bulk]
    }
}
