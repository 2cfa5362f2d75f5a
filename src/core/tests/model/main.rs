//! Explores every order of events around the production machine.
//!
//! `world.rs` defines the world, `steps.rs` and `around.rs` define the steps, and `walk.rs`
//! explores them. `reductions.rs` keeps the number of states small. For each command of a machine,
//! `steps.rs` enumerates every event that the world could return.
//!
//! The model trusts no timeout, lease or wait. A reconcile may begin at any moment for any request,
//! an open claim may be resolved while its call is in flight, and a process may call long after it
//! claimed. A property that holds here does not depend on them.
//!
//! The walk is implemented here, because liveness and rest are properties of the whole graph, which
//! checkers of paths do not keep.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; what is wrong ends it"
)]

mod around;
mod graph;
mod reductions;
mod steps;
mod walk;
mod world;

use std::collections::BTreeSet;

use cognito_reset_api::{CloseCause, Effect, Evidence, Outcome, UserStateSource};
use cognito_reset_core::{ledger, machine::Command};
use walk::{Sight, Walk};
use world::{EXPIRES, Hold, Message, Record, Start, World};

/// Adds faults to the number of each walk: `MODEL_FAULTS=1` adds one.
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

/// Checks the safety properties, which hold in every state.
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
        let since = truth.map_or(0, |truth| truth.snapshot.moment);
        let reset_since = world.user.iter().skip(since + 1).any(|reset| *reset);
        match record.and_then(|record| record.spec.effect) {
            Some(Effect::NotPerformed) if performed > 0 => {
                return Err("what is recorded as NotPerformed was not performed");
            }
            Some(Effect::Performed) if !reset_since => {
                return Err("Performed says that the password was invalidated since the snapshot");
            }
            _ => {}
        }
        let closed = record.and_then(|record| record.spec.closed.as_ref()).map(|closed| closed.cause);
        if matches!(closed, Some(CloseCause::Expired | CloseCause::DeadlineExceeded)) && !world.server_over {
            return Err("a deadline closes a record only after the API server's clock has passed it");
        }
        match (world.outcome(subject), invalidated(world, subject)) {
            (Some(Outcome::Succeeded), "True") if reset_since => {}
            (Some(Outcome::Succeeded), "True")
                if reason(world, subject) == "AlreadyResetRequired" && world.user.contains(&true) => {}
            // A list may show a state that is over, and the status does not say that it is true.
            (Some(Outcome::Succeeded), "Unknown") if reason(world, subject) == "AlreadyResetRequired" => {}
            (Some(Outcome::Succeeded), _) => {
                return Err("Succeeded says that the password was invalidated since the snapshot");
            }
            (Some(Outcome::Failed), "False") if performed > 0 => {
                return Err("PasswordInvalidated=False says that no reset was or will be performed");
            }
            (Some(Outcome::Failed), "True") if !reset_since => {
                return Err("an exception after a reset says that the password was invalidated since the snapshot");
            }
            (_, "True") if !world.user.contains(&true) => return Err("PasswordInvalidated=True says that it was"),
            _ => {}
        }
        if reason(world, subject) == "ResetAccepted" && performed != 1 {
            return Err("ResetAccepted says that Cognito performed it");
        }
    }
    if world.requests.len() > 1 && !credits(world) {
        return Err("one reset is credited to one request");
    }
    Ok(())
}

/// Returns true if each request that is recorded as Performed can be credited with a reset of its
/// own. A response of Cognito credits the reset that it is about; a probe credits any reset since
/// the snapshot.
fn credits(world: &World) -> bool {
    let mut credited = BTreeSet::new();
    let mut performed = 0;
    for record in world.records.iter().flatten().filter(|record| record.spec.effect == Some(Effect::Performed)) {
        let last = ledger::last(record).expect("what is performed has an attempt");
        let truth = &world.attempts[&last.id];
        if truth.doubted {
            continue;
        }
        performed += 1;
        match last.evidence {
            Some(Evidence::UserStatusCheck) => {
                let resets = (truth.snapshot.moment + 1..world.user.len()).filter(|moment| world.user[*moment]);
                credited.extend(resets);
            }
            _ => credited.extend(truth.moment),
        }
    }
    // There are at most two requests.
    performed <= credited.len()
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

/// The situations that take one fault.
const SIGHTS: &[Sight] = &[
    ("ResetAccepted", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
    ("ConfirmedByProbe", |world| ended(world, Outcome::Succeeded, "ConfirmedByProbe")),
    ("OutcomeUnknown", |world| ended(world, Outcome::Unknown, "OutcomeUnknown")),
    ("refused", |world| ended(world, Outcome::Failed, "UserNotFoundException")),
    ("invalidated, but failed", |world| {
        ended(world, Outcome::Failed, "CodeDeliveryFailureException") && invalidated(world, 0) == "True"
    }),
    ("DeadlineExceeded", |world| ended(world, Outcome::Failed, "DeadlineExceeded")),
    ("closed after an attempt without effect", |world| {
        some(world, |subject| {
            let record = world.records[subject].as_ref();
            record.is_some_and(|record| record.spec.closed.is_some() && !record.spec.attempts.is_empty())
        })
    }),
    ("performed after a further attempt", |world| {
        let calls: u8 = world.attempts.values().map(|truth| truth.calls).sum();
        evidence(world, Effect::Performed, Evidence::CognitoResponse) && calls > 1
    }),
    ("a clock that runs ahead", |world| some(world, |subject| reason(world, subject) == "ClockSkew")),
    ("not confirmed", |world| some(world, |subject| reason(world, subject) == "GrantsNotConfirmed")),
    ("held", |world| some(world, |subject| reason(world, subject) == "UserPoolHeld")),
    ("not sent again, because the user's state contradicts a response", |world| {
        ended(world, Outcome::Unknown, "OutcomeUnknown")
            && some(world, |subject| world.records[subject].as_ref().is_some_and(|it| ledger::is_contradicted(it)))
    }),
    ("waiting for a turn", |world| some(world, |subject| reason(world, subject) == "RateLimited")),
    ("a record was assumed to be absent, and there is one", |world| {
        world.replicas.iter().flatten().any(|task| {
            let is_creation = |record: &Record| record.metadata.resource_version.is_none();
            let creates = matches!(&task.command, Command::WriteRecord { record, .. } if is_creation(record));
            creates && world.wire.is_empty() && world.records[task.subject].is_some()
        })
    }),
    ("never sent", |world| evidence(world, Effect::NotPerformed, Evidence::NeverSent)),
    ("no connection", |world| evidence(world, Effect::NotPerformed, Evidence::Unreachable)),
    ("over, with an open claim", |world| {
        world.over.contains(&true)
            && some(world, |subject| world.records[subject].as_ref().is_some_and(|it| it.spec.effect.is_none()))
    }),
    ("an orphaned claim was settled", |world| {
        world.at_rest() && some(world, |subject| world.requests[subject].is_none() && world.records[subject].is_some())
    }),
    ("performed though recorded as Unknown", |world| {
        evidence(world, Effect::Unknown, Evidence::Inconclusive) && world.attempts.values().any(|it| it.performed > 0)
    }),
];

/// The situations that take two replicas.
const SHARED: &[Sight] = &[
    ("a claim that is resolved while its holder still waits", |world| {
        let calling = world.replicas.iter().flatten().any(|task| task.waits_for().is_some());
        calling && evidence(world, Effect::Unknown, Evidence::Inconclusive)
    }),
    ("a response that turns Unknown into Performed", |world| {
        let unknown = some(world, |subject| world.outcome(subject) == Some(Outcome::Unknown));
        unknown && evidence(world, Effect::Performed, Evidence::CognitoResponse)
    }),
    ("applied again over an open claim that is on its way to Cognito", |world| {
        let calling = world.wire.iter().any(|message| matches!(message, Message::Call { performed: false, .. }));
        calling
            && some(world, |subject| {
                let uid = world.requests[subject].as_ref().and_then(|request| request.metadata.uid.as_ref());
                let open = world.records[subject].as_ref().filter(|record| record.spec.effect.is_none());
                let last = open.and_then(|record| ledger::last(record)).map(|last| &last.origin.request_uid);
                uid.is_some() && last.is_some() && uid != last
            })
    }),
];

/// The situations that take a deletion.
const AGAIN: &[Sight] = &[
    ("AlreadyPerformed", |world| ended(world, Outcome::Succeeded, "AlreadyPerformed")),
    ("applied again after its ungranted record was deleted", |world| {
        some(world, |subject| {
            world.requests[subject].is_some() && world.records[subject].is_none() && world.has_been_closed(subject)
        })
    }),
];

/// The situations that take a user who already has to reset.
const BEFORE: &[Sight] = &[
    ("ResetAccepted", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
    ("OutcomeUnknown, and the user has to reset", |world| {
        ended(world, Outcome::Unknown, "OutcomeUnknown") && invalidated(world, 0) == "True"
    }),
];

/// The situations that take a request that asks to skip, and expires.
const CAUTIOUS: &[Sight] = &[
    ("AlreadyResetRequired", |world| ended(world, Outcome::Succeeded, "AlreadyResetRequired")),
    ("Expired", |world| ended(world, Outcome::Failed, "Expired")),
    ("ResetAccepted", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
    ("an expiry remembered after the end", |world| {
        some(world, |subject| {
            let record = world.records[subject].as_ref();
            let spec = record.map(|record| &record.spec).filter(|spec| spec.effect.is_some());
            spec.and_then(|spec| spec.not_after.as_ref()).is_some_and(|time| time.0 == EXPIRES[1])
        })
    }),
];

/// The situations that take two requests.
const BOTH: &[Sight] = &[("both are performed", |world| {
    world.at_rest() && world.attempts.values().filter(|truth| truth.performed == 1).count() == 2
})];

/// The situations that take two requests and a lost call.
const CREDITED: &[Sight] = &[
    ("a probe that is not believed, because the other request may have reset the user", |world| {
        let count = |outcome| (0..world.requests.len()).filter(|it| world.outcome(*it) == Some(outcome)).count();
        let performed: u8 = world.attempts.values().map(|truth| truth.performed).sum();
        world.at_rest() && count(Outcome::Succeeded) == 1 && count(Outcome::Unknown) == 1 && performed == 1
    }),
    ("a probe that is believed beside an earlier reset", |world| {
        let performed = world.attempts.values().filter(|truth| truth.performed == 1).count() == 2;
        performed
            && ended(world, Outcome::Succeeded, "ConfirmedByProbe")
            && !some(world, |it| world.outcome(it) != Some(Outcome::Succeeded))
    }),
];

/// The situations that take a reset by somebody else.
const BY_OTHERS: &[Sight] = &[("ConfirmedByProbe, by somebody else's reset", |world| {
    let performed = world.attempts.values().any(|truth| truth.performed > 0);
    ended(world, Outcome::Succeeded, "ConfirmedByProbe") && !performed
})];

/// The situations that take a user whom nobody reads.
const UNREAD: &[Sight] = &[
    ("ResetAccepted", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
    ("OutcomeUnknown, and nobody knows whether the user has to reset", |world| {
        let performed = world.attempts.values().any(|truth| truth.performed > 0);
        performed && ended(world, Outcome::Unknown, "OutcomeUnknown") && invalidated(world, 0) == "Unknown"
    }),
    ("held, because the user is not read", |world| {
        world.rules.hold == Hold::User && some(world, |subject| reason(world, subject) == "UserPoolHeld")
    }),
];

/// The situations that take a list of users.
const LISTED: &[Sight] = &[
    ("OutcomeUnknown, although nobody else can have reset the user", |world| {
        let performed = world.attempts.values().any(|truth| truth.performed > 0);
        performed && ended(world, Outcome::Unknown, "OutcomeUnknown") && invalidated(world, 0) == "True"
    }),
    ("AlreadyResetRequired, by a list", |world| {
        world.attempts.is_empty() && ended(world, Outcome::Succeeded, "AlreadyResetRequired")
    }),
    ("ResetAccepted, by a list", |world| ended(world, Outcome::Succeeded, "ResetAccepted")),
];

/// Formats a number as people write it.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Walks one configuration, prints its size, and checks that the documentation has it.
fn explore(name: &str, start: Start, sights: &[&[Sight]]) {
    let more: u8 = std::env::var(MORE).ok().map_or(0, |text| text.parse().expect("MODEL_FAULTS is a number"));
    let start = Start { faults: start.faults + more, ..start };
    let sights = sights.concat();
    let walk = Walk::from(World::new(start), safe, &sights).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    let Start { requests, replicas, faults, .. } = start;
    let (states, depth) = (grouped(walk.states()), walk.depth);
    let row = format!("| {name} | {replicas} | {requests} | {faults} | {states} | {depth} |");
    println!("{row} {} steps, {:.1?}", grouped(walk.edges), walk.took);
    assert_eq!(walk.unseen(&sights), Vec::<&str>::new(), "{name}: never reached");
    walk.rests().unwrap_or_else(|broken| panic!("{name}: {broken}"));
    walk.ends().unwrap_or_else(|broken| panic!("{name}: {broken}"));
    let documented = include_str!("../../../../docs/architecture.md").contains(&row);
    assert!(more > 0 || documented, "docs/architecture.md does not have the row {row}");
}

const ONE: Start = Start {
    requests: 1,
    replicas: 1,
    reset_before: false,
    cautious: false,
    sources: [UserStateSource::AdminGetUser; 2],
    one_clock: false,
    faults: 3,
};

#[test]
fn one_replica_and_one_request() {
    explore("one replica", ONE, &[SIGHTS, AGAIN, BY_OTHERS]);
}

#[test]
fn a_user_who_already_has_to_reset() {
    explore("the user has to reset before", Start { reset_before: true, ..ONE }, &[BEFORE]);
}

#[test]
fn a_request_that_expires_and_skips_who_already_has_to_reset() {
    explore("skip, and expire", Start { reset_before: true, cautious: true, ..ONE }, &[CAUTIOUS]);
}

#[test]
fn a_user_who_is_listed() {
    let sources = [UserStateSource::ListUsers; 2];
    explore("ListUsers, and skip", Start { sources, cautious: true, ..ONE }, &[LISTED]);
}

#[test]
fn a_user_whom_nobody_reads() {
    explore("None", Start { sources: [UserStateSource::None; 2], faults: 2, ..ONE }, &[UNREAD]);
}

#[test]
fn two_requests_of_one_user_who_is_listed_for_one() {
    let sources = [UserStateSource::AdminGetUser, UserStateSource::ListUsers];
    explore("two requests, one by ListUsers", Start { sources, requests: 2, faults: 2, ..ONE }, &[BOTH, CREDITED]);
}

#[test]
fn two_replicas_without_a_lease() {
    explore("two replicas, no lease", Start { replicas: 2, faults: 1, ..ONE }, &[SHARED]);
}

#[test]
fn two_requests_of_one_user() {
    explore("two requests of one user", Start { requests: 2, faults: 2, ..ONE }, &[BOTH, CREDITED]);
}

#[test]
fn two_requests_of_one_user_and_two_replicas() {
    explore(
        "two requests and two replicas",
        Start { requests: 2, replicas: 2, one_clock: true, faults: 0, ..ONE },
        &[BOTH],
    );
}
