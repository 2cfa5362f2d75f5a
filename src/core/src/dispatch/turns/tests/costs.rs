//! The costs of the dispatcher, in bytes and comparisons.

use std::mem::size_of;

use super::{super::*, Scene, place, request};
use crate::dispatch::{key::UserKey, steps, turns::entries::Entry};

/// The most comparisons of a put, a turn and a removal, among this many requests.
fn costs(number: u32, spread: impl Fn(u32) -> (Request, Place)) -> [u64; 3] {
    let mut scene = Scene::new();
    let (mut put, mut turn, mut removed) = (0, 0, 0);
    for uid in 0..number {
        let (request, place) = spread(uid);
        put = put.max(steps::of(|| scene.put(request, place)).0);
    }
    for uid in 0..number.min(500) {
        let (cost, _) = steps::of(|| scene.served(1));
        turn = turn.max(cost);
        let (request, place) = spread(uid);
        put = put.max(steps::of(|| scene.put(request, place)).0);
        let key = spread(number - 1 - uid).0.key;
        removed = removed.max(steps::of(|| scene.dispatcher.remove(key, scene.now)).0);
    }
    [put, turn, removed]
}

type Spread = fn(u32) -> (Request, Place);

#[test]
fn costs_grow_with_the_logarithm_of_the_number() {
    let one_user = |uid| Request { user: Some(UserKey::of("pool", "alice")), ..request(uid, uid % 9, 0) };
    let mixed: Spread = |uid| (request(uid, uid % 1000, 0), place(uid % 48, uid % 3));
    let spreads: [(&str, Spread); 6] = [
        ("one namespace", |uid| (request(uid, 1, 0), place(0, 1))),
        ("a namespace each", |uid| (request(uid, uid, 0), place(0, 1))),
        ("a pool each", |uid| (request(uid, 1, 0), place(0, uid))),
        ("a namespace each, one grant at its rate", |uid| (request(uid, uid, 0), place(4, 1))),
        ("a namespace each, half of them by such a grant", |uid| (request(uid, uid, 0), place(4 * (uid % 2), 1))),
        ("mixed", mixed),
    ];
    let cases = spreads.into_iter().flat_map(|(name, spread)| [(name, spread, 100), (name, spread, 10_000)]);
    for (name, spread, number) in cases.chain([("mixed", mixed, 100_000_u32)]) {
        let most = 40 * u64::from(number.ilog2());
        let costs = costs(number, spread);
        assert!(costs.iter().all(|cost| *cost <= most), "{name}, {number}: {costs:?} of {most}");
    }
    // Many requests of one user are met once each, and not at each turn.
    let (number, mut scene) = (10_000, Scene::new());
    (0..number).for_each(|uid| scene.put(one_user(uid), place(0, 1)));
    let held = scene.await_turn();
    let (cost, _) = steps::of(|| {
        scene.now += std::time::Duration::from_secs(1);
        assert_eq!(scene.next(), None);
        scene.finish(held, Finish::Done);
        for _ in 0..100 {
            let turn = scene.await_turn();
            scene.now += std::time::Duration::from_secs(1);
            assert_eq!(scene.next(), None);
            scene.finish(turn, Finish::Done);
        }
    });
    let most = u64::from(number + 100) * 40 * u64::from(number.ilog2());
    assert!(cost <= most, "{cost} of {most}");
}

#[test]
fn waiting_request_takes_few_bytes() {
    // The entry in an ordered map that is half full, and four keys in such sets.
    let entry = 2 * (size_of::<Key>() + size_of::<Entry>());
    let keys = 4 * 2 * size_of::<(Instant, Key)>();
    assert!(entry + keys <= 640, "{entry} + {keys}");
    assert!(size_of::<Entry>() <= 176, "{}", size_of::<Entry>());
}
