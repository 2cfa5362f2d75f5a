mod bad_days;
mod changes;
mod costs;
mod grants;
mod lasting;
mod properties;
mod reference;
mod sources;

use std::{sync::Arc, time::Duration};

use cognito_reset_api::UserStateSource;
use jiff::Timestamp;

use super::*;
use crate::{
    action::response::ResetResponse,
    dispatch::{
        key::UserKey,
        lane::{Account, LaneLimits, QuotaCategory},
        meaning::Meaning,
        pace::Rate,
    },
};

/// Limits that are reached soon: 10 turns a second, two at a time in a lane, and three in all.
fn limits() -> Limits {
    Limits {
        api: LaneLimits { budget: Rate::per_second(50.0), slots: 2 },
        budgets: vec![(QuotaCategory::UserAccountRecovery, Rate::per_second(10.0))],
        slots: 2,
        slots_of_all: 3,
        shown_after: None,
    }
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn lane(region: &str) -> Lane {
    Lane::Cognito { account: Account::Own, region: region.into(), category: QuotaCategory::UserAccountRecovery }
}

/// One of 48 places: four lanes, three kinds of grants, and the two classes.
fn place(number: u32, pool: u32) -> Place {
    let other = Account::of_role(Some("111122223333"), None);
    let category = QuotaCategory::UserRead;
    let lane = match number % 4 {
        0 => lane("eu-west-1"),
        1 => Lane::Cognito { account: other, region: "eu-west-1".into(), category },
        2 => Lane::Cognito { account: Account::Own, region: "eu-west-1".into(), category },
        _ => Lane::Api,
    };
    let grant = match number / 4 % 3 {
        0 => None,
        1 => Some(GrantLimits { grant: "slow".into(), per_minute: Some(120), share_percent: None }),
        _ => Some(GrantLimits { grant: "modest".into(), per_minute: None, share_percent: Some(25) }),
    };
    let class = if number / 12 == 3 { Class::Bulk } else { Class::Single };
    let pool = format!("pool-{pool}").into();
    Place { lane, pool, source: UserStateSource::AdminGetUser, grant: grant.map(Arc::new), class }
}

fn request(uid: u32, namespace: u32, created: i64) -> Request {
    Request {
        key: Key(u128::from(uid).to_be_bytes()),
        namespace: format!("namespace-{namespace}").into(),
        created: Timestamp::from_second(created).unwrap(),
        deadline: None,
        user: None,
    }
}

/// A place in the lane of resets of this Region.
fn in_region(region: &str) -> Place {
    Place { lane: lane(region), ..place(0, 1) }
}

/// Returns the number of the request that has a turn.
fn number_of(turn: &Turn) -> u32 {
    u32::try_from(u128::from_be_bytes(turn.key.0)).unwrap()
}

fn response(response: &ResetResponse, begun: Instant) -> Response {
    Response { begun, meaning: Meaning::of(response), retry_after: None }
}

/// A dispatcher, and its time.
struct Scene {
    dispatcher: Dispatcher,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self { dispatcher: Dispatcher::new(limits(), now), now }
    }

    fn put(&mut self, request: Request, place: Place) {
        self.dispatcher.put(request, place, None, false, self.now);
    }

    fn next(&mut self) -> Option<Turn> {
        self.dispatcher.next(self.now)
    }

    /// Waits until there is a turn.
    fn await_turn(&mut self) -> Turn {
        loop {
            if let Some(turn) = self.dispatcher.next(self.now) {
                return turn;
            }
            self.now = self.now.max(self.dispatcher.wake_at().unwrap());
        }
    }

    fn finish(&mut self, turn: Turn, finish: Finish) {
        self.dispatcher.finished(&turn, finish, self.now);
    }

    /// Lets this many requests have their turn and end. Returns the numbers in their names.
    fn served(&mut self, number: usize) -> Vec<u32> {
        (0..number)
            .map(|_| {
                let turn = self.await_turn();
                let served = number_of(&turn);
                self.finish(turn, Finish::Done);
                served
            })
            .collect()
    }

    fn reason(&self, uid: u32) -> Option<WaitsFor> {
        self.dispatcher.reason_of(request(uid, 0, 0).key, self.now)
    }

    fn wait_of(&self) -> Option<Duration> {
        self.dispatcher.wake_at().map(|wake| wake.saturating_duration_since(self.now))
    }
}

#[test]
fn backlog_is_called_at_the_budget_in_order_of_creation() {
    let mut scene = Scene::new();
    let start = scene.now;
    // Seen in another order than created, as by a new leader.
    (0..300).rev().for_each(|uid| scene.put(request(uid, 1, i64::from(uid)), place(0, 1)));
    assert_eq!(scene.served(300), (0..300).collect::<Vec<_>>());
    let took = scene.now - start;
    assert!((millis(29_900)..millis(29_901)).contains(&took), "{took:?}");
    assert_eq!((scene.dispatcher.len(), scene.dispatcher.wake_at()), (0, None));
}

#[test]
fn lone_request_is_next_among_10_000_of_another_namespace() {
    let mut scene = Scene::new();
    (0..10_000).for_each(|uid| scene.put(request(uid, 1, 0), place(0, 1)));
    scene.served(50);
    scene.put(request(20_000, 2, 1), place(0, 1));
    assert_eq!(scene.reason(20_000), Some(WaitsFor::Turn));
    assert_eq!(scene.served(1), [20_000]);
}

#[test]
fn churn_moves_no_turn_on() {
    let mut scene = Scene::new();
    scene.put(request(0, 1, 0), place(0, 1));
    scene.served(1);
    scene.put(request(1, 1, 0), place(0, 1));
    let wait = scene.wait_of();
    for uid in 10..10_000 {
        scene.put(request(uid, 2, 0), place(0, uid % 5));
        scene.dispatcher.remove(request(uid, 2, 0).key, scene.now);
    }
    assert_eq!((scene.wait_of(), scene.dispatcher.len()), (wait, 1));
    assert_eq!(scene.served(1), [1]);
}

#[test]
fn lane_that_hangs_leaves_the_others_their_slots() {
    let mut scene = Scene::new();
    let in_region = |region: &str| Place { lane: lane(region), ..place(0, 1) };
    for (number, region) in ["a", "b", "c", "d"].into_iter().enumerate() {
        (0..5).for_each(|uid| scene.put(request(uid + 10 * u32::try_from(number).unwrap(), 1, 0), in_region(region)));
    }
    // Two a lane and three in all, and one more for each lane without a turn.
    let mut turns: Vec<_> = (0..4).map(|_| scene.await_turn()).collect();
    let regions: BTreeSet<_> = turns.iter().map(|turn| turn.lane.clone()).collect();
    assert_eq!(regions, ["a", "b", "c", "d"].map(lane).into());
    scene.now += Duration::from_hours(1);
    assert_eq!((scene.next(), scene.dispatcher.wake_at()), (None, None));
    let is_free = |region| scene.dispatcher.expected_wait(&in_region(region), scene.now).is_some();
    assert!(!is_free("a") && is_free("new"), "a lane without a turn may have one");
    let last = turns.pop().unwrap();
    let lane = last.lane.clone();
    scene.finish(last, Finish::Done);
    assert_eq!(scene.next().map(|turn| turn.lane), Some(lane), "its own slot is free again, and no other");
    assert_eq!(scene.next(), None);
}

#[test]
fn bulk_gets_what_single_requests_leave() {
    let mut scene = Scene::new();
    (0..3).for_each(|uid| scene.put(request(uid, 1, 0), place(36, 1)));
    assert_eq!(scene.served(1).len(), 1);
    (10..13).for_each(|uid| scene.put(request(uid, 1, 9), place(0, 1)));
    let served = scene.served(5);
    assert!(served[..3].iter().all(|uid| *uid >= 10) && served[3..].iter().all(|uid| *uid < 3), "{served:?}");
}

#[test]
fn one_request_of_a_user_has_a_turn_at_a_time() {
    let mut scene = Scene::new();
    let of_user = |uid, user: &str| Request { user: Some(UserKey::of("pool", user)), ..request(uid, uid, 0) };
    for (uid, user) in [(1, "alice"), (2, "alice"), (3, "alice"), (4, "bob")] {
        scene.put(of_user(uid, user), place(0, 1));
    }
    let first = scene.await_turn();
    let second = scene.await_turn();
    assert_eq!((number_of(&first), number_of(&second)), (1, 4));
    assert_eq!(scene.reason(2), Some(WaitsFor::User));
    scene.finish(second, Finish::Done);
    scene.now += millis(1000);
    assert_eq!(scene.next(), None);
    scene.dispatcher.remove(of_user(2, "alice").key, scene.now);
    scene.finish(first, Finish::Wait { reason: WaitReason::Throttled, until: None });
    assert_eq!(scene.served(1), [3]);
    assert!(scene.dispatcher.users.is_empty());
}

#[test]
fn request_waits_for_the_user_whom_it_names_last() {
    let mut scene = Scene::new();
    let alice = Some(UserKey::of("pool", "alice"));
    scene.put(Request { user: alice, ..request(1, 1, 0) }, place(0, 1));
    let turn = scene.await_turn();
    scene.put(request(2, 2, 0), place(0, 1));
    scene.put(Request { user: alice, ..request(2, 2, 0) }, place(0, 1));
    scene.now += millis(1000);
    assert_eq!((scene.next(), scene.reason(2)), (None, Some(WaitsFor::User)));
    scene.finish(turn, Finish::Done);
    assert_eq!(scene.served(1), [2]);
}

#[test]
fn look_does_not_wait_for_the_user() {
    let mut scene = Scene::new();
    let of_alice = |uid| Request { user: Some(UserKey::of("pool", "alice")), ..request(uid, uid, 0) };
    scene.put(of_alice(1), place(0, 1));
    let call = scene.await_turn();
    scene.dispatcher.put(of_alice(2), place(0, 1), None, true, scene.now);
    let look = scene.await_turn();
    scene.finish(look, Finish::Again);
    scene.now += millis(1000);
    assert_eq!((scene.next(), scene.reason(2)), (None, Some(WaitsFor::User)), "the look does not free the user");
    scene.finish(call, Finish::Done);
    assert_eq!(scene.served(1), [2]);
}

#[test]
fn lane_is_free_unless_a_request_would_wait() {
    let mut scene = Scene::new();
    let here = in_region("eu-west-1");
    assert!(scene.dispatcher.expected_wait(&here, scene.now) == Some(Duration::ZERO));
    scene.put(request(1, 1, 0), place(0, 1));
    assert!(scene.dispatcher.expected_wait(&here, scene.now) != Some(Duration::ZERO));
    let turn = scene.await_turn();
    assert!(scene.dispatcher.expected_wait(&here, scene.now) != Some(Duration::ZERO), "the next turn is not due");
    scene.now += millis(101);
    assert!(scene.dispatcher.expected_wait(&here, scene.now) == Some(Duration::ZERO));
    scene.finish(turn, Finish::Done);
}

#[test]
fn lanes_and_grants_at_rest_are_dropped() {
    let mut scene = Scene::new();
    for number in 0..100 {
        let place = Place { lane: lane(&format!("region-{number}")), ..place(number % 3 * 4, 1) };
        scene.put(request(number, 1, 0), place);
    }
    scene.served(100);
    scene.dispatcher.retain(&HashSet::new(), scene.now);
    assert_eq!(scene.dispatcher.lanes.len(), 100, "their last turns are not over");
    scene.now += millis(1000);
    assert_eq!((scene.next(), scene.wait_of()), (None, None));
    scene.put(request(200, 1, 0), place(0, 1));
    scene.dispatcher.retain(&[request(200, 1, 0).key].into(), scene.now);
    assert_eq!((scene.dispatcher.lanes.len(), scene.dispatcher.len()), (1, 1));
    assert_eq!(scene.served(1), [200]);
}
