//! The days on which Cognito throttles, does not deliver, or does not respond.

use std::time::Duration;

use super::{super::*, Meaning, QuotaCategory, Scene, millis, place, request, response};
use crate::action::{
    port::ReadError,
    response::{Code, ResetResponse},
};

fn exception(code: &str) -> ResetResponse {
    ResetResponse::Exception(Code::parse(code).unwrap())
}

fn minutes(number: u64) -> Duration {
    Duration::from_mins(number)
}

impl Scene {
    /// Lets the call of a turn begin and end with this response, unless it may not begin.
    fn call(&mut self, turn: Turn, result: &ResetResponse) -> Result<(), WaitsFor> {
        let begins = self.dispatcher.may_begin(&turn, self.now);
        if begins.is_ok() {
            let begun = self.now;
            self.now += millis(1);
            self.dispatcher.responded(&turn, &response(result, begun), self.now);
        }
        self.finish(turn, Finish::Done);
        begins
    }

    /// Puts this many requests into a pool, and returns the first number after them.
    fn fill(&mut self, first: u32, number: u32, pool: u32) -> u32 {
        (first..first + number).for_each(|uid| self.put(request(uid, uid % 7, i64::from(uid)), place(0, pool)));
        first + number
    }

    fn minute_of(&self, start: Instant) -> u64 {
        (self.now - start).as_secs() / 60
    }
}

#[test]
fn pool_without_delivery_loses_one_call_at_each_try() {
    let mut scene = Scene::new();
    let uid = scene.fill(0, 100, 1);
    let limit = exception("LimitExceededException");
    let first = scene.await_turn();
    let second = scene.await_turn();
    scene.call(first, &limit).unwrap();
    let start = scene.now;
    let until = Some(start + minutes(1));
    assert_eq!(scene.call(second, &limit), Err(WaitsFor::Delivery { until }), "no call begins after the response");
    assert_eq!(scene.reason(99), Some(WaitsFor::Delivery { until }));
    scene.fill(uid, 50, 2);
    let others = scene.served(50);
    assert!(others.iter().all(|other| *other >= uid), "the other pool of the lane goes on");
    let mut tries = Vec::new();
    for _ in 0..5 {
        let turn = scene.await_turn();
        tries.push(scene.minute_of(start));
        assert_eq!((scene.reason(99), scene.next()), (Some(WaitsFor::Delivery { until: None }), None));
        scene.call(turn, &limit).unwrap();
    }
    assert_eq!(tries, [1, 6, 21, 81, 141]);
    let turn = scene.await_turn();
    scene.call(turn, &ResetResponse::Accepted).unwrap();
    assert_eq!(scene.reason(99), Some(WaitsFor::Turn));
    let resumed = scene.now;
    assert_eq!(scene.served(92).len(), 92);
    assert!(scene.now - resumed < minutes(1) && scene.dispatcher.is_empty());
}

#[test]
fn success_of_an_earlier_call_does_not_start_a_stopped_pool() {
    let mut scene = Scene::new();
    scene.fill(0, 20, 1);
    let (first, second) = (scene.await_turn(), scene.await_turn());
    let begun = scene.now;
    scene.now += millis(1);
    scene.dispatcher.responded(&first, &response(&exception("LimitExceededException"), begun), scene.now);
    scene.now += millis(1);
    scene.dispatcher.responded(&second, &response(&ResetResponse::Accepted, begun), scene.now);
    assert!(matches!(scene.reason(19), Some(WaitsFor::Delivery { until: Some(_) })));
    scene.finish(first, Finish::Done);
    scene.finish(second, Finish::Done);
}

#[test]
fn try_that_shows_nothing_does_not_end_the_tries() {
    let gone = None;
    for (result, wait) in [
        (gone, 0),
        (Some(exception("UserNotFoundException")), 0),
        (Some(exception("AccessDeniedException")), 0),
        (Some(ResetResponse::NoResponse), 60),
        (Some(exception("InternalErrorException")), 60),
    ] {
        let mut scene = Scene::new();
        scene.fill(0, 9, 1);
        let turn = scene.await_turn();
        scene.call(turn, &exception("CodeDeliveryFailureException")).unwrap();
        let turn = scene.await_turn();
        let tried = scene.now;
        match &result {
            Some(result) => scene.call(turn, result).unwrap(),
            None => {
                scene.dispatcher.remove(turn.key, scene.now);
                scene.finish(turn, Finish::Again);
            }
        }
        let turn = scene.await_turn();
        assert_eq!((scene.now - tried).as_secs(), wait, "{result:?}");
        scene.call(turn, &ResetResponse::Accepted).unwrap();
        assert_eq!(scene.reason(8), Some(WaitsFor::Turn), "{result:?}");
    }
}

#[test]
fn region_that_hangs_loses_one_call_a_minute() {
    let mut scene = Scene::new();
    scene.fill(0, 1000, 1);
    let start = scene.now;
    let mut calls = 0;
    while scene.now < start + minutes(20) {
        // Two slots, each for as long as the timeout of a call.
        let turns = [scene.await_turn(), scene.await_turn()];
        let begun = turns.map(|turn| (scene.dispatcher.may_begin(&turn, scene.now).is_ok(), turn));
        scene.now += millis(30_000);
        for (has_begun, turn) in begun {
            if has_begun {
                calls += 1;
                let lost = response(&ResetResponse::NoResponse, scene.now - millis(30_000));
                scene.dispatcher.responded(&turn, &lost, scene.now);
            }
            scene.finish(turn, Finish::Done);
        }
        if calls == 4 {
            break;
        }
    }
    let mut tries = Vec::new();
    for _ in 0..9 {
        let waited = scene.now;
        let turn = scene.await_turn();
        tries.push((scene.now - waited).as_secs());
        assert!(matches!(scene.reason(999), Some(WaitsFor::Service { until: None })));
        scene.call(turn, &ResetResponse::NoResponse).unwrap();
    }
    assert_eq!(tries, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let turn = scene.await_turn();
    scene.call(turn, &exception("UserNotFoundException")).unwrap();
    assert_eq!(scene.reason(999), Some(WaitsFor::Turn), "any response shows that the Region is back");
}

#[test]
fn no_call_begins_after_the_response_that_stops_a_lane() {
    for result in [ResetResponse::NoResponse, exception("ServiceUnavailable")] {
        let mut scene = Scene::new();
        scene.fill(0, 20, 1);
        for _ in 0..2 {
            let turn = scene.await_turn();
            scene.call(turn, &result).unwrap();
        }
        let (third, fourth) = (scene.await_turn(), scene.await_turn());
        scene.call(third, &result).unwrap();
        let until = Some(scene.now + millis(1000));
        assert_eq!(scene.call(fourth, &result), Err(WaitsFor::Service { until }), "{result:?}");
        assert_eq!(scene.reason(19), Some(WaitsFor::Service { until }));
        let later = scene.now + minutes(1);
        assert_eq!(scene.dispatcher.expected_wait(&place(0, 1), later), None);
    }
}

#[test]
fn no_call_begins_before_the_end_of_a_pause_that_was_demanded() {
    let mut scene = Scene::new();
    (0..20).for_each(|uid| scene.put(request(uid, 1, 0), place(0, 1)));
    let (first, second) = (scene.await_turn(), scene.await_turn());
    let throttled = response(&exception("TooManyRequestsException"), scene.now);
    let demanded = Response { retry_after: Some(millis(7000)), ..throttled };
    scene.dispatcher.responded(&first, &demanded, scene.now);
    scene.finish(first, Finish::Again);
    assert_eq!((scene.reason(19), scene.wait_of()), (Some(WaitsFor::Throttled), Some(millis(7000))));
    scene.now += millis(6999);
    assert_eq!((scene.dispatcher.may_begin(&second, scene.now), scene.next()), (Err(WaitsFor::Throttled), None));
    scene.now += millis(1);
    assert_eq!(scene.dispatcher.may_begin(&second, scene.now), Ok(()));
    scene.finish(second, Finish::Done);
    assert_eq!(scene.served(1), [0], "it keeps its place");
}

#[test]
fn backlog_goes_on_at_full_pace_after_an_hour_of_throttling() {
    let mut scene = Scene::new();
    let uid = scene.fill(0, 600, 1);
    let start = scene.now;
    let mut calls = 0;
    while scene.now < start + minutes(60) {
        let turn = scene.await_turn();
        let begun = scene.now;
        scene.now += millis(1);
        let throttled = response(&exception("TooManyRequestsException"), begun);
        scene.dispatcher.responded(&turn, &throttled, scene.now);
        scene.finish(turn, Finish::Again);
        calls += 1;
    }
    assert!(calls < 400, "one in 10 s: {calls}");
    assert_eq!(scene.dispatcher.len(), uid as usize, "nobody is lost");
    let over = scene.now;
    let mut called = Vec::new();
    for _ in 0..uid {
        let turn = scene.await_turn();
        scene.call(turn, &ResetResponse::Accepted).unwrap();
        called.push(scene.now - over);
    }
    let after_30_s: Vec<_> = called.iter().filter(|time| **time > millis(30_000)).collect();
    let rate = after_30_s.len() as f64 / (*called.last().unwrap() - millis(30_000)).as_secs_f64();
    assert!(rate > 9.9, "{rate} a second");
    assert!(scene.dispatcher.is_empty());
}

#[test]
fn lane_recovers_while_another_one_is_throttled() {
    let mut scene = Scene::new();
    scene.fill(0, 20, 1);
    (100..120).for_each(|uid| scene.put(request(uid, 1, 0), place(2, 1)));
    let turn = scene.await_turn();
    let throttled_lane = turn.lane.clone();
    scene.call(turn, &exception("ThrottlingException")).unwrap();
    let before = scene.now;
    for _ in 0..10 {
        let turn = scene.await_turn();
        assert_ne!(turn.lane, throttled_lane);
        scene.call(turn, &ResetResponse::Accepted).unwrap();
    }
    assert!(scene.now - before < millis(190));
}

#[test]
fn reads_with_a_response_do_not_cover_up_that_resets_have_none() {
    let mut scene = Scene::new();
    scene.fill(0, 100, 1);
    let category = QuotaCategory::UserAccountRecovery;
    let read = |begun| Response { begun, meaning: Meaning::of_read(None, category), retry_after: None };
    let mut calls = 0;
    let start = scene.now;
    while scene.now - start < minutes(10) {
        let turn = scene.await_turn();
        scene.dispatcher.responded(&turn, &read(scene.now), scene.now);
        if scene.call(turn, &ResetResponse::NoResponse).is_ok() {
            calls += 1;
        }
    }
    assert!((15..=20).contains(&calls), "{calls} calls in ten minutes");
}

#[test]
fn look_that_reads_a_user_neither_slows_nor_stops_looks() {
    let mut scene = Scene::new();
    let throttled = ReadError::Exception(Code::parse("TooManyRequestsException").unwrap());
    for uid in 0..20 {
        scene.dispatcher.put(request(uid, 1, 0), place(0, 1), Some(WaitReason::NoMatchingGrant), true, scene.now);
        let turn = scene.await_turn();
        for error in [&throttled, &ReadError::NoResponse] {
            let meaning = Meaning::of_read(Some(error), QuotaCategory::UserAccountRecovery);
            let response = Response { begun: scene.now, meaning, retry_after: None };
            scene.dispatcher.responded(&turn, &response, scene.now);
        }
        scene.finish(turn, Finish::Done);
    }
    assert_eq!(scene.dispatcher.expected_wait(&place(3, 1), scene.now + millis(21)), Some(Duration::ZERO));
}
