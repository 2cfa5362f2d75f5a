//! Grants that limit their requests within a lane.

use proptest::prelude::*;

use super::{super::*, Scene, limits, millis, place, request};
use crate::dispatch::pace::{LATE, Rate};

/// A place whose grant has this rate.
fn limited(rate: f64) -> Place {
    let grant = Some(GrantLimits { grant: "slow".into(), rate: Some(Rate::per_second(rate)), weight: 1 });
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

#[test]
fn weight_of_a_grant_gives_its_namespace_more_turns() {
    let mut scene = Scene::new();
    (0..40).for_each(|uid| scene.put(request(uid, 1, 0), place(8, 1)));
    (40..80).for_each(|uid| scene.put(request(uid, 2, 0), place(0, 1)));
    let of_grant = scene.served(40).iter().filter(|uid| **uid < 40).count();
    assert_eq!(of_grant, 30);
}

#[test]
fn rate_of_a_grant_that_is_changed_takes_effect_at_once() {
    let mut scene = Scene::new();
    (0..9).for_each(|uid| scene.put(request(uid, 1, 0), limited(0.01)));
    scene.served(1);
    for (uid, rate, wait) in [(20, 1.0, 1000), (21, 0.1, 10_000), (22, 5.0, 200)] {
        scene.put(request(uid, 1, 0), limited(rate));
        let wanted = millis(wait)..millis(wait + 1);
        assert!(scene.wait_of().is_some_and(|wait| wanted.contains(&wait)), "{rate}: {:?}", scene.wait_of());
    }
    // A lower rate closes a grant that was open.
    scene.now += millis(300);
    scene.put(request(23, 1, 0), limited(0.01));
    assert!(scene.wait_of().is_some_and(|wait| wait > millis(99_000)), "{:?}", scene.wait_of());
    assert_eq!(scene.next(), None);
    let unlimited = GrantLimits { grant: "slow".into(), rate: None, weight: 1 };
    scene.put(request(30, 1, 0), Place { grant: Some(unlimited), ..place(0, 0) });
    assert!(scene.wait_of().is_some_and(|wait| wait < millis(101)), "only the lane limits");
    assert_eq!(scene.served(13).len(), 13);
}

#[test]
fn grant_at_its_rate_does_not_forget_it_with_its_last_request() {
    let mut scene = Scene::new();
    let start = scene.now;
    for uid in 0..5 {
        scene.put(request(uid, 1, 0), limited(0.5));
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
        rate in 0.5..50.0f64,
        polls in proptest::collection::vec((0..60u64, any::<bool>()), 50..400),
    ) {
        let mut now = Instant::now();
        let mut dispatcher = Dispatcher::new(limits(), now);
        let mut turns = Vec::new();
        for (uid, (wait, is_churn)) in (0..).zip(polls) {
            let key = request(uid, 0, 0).key;
            dispatcher.put(request(uid, uid % 5, 0), limited(rate), None, false, now);
            now += millis(wait);
            if let Some(turn) = dispatcher.next(now) {
                turns.push(now);
                dispatcher.finished(turn, Finish::Done, now);
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
