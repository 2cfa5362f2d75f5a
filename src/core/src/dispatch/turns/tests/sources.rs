//! The space after turns that read users by ListUsers.

use super::*;
use crate::dispatch::lane::LIST_CALLS;

fn by(source: UserStateSource) -> Place {
    Place { source, ..place(0, 1) }
}

/// A scene whose lanes have this rate of resets.
fn scene_at(rate: f64) -> Scene {
    let now = Instant::now();
    let budgets = vec![(QuotaCategory::UserAccountRecovery, Rate::per_second(rate))];
    Scene { dispatcher: Dispatcher::new(Limits { budgets, ..limits() }, now), now }
}

#[test]
fn lists_keep_half_of_their_quota_at_any_rate_of_resets() {
    for rate in [1.0, 10.0, 30.0, 1000.0] {
        let mut scene = scene_at(rate);
        let start = scene.now;
        let number = 100;
        (0..number).for_each(|uid| scene.put(request(uid, uid % 7, 0), by(UserStateSource::ListUsers)));
        scene.served(100);
        let seconds = (scene.now - start).as_secs_f64();
        // The last turn is followed by no other one.
        let calls = f64::from(LIST_CALLS * (number - 1));
        assert!(calls / seconds <= 15.0, "{rate}: {} calls a second", calls / seconds);
        let turns = f64::from(number - 1) / seconds;
        assert!((turns / rate.min(7.5) - 1.0).abs() < 0.001, "{rate}: {turns} turns a second");
    }
}

#[test]
fn only_turns_with_a_list_are_followed_by_its_time() {
    let mut scene = scene_at(1000.0);
    let start = scene.now;
    let sources = [UserStateSource::ListUsers, UserStateSource::AdminGetUser, UserStateSource::None];
    for uid in 0..300_u32 {
        scene.put(request(uid, 1, i64::from(uid)), by(sources[uid as usize % 3]));
    }
    assert_eq!(scene.served(300), (0..300).collect::<Vec<_>>());
    let wanted = 100.0 * 2.0 / 15.0 + 0.2;
    let took = (scene.now - start).as_secs_f64();
    assert!((took - wanted).abs() < 0.01, "{took} s");
}

#[test]
fn look_at_a_request_reads_nobody() {
    let mut scene = Scene::new();
    let reason = Some(WaitReason::Suspended);
    for (uid, blocked, look_first, wanted) in [
        (1, None, false, UserStateSource::ListUsers),
        (2, None, true, UserStateSource::None),
        (3, reason, true, UserStateSource::None),
    ] {
        scene.dispatcher.put(request(uid, 1, 0), by(UserStateSource::ListUsers), blocked, look_first, scene.now);
        let turn = scene.await_turn();
        assert_eq!(turn.source, wanted, "{uid}");
        scene.finish(turn, Finish::Done);
    }
}

#[test]
fn change_of_the_source_is_a_change_of_the_place() {
    let mut scene = Scene::new();
    scene.put(request(1, 1, 0), by(UserStateSource::AdminGetUser));
    scene.put(request(1, 1, 0), by(UserStateSource::ListUsers));
    assert_eq!(scene.await_turn().source, UserStateSource::ListUsers);
}
