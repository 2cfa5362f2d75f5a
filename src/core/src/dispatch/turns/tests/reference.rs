//! A dispatcher that keeps no order: it looks through all requests for those that may have a turn.
//!
//! It shares pace and brakes with the real one, which have tests of their own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::*;
use crate::dispatch::{
    brake::{Brake, DELIVERY, OUTAGE, TurnId},
    key::UserKey,
    meaning::{Delivery, Load, Service},
    pace::{LATE, Pace, Rate},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    Ready,
    Waiting(Option<Instant>),
    Running(After),
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) request: Request,
    place: Place,
    blocked: Option<WaitReason>,
    look: bool,
    overdue: bool,
    pub(super) stage: Stage,
}

#[derive(Clone, Debug)]
struct RunningTurn {
    id: TurnId,
    lane: Lane,
    user: Option<UserKey>,
}

#[derive(Clone, Debug)]
struct KnownLane {
    pace: Pace,
    outage: Brake,
    deliveries: HashMap<Arc<str>, Brake>,
    grants: HashMap<Arc<str>, Pace>,
}

/// The flow of a request, and its class.
pub(super) type Flow = (Lane, Class, Arc<str>, Arc<str>, Option<Arc<str>>);

#[derive(Clone, Debug)]
pub(super) struct Reference {
    limits: Limits,
    pub(super) requests: BTreeMap<Key, Known>,
    lanes: HashMap<Lane, KnownLane>,
    running: Vec<RunningTurn>,
}

impl Known {
    fn lane(&self) -> Lane {
        if self.look { Lane::Api } else { self.place.lane.clone() }
    }

    fn grant(&self) -> Option<&GrantLimits> {
        self.place.grant.as_deref().filter(|_| self.lane() != Lane::Api)
    }

    pub(super) fn flow(&self) -> Flow {
        let grant = self.grant().map(|limits| Arc::clone(&limits.grant));
        (self.lane(), self.place.class, Arc::clone(&self.request.namespace), Arc::clone(&self.place.pool), grant)
    }

    fn settle(&mut self) {
        let looks = self.look || self.overdue;
        if self.blocked.is_some() && !looks { self.stage = Stage::Waiting(None) } else { self.queue() }
    }

    fn wake(&mut self) {
        self.look |= self.blocked.is_some();
        self.queue();
    }

    fn queue(&mut self) {
        self.look |= self.overdue;
        self.stage = Stage::Ready;
    }
}

impl Reference {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, requests: BTreeMap::new(), lanes: HashMap::new(), running: Vec::new() }
    }

    /// Returns a lane with the pace of each grant in it.
    fn lane(&mut self, lane: &Lane, limits: Option<&GrantLimits>, now: Instant) -> &mut KnownLane {
        let budget = self.limits.of(lane).budget;
        let known = self.lanes.entry(lane.clone()).or_insert_with(|| KnownLane {
            pace: Pace::new(budget, now),
            outage: Brake::new(&OUTAGE),
            deliveries: HashMap::new(),
            grants: HashMap::new(),
        });
        if let Some((grant, rate)) =
            limits.and_then(|limits| Some((&limits.grant, Rate::per_minute(limits.per_minute?))))
        {
            known.grants.entry(Arc::clone(grant)).or_insert_with(|| Pace::new(rate, now));
        }
        known
    }

    fn touch(&mut self, key: Key, now: Instant) {
        if let Some(known) = self.requests.get(&key).filter(|known| known.stage == Stage::Ready).cloned() {
            self.lane(&known.lane(), known.grant(), now);
        }
    }

    pub(super) fn put(
        &mut self,
        request: &Request,
        place: &Place,
        blocked: Option<WaitReason>,
        look: bool,
        now: Instant,
    ) {
        let (request, place, key) = (request.clone(), place.clone(), request.key);
        let mut new = Known { request, place, blocked, look, overdue: false, stage: Stage::Ready };
        match self.requests.get_mut(&key) {
            Some(known) => {
                new.look = known.look;
                let same =
                    known.place == new.place && known.blocked == blocked && known.request.user == new.request.user;
                if same && known.stage != Stage::Running(After::Removed) {
                    known.overdue &= known.request.deadline == new.request.deadline;
                    known.request.deadline = new.request.deadline;
                    return;
                }
                match known.stage {
                    Stage::Running(_) => new.stage = Stage::Running(After::Changed),
                    Stage::Ready | Stage::Waiting(_) => new.settle(),
                }
            }
            None => new.settle(),
        }
        self.requests.insert(key, new);
        self.touch(key, now);
    }

    pub(super) fn remove(&mut self, key: Key) {
        match self.requests.get_mut(&key).map(|known| &mut known.stage) {
            Some(Stage::Running(then)) => *then = After::Removed,
            Some(Stage::Ready | Stage::Waiting(_)) => _ = self.requests.remove(&key),
            None => {}
        }
    }

    pub(super) fn reconsider(&mut self, key: Key, now: Instant) {
        if let Some(known) = self.requests.get_mut(&key) {
            match &mut known.stage {
                Stage::Waiting(_) => known.wake(),
                Stage::Running(then @ After::Unchanged) => *then = After::Changed,
                Stage::Running(_) | Stage::Ready => {}
            }
        }
        self.touch(key, now);
    }

    /// Wakes the requests whose time has come.
    pub(super) fn expire(&mut self, now: Instant) {
        for key in self.requests.keys().copied().collect::<Vec<_>>() {
            let Some(known) = self.requests.get_mut(&key) else { continue };
            let deadline = known.request.deadline.filter(|_| !known.overdue);
            let until = match known.stage {
                Stage::Ready => None,
                Stage::Waiting(until) => until,
                Stage::Running(_) => continue,
            };
            if until.into_iter().chain(deadline).any(|time| time <= now) {
                known.overdue |= known.request.deadline.is_some_and(|deadline| deadline <= now);
                known.wake();
                self.touch(key, now);
            }
        }
    }

    /// Returns the requests that may have a turn at this time by every limit. A new pace has no
    /// credit for lateness, so that the real one may be later by as much.
    pub(super) fn candidates(&self, now: Instant, surely: bool) -> Vec<Key> {
        let may = |due: Instant| if surely { due + LATE <= now } else { due <= now };
        let open = |brake: &Brake| !brake.is_closed() || brake.next_try().is_some_and(|next| next <= now);
        let of_cognito = self.running.iter().filter(|turn| turn.lane != Lane::Api).count();
        let is_candidate = |known: &&Known| {
            let lane = known.lane();
            let in_lane = self.running.iter().filter(|turn| turn.lane == lane).count();
            let has_slot = in_lane < self.limits.of(&lane).slots
                && (lane == Lane::Api || of_cognito < self.limits.slots_of_all || in_lane == 0);
            let is_busy = lane != Lane::Api
                && self.running.iter().any(|turn| turn.user.is_some() && turn.user == known.request.user);
            let Some(of_lane) = self.lanes.get(&lane) else { return false };
            let grant = known.grant().and_then(|limits| of_lane.grants.get(&limits.grant));
            let delivery = of_lane.deliveries.get(&known.place.pool);
            known.stage == Stage::Ready
                && has_slot
                && !is_busy
                && may(of_lane.pace.due())
                && grant.is_none_or(|pace| may(pace.due()))
                && open(&of_lane.outage)
                && delivery.is_none_or(open)
        };
        self.requests.values().filter(is_candidate).map(|known| known.request.key).collect()
    }

    pub(super) fn begin(&mut self, turn: &Turn, now: Instant) {
        let Some(known) = self.requests.get_mut(&turn.key) else { return };
        let (lane, user) = (known.lane(), known.request.user.filter(|_| known.lane() != Lane::Api));
        let (pool, limits) = (Arc::clone(&known.place.pool), known.grant().cloned());
        known.stage = Stage::Running(After::Unchanged);
        let of_lane = self.lane(&lane, limits.as_ref(), now);
        assert!(of_lane.pace.take(now));
        if let Some(pace) = limits.and_then(|limits| of_lane.grants.get_mut(&limits.grant)) {
            assert!(pace.take(now));
        }
        of_lane.outage.begin_try(turn.id);
        if let Some(brake) = of_lane.deliveries.get_mut(&pool) {
            brake.begin_try(turn.id);
        }
        self.running.push(RunningTurn { id: turn.id, lane, user });
    }

    pub(super) fn responded(&mut self, turn: &Turn, response: &Response, now: Instant) {
        if turn.lane == Lane::Api {
            return;
        }
        let of_lane = self.lane(&turn.lane, None, now);
        match response.meaning.load {
            Load::Accepted => of_lane.pace.accepted(response.begun, now),
            Load::Throttled => of_lane.pace.throttled(response.begun, response.retry_after, now),
            Load::Unclear => {}
        }
        match response.meaning.service {
            Service::Alive => of_lane.outage.open(),
            Service::Lost => of_lane.outage.failed(turn.id, now),
            Service::Untried => of_lane.outage.ended(turn.id, now),
            Service::NotAsked => {}
        }
        let brake = of_lane.deliveries.entry(Arc::clone(&turn.pool)).or_insert_with(|| Brake::new(&DELIVERY));
        match response.meaning.delivery {
            Delivery::Works => brake.succeeded(response.begun),
            Delivery::Fails => brake.failed(turn.id, now),
            Delivery::Untried => brake.ended(turn.id, now),
            Delivery::Unclear => brake.unclear(turn.id, now),
            Delivery::NotAsked => {}
        }
    }

    pub(super) fn finished(&mut self, turn: &Turn, finish: &Finish, now: Instant) {
        self.running.retain(|running| running.id != turn.id);
        let of_lane = self.lane(&turn.lane, None, now);
        of_lane.outage.ended(turn.id, now);
        of_lane.deliveries.values_mut().for_each(|brake| brake.ended(turn.id, now));
        let Some(known) = self.requests.get_mut(&turn.key) else { return };
        let Stage::Running(then) = known.stage else { return };
        known.look = match finish {
            Finish::Done => then == After::Changed,
            Finish::Look { .. } => true,
            Finish::Wait { .. } | Finish::Again => false,
        };
        if *finish == Finish::Again && known.overdue {
            known.overdue = false;
            known.request.deadline = Some(now + Duration::from_secs(30));
        }
        match (then, finish) {
            (After::Removed, _) | (After::Unchanged, Finish::Done) => _ = self.requests.remove(&turn.key),
            (After::Unchanged, Finish::Wait { until, .. }) => known.stage = Stage::Waiting(*until),
            (After::Unchanged, Finish::Look { until }) => known.stage = Stage::Waiting(Some(*until)),
            (After::Unchanged, Finish::Again) => known.settle(),
            (After::Changed, _) => known.wake(),
        }
        self.touch(turn.key, now);
    }

    /// Returns true if the call of a turn may begin.
    pub(super) fn may_begin(&self, turn: &Turn, now: Instant) -> bool {
        self.lanes.get(&turn.lane).is_none_or(|of_lane| {
            let delivery = of_lane.deliveries.get(&turn.pool);
            of_lane.outage.admits(turn.id)
                && delivery.is_none_or(|brake| brake.admits(turn.id))
                && of_lane.pace.not_before() <= now
        })
    }
}
