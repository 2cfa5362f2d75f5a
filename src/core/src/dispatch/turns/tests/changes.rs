//! Changes of requests while they wait or have a turn.

use super::{super::*, Scene, millis, place, request};

#[test]
fn event_of_the_own_status_does_not_end_a_wait() {
    let mut scene = Scene::new();
    scene.put(request(1, 1, 0), place(0, 1));
    let turn = scene.await_turn();
    scene.put(request(1, 1, 0), place(0, 1));
    let reason = WaitReason::CognitoUnreachable;
    scene.finish(turn, Finish::Wait { reason, until: Some(scene.now + millis(5000)) });
    scene.put(request(1, 1, 0), place(0, 1));
    assert_eq!((scene.reason(1), scene.wait_of()), (Some(WaitsFor::Reason(reason)), Some(millis(5000))));
    assert_eq!(scene.next(), None);
    let turn = scene.await_turn();
    scene.finish(turn, Finish::Wait { reason, until: None });
    assert_eq!((scene.next(), scene.wait_of()), (None, None));
    scene.dispatcher.reconsider([request(1, 1, 0).key, request(2, 1, 0).key], scene.now);
    assert_eq!(scene.served(1), [1]);
}

#[test]
fn change_during_a_turn_leads_to_another_turn() {
    for (finish, look) in [
        (Finish::Done, true),
        (Finish::Again, false),
        (Finish::Wait { reason: WaitReason::Suspended, until: None }, false),
    ] {
        let mut scene = Scene::new();
        scene.put(request(1, 1, 0), place(0, 1));
        let turn = scene.await_turn();
        scene.put(request(1, 1, 0), place(0, 2));
        scene.finish(turn, finish.clone());
        let turn = scene.await_turn();
        assert_eq!((turn.lane == Lane::Api, &*turn.pool), (look, "pool-2"), "{finish:?}");
        scene.dispatcher.reconsider([turn.key], scene.now);
        scene.finish(turn, Finish::Wait { reason: WaitReason::Suspended, until: None });
        let turn = scene.await_turn();
        scene.finish(turn, Finish::Done);
        assert!(scene.dispatcher.is_empty());
    }
}

#[test]
fn request_that_is_removed_during_its_turn_keeps_the_slot() {
    let mut scene = Scene::new();
    (0..3).for_each(|uid| scene.put(request(uid, 1, i64::from(uid)), place(0, 1)));
    let turns = [scene.await_turn(), scene.await_turn()];
    turns.iter().for_each(|turn| scene.dispatcher.remove(turn.key, scene.now));
    scene.now += millis(1000);
    assert_eq!(scene.next(), None, "both slots are in use");
    for turn in turns {
        scene.finish(turn, Finish::Again);
    }
    assert_eq!((scene.dispatcher.len(), scene.served(1)), (1, vec![2]));
}

#[test]
fn request_that_comes_back_during_its_turn_is_kept() {
    let mut scene = Scene::new();
    scene.put(request(1, 1, 0), place(0, 1));
    let turn = scene.await_turn();
    scene.dispatcher.remove(turn.key, scene.now);
    scene.put(request(1, 1, 0), place(0, 1));
    scene.finish(turn, Finish::Done);
    assert_eq!((scene.dispatcher.len(), scene.served(1)), (1, vec![1]));
}

#[test]
fn request_that_is_blocked_has_no_turn_before_a_change() {
    let mut scene = Scene::new();
    let blocked = Some(WaitReason::Suspended);
    scene.dispatcher.put(request(1, 1, 0), place(0, 1), blocked, false, scene.now);
    assert_eq!(scene.reason(1), Some(WaitsFor::Reason(WaitReason::Suspended)));
    assert_eq!((scene.next(), scene.wait_of()), (None, None));
    scene.put(request(1, 1, 0), place(0, 1));
    let turn = scene.await_turn();
    scene.dispatcher.put(request(1, 1, 0), place(0, 1), blocked, false, scene.now);
    scene.finish(turn, Finish::Again);
    for _ in 0..2 {
        let turn = scene.await_turn();
        assert_eq!(turn.lane, Lane::Api, "it is looked at, and takes no turn of a call");
        scene.finish(turn, Finish::Wait { reason: WaitReason::Suspended, until: None });
        assert_eq!((scene.next(), scene.wait_of()), (None, None));
        scene.dispatcher.reconsider([request(1, 1, 0).key], scene.now);
    }
}

#[test]
fn request_is_looked_at_first_and_at_its_deadline() {
    let mut scene = Scene::new();
    let at = |wait| Some(scene.now + millis(wait));
    let (first, second) = (at(1000), at(9000));
    let dated = |deadline| Request { deadline, ..request(1, 1, 0) };
    scene.dispatcher.put(dated(first), place(0, 1), Some(WaitReason::NoMatchingGrant), true, scene.now);
    let start = scene.now;
    let mut looks = Vec::new();
    for until in [None, Some(millis(500)), Some(millis(500))] {
        let turn = scene.await_turn();
        looks.push((turn.lane.clone(), scene.now - start));
        let reason = WaitReason::ClockSkew;
        scene.finish(turn, Finish::Wait { reason, until: until.map(|until| scene.now + until) });
    }
    assert_eq!(looks, [0, 1000, 1500].map(|time| (Lane::Api, millis(time))));
    assert_eq!(scene.wait_of(), Some(millis(500)), "a deadline that has passed wakes once");
    scene.dispatcher.put(dated(second), place(0, 1), Some(WaitReason::NoMatchingGrant), true, scene.now);
    assert_eq!(scene.wait_of(), Some(millis(500)));
    let turn = scene.await_turn();
    scene.finish(turn, Finish::Wait { reason: WaitReason::NoMatchingGrant, until: None });
    assert_eq!(Some(scene.now + scene.wait_of().unwrap()), second);
}
