//! Explores every order of events around the production functions `decide`, `Knowledge` and the ledger's rules: see
//! `world.rs` for what there is, `steps.rs` for what can happen, `walk.rs` for how it is explored.
//!
//! No time limit, lease or wait is trusted here: a pass may begin at any moment over any request, an open claim may be
//! resolved while its call is on its way, and a holder may send long after. What holds here holds without them.
//!
//! The walk is our own, because liveness and rest are questions to the whole graph, which checkers of paths do not keep.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; what is wrong ends it"
)]

mod steps;
mod walk;
mod world;

use cognito_reset_operator::{
    api::{Effect, Evidence, Outcome},
    reset::ledger,
};
use walk::{Sight, Walk};
use world::World;

/// Fewer or more faults than each walk's own number: `MODEL_FAULTS=1` adds one to each.
const MORE: &str = "MODEL_FAULTS";

fn reason(world: &World, subject: usize) -> &str {
    let status = world.requests[subject].as_ref().and_then(|request| request.status.as_ref());
    status
        .and_then(|status| status.conditions.iter().find(|it| it.type_ == "Ready"))
        .map_or("", |it| it.reason.as_str())
}

fn invalidated(world: &World, subject: usize) -> &str {
    let status = world.requests[subject].as_ref().and_then(|request| request.status.as_ref());
    let found = status.and_then(|status| status.conditions.iter().find(|it| it.type_ == "PasswordInvalidated"));
    found.map_or("", |it| it.status.as_str())
}

/// Safety: what holds in every state.
fn safe(world: &World) -> Result<(), &'static str> {
    if let Some(broken) = world.broken {
        return Err(broken);
    }
    for subject in 0..world.requests.len() {
        let truths = || world.attempts.iter().filter(move |(_, truth)| truth.subject == subject);
        let performed: u8 = truths().map(|(_, truth)| truth.performed).sum();
        if performed > 1 {
            return Err("Cognito performs a request at most once");
        }
        let record = world.records[subject].as_ref();
        let last = record.and_then(|record| ledger::last(record));
        let truth = last.and_then(|last| world.attempts.get(&last.id));
        let since = truth.map_or(0, |truth| truth.snapshot);
        let reset_since = world.user.iter().skip(since + 1).any(|reset| *reset);
        match record.and_then(|record| record.spec.effect) {
            Some(Effect::NotPerformed) if truth.is_some_and(|truth| truth.performed > 0) => {
                return Err("an attempt that is recorded as NotPerformed was not performed");
            }
            Some(Effect::Performed) if !reset_since => {
                return Err("Performed says that the password was invalidated since the snapshot");
            }
            _ => {}
        }
        match (world.outcome(subject), invalidated(world, subject)) {
            (Some(Outcome::Succeeded), "True") if reset_since => {}
            (Some(Outcome::Succeeded), _) => {
                return Err("Succeeded says that the password was invalidated since the snapshot");
            }
            (Some(Outcome::Failed), "False") if performed > 0 => {
                return Err("PasswordInvalidated=False says that no reset was or will be performed");
            }
            (_, "True") if !world.user.contains(&true) => return Err("PasswordInvalidated=True says that it was"),
            _ => {}
        }
        if reason(world, subject) == "ResetAccepted" && performed != 1 {
            return Err("ResetAccepted says that Cognito performed it");
        }
    }
    Ok(())
}

fn some(world: &World, is: impl Fn(usize) -> bool) -> bool {
    (0..world.requests.len()).any(is)
}

fn ended(world: &World, outcome: Outcome, of_reason: &str) -> bool {
    some(world, |subject| world.outcome(subject) == Some(outcome) && reason(world, subject) == of_reason)
}

fn evidence(world: &World, of_effect: Effect, of: Evidence) -> bool {
    some(world, |subject| {
        let record = world.records[subject].as_ref();
        record.is_some_and(|record| record.spec.effect == Some(of_effect))
            && record.and_then(|record| ledger::last(record)).and_then(|last| last.evidence) == Some(of)
    })
}

/// What one fault is enough for.
const SIGHTS: &[Sight] = &[
    ("ResetAccepted", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
    ("ConfirmedByProbe", |world| ended(world, Outcome::Succeeded, "ConfirmedByProbe")),
    ("OutcomeUnknown", |world| ended(world, Outcome::Unknown, "OutcomeUnknown")),
    ("refused", |world| ended(world, Outcome::Failed, "UserNotFoundException")),
    ("invalidated, but failed", |world| {
        ended(world, Outcome::Failed, "CodeDeliveryFailureException") && invalidated(world, 0) == "True"
    }),
    ("DeadlineExceeded", |world| ended(world, Outcome::Failed, "DeadlineExceeded")),
    ("performed after a further attempt", |world| {
        evidence(world, Effect::Performed, Evidence::Answer) && world.attempts.len() > 1
    }),
    ("never sent", |world| evidence(world, Effect::NotPerformed, Evidence::NeverSent)),
    ("no connection", |world| evidence(world, Effect::NotPerformed, Evidence::Unreachable)),
    ("over, with an open claim", |world| {
        world.over && some(world, |subject| world.records[subject].as_ref().is_some_and(|it| it.spec.effect.is_none()))
    }),
    ("an orphaned claim was settled", |world| {
        world.at_rest() && some(world, |subject| world.requests[subject].is_none() && world.records[subject].is_some())
    }),
    ("performed though recorded as Unknown", |world| {
        evidence(world, Effect::Unknown, Evidence::Inconclusive) && world.attempts.values().any(|it| it.performed > 0)
    }),
];

/// What takes two replicas.
const SHARED: &[Sight] = &[
    ("a claim that is resolved while its holder still waits", |world| {
        let calling = world.replicas.iter().flatten().any(|pass| matches!(pass.phase, world::Phase::Calling(_)));
        calling && evidence(world, Effect::Unknown, Evidence::Inconclusive)
    }),
    ("an answer that turns Unknown into Performed", |world| {
        let unknown = some(world, |subject| world.outcome(subject) == Some(Outcome::Unknown));
        unknown && evidence(world, Effect::Performed, Evidence::Answer)
    }),
];

/// What takes a deletion.
const AGAIN: &[Sight] = &[("AlreadyPerformed", |world| ended(world, Outcome::Succeeded, "AlreadyPerformed"))];

/// Walks one configuration and prints its size.
fn explore(name: &str, subjects: usize, replicas: usize, reset_before: bool, faults: u8, sights: &[&[Sight]]) {
    let more: u8 = std::env::var(MORE).ok().map_or(0, |text| text.parse().expect("MODEL_FAULTS is a number"));
    let faults = faults + more;
    let sights = sights.concat();
    let walk = Walk::from(World::new(subjects, replicas, reset_before, faults), safe, &sights)
        .unwrap_or_else(|broken| panic!("{name}: {broken}"));
    println!(
        "{name}: {} states, {} steps, depth {}, {faults} faults, {subjects} requests, {replicas} replicas, {:.1?}",
        walk.states(),
        walk.edges,
        walk.depth,
        walk.took
    );
    assert_eq!(walk.unseen(&sights), Vec::<&str>::new(), "{name}: never reached");
    walk.rests().unwrap_or_else(|broken| panic!("{name}: {broken}"));
    walk.ends().unwrap_or_else(|broken| panic!("{name}: {broken}"));
}

#[test]
fn one_replica_and_one_request() {
    explore("one replica", 1, 1, false, 2, &[SIGHTS, AGAIN]);
}

#[test]
fn a_user_who_already_has_to_reset() {
    explore("reset before", 1, 1, true, 2, &[]);
}

#[test]
fn two_replicas_without_a_lease() {
    explore("two replicas", 1, 2, false, 1, &[SHARED]);
}

#[test]
fn two_requests_of_one_user() {
    explore("two requests, one replica", 2, 1, false, 1, &[]);
    explore("two requests, two replicas", 2, 2, false, 0, &[]);
}
