//! Grants that limit their requests within a lane.

use proptest::prelude::*;

use cognito_reset_api::Exception;

use super::{super::*, Scene, limits, millis, place, request, response};
use crate::{
    action::response::{Code, ResetResponse},
    dispatch::pace::{LATE, Rate},
};

/// A place whose grant has this rate.
fn limited(per_minute: u32) -> Place {
    let grant = Some(GrantLimits { grant: "slow".into(), per_minute: Some(per_minute), share_percent: None }.into());
    Place { grant, ..place(0, 0) }
}

#[test]
fn grant_at_its_rate_keeps_up_nobody() {
    let mut scene = Scene::new();
    (0..40).for_each(|uid| scene.put(request(uid, uid % 2, 0), place(4, 1)));
    (40..60).for_each(|uid| scene.put(request(uid, 1, 0), place(0, 1)));
    let start = scene.now;
    let served = scene.served(24);
    let of_grant = served.iter().filter(|uid| **uid < 40).count();
    assert!((4..=5).contains(&of_grant), "two a second: {served:?}");
    assert!(scene.now - start < millis(2302), "{:?}", scene.now - start);
}

/// A place of the same lane without limits.
fn unlimited() -> Place {
    place(0, 1)
}

/// A place whose grant takes a quarter of the turns while others wait.
fn modest() -> Place {
    place(8, 1)
}

#[test]
fn grant_takes_its_share_while_others_wait_and_else_all() {
    let mut scene = Scene::new();
    // Three of four namespaces would have three of four turns.
    (0..90).for_each(|uid| scene.put(request(uid, uid % 3, 0), modest()));
    (100..160).for_each(|uid| scene.put(request(uid, 9, 0), unlimited()));
    let start = scene.now;
    let served = scene.served(80);
    let of_grant = served.iter().filter(|uid| **uid < 100).count();
    assert!((20..=21).contains(&of_grant), "{served:?}");
    for window in served.chunks(8) {
        assert!(window.iter().filter(|uid| **uid < 100).count() <= 3, "evenly spaced: {served:?}");
    }
    assert_eq!(scene.served(70).len(), 70);
    assert!(scene.now - start < millis(15_001), "no turn is lost: {:?}", scene.now - start);
}

#[test]
fn share_is_not_regained_by_leaving_the_queue() {
    let mut scene = Scene::new();
    (100..200).for_each(|uid| scene.put(request(uid, 9, 0), unlimited()));
    let mut of_grant = 0;
    for uid in 0..80 {
        // There is one request at a time, which is new, or gone before its turn.
        scene.put(request(uid, uid % 3, 0), modest());
        of_grant += scene.served(1).iter().filter(|uid| **uid < 100).count();
        scene.dispatcher.remove(request(uid, 0, 0).key, scene.now);
    }
    assert!((19..=21).contains(&of_grant), "{of_grant}");
}

#[test]
fn request_names_the_limit_of_its_grant_as_the_reason() {
    let mut scene = Scene::new();
    let reason = |scene: &Scene, uid| scene.dispatcher.reason_of(request(uid, 1, 0).key, scene.now);
    let is_known = |scene: &Scene, place| scene.dispatcher.expected_wait(&place, scene.now).is_some();
    (0..3).for_each(|uid| scene.put(request(uid, 1, 0), limited(30)));
    (10..13).for_each(|uid| scene.put(request(uid, 2, 0), modest()));
    (20..30).for_each(|uid| scene.put(request(uid, 3, 0), unlimited()));
    assert_eq!(scene.served(3), [0, 10, 20]);
    assert_eq!(reason(&scene, 1), Some(WaitsFor::Grant(GrantLimit::Rate)));
    assert_eq!(reason(&scene, 11), Some(WaitsFor::Grant(GrantLimit::Share)));
    assert_eq!(reason(&scene, 21), Some(WaitsFor::Turn));
    assert_eq!([limited(30), modest(), unlimited()].map(|place| is_known(&scene, place)), [false, false, true]);
    // What stops all calls is the better reason.
    let turn = scene.await_turn();
    let throttled = ResetResponse::Exception(Code::Known(Exception::TooManyRequests));
    scene.dispatcher.responded(&turn, &response(&throttled, scene.now), scene.now);
    assert_eq!(reason(&scene, 1), Some(WaitsFor::Throttled));
    scene.finish(turn, Finish::Done);
}

#[test]
fn rate_of_a_grant_that_is_changed_takes_effect_at_once() {
    let mut scene = Scene::new();
    (0..9).for_each(|uid| scene.put(request(uid, 1, 0), limited(1)));
    scene.served(1);
    for (uid, rate, wait) in [(20, 60, 1000), (21, 6, 10_000), (22, 300, 200)] {
        scene.put(request(uid, 1, 0), limited(rate));
        let wanted = millis(wait)..millis(wait + 1);
        assert!(scene.wait_of().is_some_and(|wait| wanted.contains(&wait)), "{rate}: {:?}", scene.wait_of());
    }
    // A lower rate closes a grant that was open.
    scene.now += millis(300);
    scene.put(request(23, 1, 0), limited(1));
    assert!(scene.wait_of().is_some_and(|wait| wait > millis(59_000)), "{:?}", scene.wait_of());
    assert_eq!(scene.next(), None);
    let without_rate = GrantLimits { grant: "slow".into(), per_minute: None, share_percent: None };
    scene.put(request(30, 1, 0), Place { grant: Some(without_rate.into()), ..place(0, 0) });
    assert!(scene.wait_of().is_some_and(|wait| wait < millis(101)), "only the lane limits");
    assert_eq!(scene.served(13).len(), 13);
}

#[test]
fn grant_at_its_rate_does_not_forget_it_with_its_last_request() {
    let mut scene = Scene::new();
    let start = scene.now;
    for uid in 0..5 {
        scene.put(request(uid, 1, 0), limited(30));
        assert_eq!(scene.served(1), [uid]);
        // Its queue is empty until the next request is created.
        assert_eq!(scene.next(), None);
    }
    assert!(scene.now - start >= millis(8000), "{:?}", scene.now - start);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However turns are mixed, the rate of a grant holds in any window.
    #[test]
    fn grant_keeps_its_rate_in_any_window(
        per_minute in 30..3000_u32,
        polls in proptest::collection::vec((0..60u64, any::<bool>()), 50..400),
    ) {
        let mut now = Instant::now();
        let mut dispatcher = Dispatcher::new(limits(), now);
        let (mut turns, rate) = (Vec::new(), Rate::per_minute(per_minute).as_per_second());
        for (uid, (wait, is_churn)) in (0..).zip(polls) {
            let key = request(uid, 0, 0).key;
            dispatcher.put(request(uid, uid % 5, 0), limited(per_minute), None, false, now);
            now += millis(wait);
            if let Some(turn) = dispatcher.next(now) {
                turns.push(now);
                dispatcher.finished(&turn, Finish::Done, now);
            }
            if is_churn {
                dispatcher.remove(key, now);
            }
        }
        for (first, begin) in turns.iter().enumerate() {
            for (number, end) in turns[first..].iter().enumerate() {
                let most = rate.mul_add((*end - *begin + LATE).as_secs_f64(), 1.0) + 1e-6;
                prop_assert!((number + 1) as f64 <= most, "{} turns, at most {most}", number + 1);
            }
        }
    }
}
