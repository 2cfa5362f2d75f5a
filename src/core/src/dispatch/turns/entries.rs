//! The requests that the dispatcher knows, and the times at which one of them wakes.
//!
//! They are in ordered maps, whose memory grows evenly. A hash map doubles, and needs three times
//! its size meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{UserStateSource, conditions::WaitReason};
use jiff::Timestamp;

use crate::dispatch::{
    brake::TurnId,
    fair::{Flow, Order},
    key::{Key, UserKey},
    lane::Lane,
    turns::{
        queues::Line,
        request::{GrantLimits, Place, Request, Turn, WaitKind, WaitsFor},
    },
};
use crate::shared::Shared;

/// The time between two looks at a request whose deadline should have ended it.
const OVERDUE: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug)]
pub(super) struct Entry {
    namespace: Arc<str>,
    created: Timestamp,
    deadline: Option<Instant>,
    user: Option<UserKey>,
    place: Arc<Place>,
    /// The reason why it can have no turn before a change.
    pub(super) blocked: Option<WaitReason>,
    /// True if its place is in [`Lane::Api`], and not yet in the lane of its call.
    look: bool,
    /// True once its deadline has passed.
    overdue: bool,
    pub(super) state: State,
    /// The time under which it is among the timers.
    timer: Option<Instant>,
    /// The reason for which its last look was made to show that it waits for its turn.
    pub(super) shown: Option<WaitKind>,
    /// The reason that its next look shows.
    showing: Option<WaitsFor>,
}

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In the queue of its lane.
    Queued,
    /// Waits until its user has no turn.
    Parked,
    /// Waits for a change, or for a moment.
    Waiting { reason: Option<WaitReason>, until: Option<Instant> },
    /// Has a turn.
    Running { then: After },
}

/// The fate of a request after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The end of the turn decides.
    Unchanged,
    /// It has changed meanwhile, and has another turn.
    Changed,
    /// It is gone.
    Removed,
}

impl Entry {
    pub(super) fn new(
        request: Request,
        place: Place,
        blocked: Option<WaitReason>,
        look: bool,
        places: &mut Shared<Place>,
    ) -> Self {
        let Request { key: _, namespace, created, deadline, user } = request;
        Self {
            namespace,
            created,
            deadline,
            user,
            place: places.share(place),
            blocked,
            look,
            overdue: false,
            state: State::Queued,
            timer: None,
            shown: None,
            showing: None,
        }
    }

    /// Keeps the look of the entry before. Returns false if nothing but the deadline differs.
    pub(super) fn replaces(&mut self, known: &Self) -> bool {
        self.look = known.look;
        (self.shown, self.showing) = (known.shown, known.showing);
        let is_same = self.place == known.place && self.blocked == known.blocked && self.user == known.user;
        !is_same || known.state == State::Running { then: After::Removed }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the lane in which it waits.
    pub(super) fn lane(&self) -> Lane {
        if self.look { Lane::Api } else { self.place.lane.clone() }
    }

    pub(super) const fn looks(&self) -> bool {
        self.look || self.overdue
    }

    pub(super) fn pool(&self) -> &str {
        &self.place.pool
    }

    /// Returns the position in its lane. The limits of a grant are about calls only.
    pub(super) fn line(&self) -> Line {
        let (namespace, pool) = (Arc::clone(&self.namespace), Arc::clone(&self.place.pool));
        let group = self.limits().map(|limits| Arc::clone(&limits.grant));
        Line { class: self.place.class, flow: Flow { namespace, pool, group } }
    }

    pub(super) fn limits(&self) -> Option<&GrantLimits> {
        self.place.grant.as_deref().filter(|_| self.lane() != Lane::Api)
    }

    /// Returns the position among the looks that show why requests wait.
    pub(super) fn flow_of_look(&self) -> Flow {
        Flow { namespace: Arc::clone(&self.namespace), pool: Arc::clone(&self.place.pool), group: None }
    }

    pub(super) const fn order(&self, key: Key) -> Order {
        (self.created, key)
    }

    /// Returns the user whom a turn makes busy. A look does not: it sends nothing.
    pub(super) fn user(&self) -> Option<UserKey> {
        self.user.filter(|_| self.lane() != Lane::Api)
    }

    /// Ends a wait. A request that is still blocked is only looked at.
    pub(super) const fn wake(&mut self) {
        self.look |= self.blocked.is_some();
    }

    /// Returns the call by which a turn in its lane reads the user.
    pub(super) fn source(&self) -> UserStateSource {
        if self.look { UserStateSource::None } else { self.place.source }
    }

    /// Queues it. After its deadline it is only looked at.
    pub(super) const fn queue(&mut self) {
        self.look |= self.overdue;
        self.state = State::Queued;
    }

    /// Gives it a turn.
    pub(super) fn begin(&mut self, id: TurnId, key: Key) -> Turn {
        self.state = State::Running { then: After::Unchanged };
        Turn {
            id,
            key,
            lane: self.lane(),
            pool: Arc::clone(&self.place.pool),
            source: self.source(),
            grant: self.limits().map(|limits| Arc::clone(&limits.grant)),
            shows: self.showing.take(),
            user: self.user(),
        }
    }

    /// Ends its turn. It is looked at next if it has ended, or if an error left that open.
    pub(super) const fn end(&mut self, look: bool, is_shown: bool) {
        self.look = look;
        // Any other turn may have written another reason.
        if !is_shown {
            self.shown = None;
        }
    }

    /// Lets it wait for its turn although its deadline has passed, until it is looked at again. The
    /// look at the deadline did not end it, so the clocks disagree.
    pub(super) fn defer_deadline(&mut self, now: Instant) {
        if self.overdue {
            self.overdue = false;
            self.deadline = Some(now + OVERDUE);
        }
    }

    /// Has it looked at, so that its status shows why it waits.
    pub(super) const fn show(&mut self, reason: WaitsFor) {
        self.look = true;
        self.shown = Some(reason.kind());
        self.showing = Some(reason);
    }

    /// Returns true if it waits for its turn among calls.
    pub(super) const fn is_queued(&self) -> bool {
        !self.look && matches!(self.state, State::Queued | State::Parked)
    }
}

/// The requests by their keys.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(Instant, Key)>,
}

impl Entries {
    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn waiting_for(&self, reason: WaitReason) -> Vec<Key> {
        let waits = |entry: &Entry| matches!(entry.state, State::Waiting { reason: Some(it), .. } if it == reason);
        self.entries.iter().filter(|(_, entry)| waits(entry)).map(|(key, _)| *key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(key);
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(timer) = self.entries.remove(&key).and_then(|entry| entry.timer) {
            self.timers.remove(&(timer, key));
        }
    }

    /// Takes in another deadline.
    pub(super) fn set_deadline(&mut self, key: Key, deadline: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.deadline != deadline) {
            entry.deadline = deadline;
            entry.overdue = false;
            self.set_timer(key);
        }
    }

    /// Sets the timer by the state of a request.
    pub(super) fn set_timer(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let deadline = entry.deadline.filter(|_| !entry.overdue);
        let timer = match entry.state {
            State::Queued | State::Parked => deadline,
            State::Waiting { until, .. } => until.into_iter().chain(deadline).min(),
            State::Running { .. } => None,
        };
        if timer == entry.timer {
            return;
        }
        if let Some(earlier) = entry.timer {
            self.timers.remove(&(earlier, key));
        }
        entry.timer = timer;
        self.timers.extend(timer.map(|timer| (timer, key)));
    }

    /// Removes the first timer whose time has come, and returns its request.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Key> {
        let (timer, key) = *self.timers.first().filter(|(timer, _)| *timer <= now)?;
        self.timers.remove(&(timer, key));
        let entry = self.entries.get_mut(&key)?;
        entry.timer = None;
        entry.overdue |= entry.deadline.is_some_and(|deadline| deadline <= now);
        Some(key)
    }

    /// Returns the time of the first timer.
    pub(super) fn first_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(timer, _)| *timer)
    }
}
