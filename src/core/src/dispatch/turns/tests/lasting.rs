//! Waits for a turn that last so long that the status says so.

use super::{super::*, Scene, limits, millis, number_of, place, request, response};
use crate::action::response::ResetResponse;

fn scene(shown_after: u64) -> Scene {
    let now = Instant::now();
    let limits = Limits { shown_after: Some(millis(shown_after)), ..limits() };
    Scene { dispatcher: Dispatcher::new(limits, now), now }
}

#[test]
fn lasting_wait_is_shown_once_for_each_reason() {
    let mut scene = scene(5000);
    (0..3).for_each(|uid| scene.put(request(uid, 1, i64::from(uid)), place(0, 1)));
    let turns = [scene.await_turn(), scene.await_turn()];
    let start = scene.now;
    let look = scene.await_turn();
    assert_eq!((&look.lane, look.shows), (&Lane::Api, Some(WaitsFor::Turn)));
    assert!(scene.now - start <= millis(5000), "no wait is shown later than that");
    scene.finish(look, Finish::Again);
    scene.now += millis(60_000);
    assert_eq!(scene.next(), None, "the reason is the same, so nothing is written");
    for _ in 0..3 {
        let lost = response(&ResetResponse::NoResponse, scene.now);
        scene.dispatcher.responded(&turns[0], &lost, scene.now);
    }
    let look = scene.await_turn();
    assert!(matches!(look.shows, Some(WaitsFor::Service { .. })), "{look:?}");
    scene.finish(look, Finish::Again);
    for turn in turns {
        scene.finish(turn, Finish::Done);
    }
    assert_eq!(scene.served(1), [2], "a request that was looked at keeps its place");
}

#[test]
fn short_waits_are_not_shown_and_long_ones_at_a_pace() {
    let mut scene = scene(5000);
    (0..200).for_each(|uid| scene.put(request(uid, 1, i64::from(uid)), place(0, 1)));
    let (start, mut calls, mut looks) = (scene.now, 0, Vec::new());
    while scene.now - start < millis(10_000) {
        let turn = scene.await_turn();
        if turn.lane == Lane::Api {
            assert!(scene.now - start >= millis(5000));
            looks.push(number_of(&turn));
            scene.finish(turn, Finish::Again);
        } else {
            calls += 1;
            scene.finish(turn, Finish::Done);
        }
    }
    assert_eq!(calls, 101, "looks cost no turn");
    assert!((20..=27).contains(&looks.len()), "{looks:?}");
    let latest_first: Vec<_> = (0..200).rev().take(looks.len()).collect();
    assert_eq!(looks, latest_first, "those that wait longest are told first");
}

#[test]
fn first_look_shows_nothing() {
    let mut scene = scene(5000);
    scene.dispatcher.put(request(1, 1, 0), place(0, 1), None, true, scene.now);
    let turn = scene.await_turn();
    assert_eq!((&turn.lane, turn.shows), (&Lane::Api, None));
    scene.finish(turn, Finish::Again);
    let turn = scene.await_turn();
    assert_ne!(turn.lane, Lane::Api);
    scene.finish(turn, Finish::Done);
}

#[test]
fn reason_is_shown_again_after_a_turn_of_its_own() {
    let mut scene = scene(5000);
    scene.put(request(1, 1, 1), place(0, 1));
    let throttled = scene.await_turn();
    [2, 3].into_iter().for_each(|uid| scene.put(request(uid, 1, 2), place(0, 1)));
    let second = scene.await_turn();
    let mut shown = Vec::new();
    let look = scene.await_turn();
    shown.push((number_of(&look), look.shows));
    scene.finish(look, Finish::Again);
    scene.finish(throttled, Finish::Again);
    let third = scene.await_turn();
    assert_eq!((number_of(&third), third.lane == Lane::Api), (1, false));
    // Its own turn has written another status.
    scene.put(request(4, 1, 0), place(0, 1));
    scene.finish(third, Finish::Again);
    let fourth = scene.await_turn();
    assert_eq!(number_of(&fourth), 4);
    while let Some(wake) = scene.dispatcher.wake_at().filter(|wake| *wake - scene.now < millis(100_000)) {
        scene.now = scene.now.max(wake);
        let Some(look) = scene.next() else { continue };
        shown.push((number_of(&look), look.shows));
        scene.finish(look, Finish::Again);
        if shown.len() == 2 {
            break;
        }
    }
    let show = |number: u32| (number, Some(WaitsFor::Turn));
    assert_eq!(shown, [show(3), show(1)]);
    scene.finish(second, Finish::Done);
    scene.finish(fourth, Finish::Done);
}

#[test]
fn looks_that_show_waits_go_round_the_namespaces() {
    let mut scene = scene(5000);
    (0..200).for_each(|uid| scene.put(request(uid, 1, 0), place(0, 1)));
    // Both slots are taken, so that all others wait.
    let turns = [scene.await_turn(), scene.await_turn()];
    scene.now += millis(1000);
    scene.put(request(500, 2, 0), place(0, 1));
    let mut looks = Vec::new();
    while !looks.contains(&500) && looks.len() < 198 {
        let look = scene.await_turn();
        looks.push(number_of(&look));
        scene.finish(look, Finish::Again);
    }
    turns.into_iter().for_each(|turn| scene.finish(turn, Finish::Done));
    // At most 5 looks are made in the second that the others have waited longer.
    assert!(looks.len() <= 8, "{looks:?}");
}
