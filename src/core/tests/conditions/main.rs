//! Presents every state of a request, as its status shows it, to tools that judge it without
//! knowing the operator: kstatus, `kubectl wait` and generic health checks, each by its own written
//! rules.

#![allow(clippy::indexing_slicing, reason = "of JSON, which returns null")]

mod grants;
mod states;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use cognito_reset_api::{
    Attempt, CloseCause, Closed, Effect, Evidence, Exception, Origin, PasswordResetRecord, PasswordResetRequest,
    UserStateSource, UserStatus, WaitReason,
};
use cognito_reset_core::{
    action::{port::CredentialsReason, response::Class},
    invalid_objects::{self, Kind},
    ledger::{self, Backoff, Finding, Identity, Ledger, Settlement, Settling, Waits},
    machine::{
        decide::{Step, decide},
        state::{
            Credentials, Desired, Pace, PaceReason, Permission, RecordWrite, Refused, Request, Snapshot, State, Turn,
        },
        status::{self, StatusUpdate},
    },
    refusal::Refuser,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use regex::Regex;
use serde_json::{Value, json};
use tools::{conditions, health, kstatus, kubectl_wait_returns};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LATER: Timestamp = Timestamp::constant(1_800_000_060, 0);
const PATIENCE: Waits = Waits {
    backoff: Backoff { initial: SignedDuration::from_secs(10), max: SignedDuration::from_secs(600) },
    in_flight: SignedDuration::from_secs(60),
};

/// An unknown code of the greatest length.
const LONGEST: &str = "BrandNewNewNewNewNewNewNewNewNewNewNewNewNewNewNewNewNewNewNewNe";

const SUCCEEDED: &str = "condition=Succeeded";
const READY: &str = "condition=Ready";
const STALLED: &str = "condition=Stalled";
const COMPLETED: &str = "jsonpath={.status.completionTime}";
const WAITS: [&str; 4] = [SUCCEEDED, READY, STALLED, COMPLETED];

const TYPES: [&str; 5] = ["Succeeded", "Ready", "Reconciling", "Stalled", "PasswordInvalidated"];
type Row = (&'static str, [&'static str; 5], &'static str, &'static str, &'static [&'static str]);

/// The state, its conditions in the order of [`TYPES`], its kstatus, its health, and the conditions
/// that `kubectl wait` returns for.
#[rustfmt::skip]
const TABLE: [Row; 8] = [
    ("unseen",                        ["–",       "Unknown", "–",    "–",    "–"],       "InProgress", "progressing", &[]),
    ("waiting",                       ["Unknown", "Unknown", "True", "–",    "Unknown"], "InProgress", "progressing", &[]),
    ("waiting: reset, not stored",    ["Unknown", "Unknown", "True", "–",    "True"],    "InProgress", "progressing", &[]),
    ("reset",                         ["True",    "True",    "–",    "–",    "True"],    "Current",    "healthy",     &[SUCCEEDED, READY, COMPLETED]),
    ("failed: nothing happened",      ["False",   "False",   "–",    "True", "False"],   "Failed",     "broken",      &[STALLED, COMPLETED]),
    ("failed: invalidated",           ["False",   "False",   "–",    "True", "True"],    "Failed",     "broken",      &[STALLED, COMPLETED]),
    ("unknown",                       ["Unknown", "False",   "–",    "True", "Unknown"], "Failed",     "broken",      &[STALLED, COMPLETED]),
    ("unknown: seen RESET_REQUIRED",  ["Unknown", "False",   "–",    "True", "True"],    "Failed",     "broken",      &[STALLED, COMPLETED]),
];

fn request() -> Result<PasswordResetRequest> {
    let spec = json!({ "userPoolID": "eu-west-1_Example01", "username": "alice@example.com" });
    let mut request = PasswordResetRequest::new("reset-alice", serde_json::from_value(spec)?);
    request.metadata.namespace = Some("support".into());
    request.metadata.uid = Some("uid".into());
    request.metadata.generation = Some(2);
    Ok(request)
}

fn claimed() -> Result<PasswordResetRecord> {
    let attempt = Attempt {
        user_status_before: Some(UserStatus::Confirmed),
        ..Attempt::new("a".into(), Origin::new("operator-1", "uid"), Time(NOW))
    };
    Ok(ledger::claimed(None, &Identity::of_request(&request()?), attempt))
}

/// Returns a refusal by the policy with the longest name.
fn refuser() -> Refuser {
    Refuser::UnreachableWebhook("a".repeat(253))
}

fn finding(effect: Effect, evidence: Evidence, code: Option<&str>, after: Option<UserStatus>) -> Finding {
    Finding {
        attempt_id: "a".into(),
        settlement: Settlement { effect, evidence },
        cause: None,
        code: code.map(str::to_owned),
        sent_at: None,
        aws_request_id: Some("aws".into()),
        user_status_after: after,
    }
}

fn settled(
    effect: Effect,
    evidence: Evidence,
    code: Option<&str>,
    after: Option<UserStatus>,
) -> Result<PasswordResetRecord> {
    match ledger::settled(&claimed()?, &finding(effect, evidence, code, after), NOW) {
        Settling::Write(record) => Ok(*record),
        Settling::Unchanged => bail!("an open claim is settled"),
    }
}

const DESIRED: Desired =
    Desired { suspended: false, expires: None, deadline: LATER, skip_if_reset_required: false, user_required: false };

/// Returns the state of a request that no gate holds back.
fn free() -> State {
    State {
        read_at: NOW,
        server_time: Some(NOW),
        request: Request::Pending(DESIRED),
        ledger: Ledger::Absent,
        permission: Permission::Granted,
        pace: Pace::Now,
        closing: Turn::Now,
        credentials: Credentials::Loaded,
        before: Snapshot::Read(UserStatus::Confirmed),
        user_evaluated: true,
        ..State::unknown(3)
    }
}

fn asking(desired: Desired) -> State {
    State { request: Request::Pending(desired), ..free() }
}

/// Returns the state after a refused write to the record.
fn refused(write: RecordWrite, desired: Desired) -> State {
    State { refused: Some(Refused { write, until: LATER }), ..asking(desired) }
}

/// The states in which a request waits without a record.
fn gates() -> Vec<State> {
    let skip = Desired { skip_if_reset_required: true, ..DESIRED };
    let denied = [
        WaitReason::NoMatchingGrant,
        WaitReason::ConflictingGrants,
        WaitReason::UserPoolHeld,
        WaitReason::GrantSuspended,
        WaitReason::NotAfterRequired,
        WaitReason::AwaitingApproval,
        WaitReason::RequesterUnverified,
        WaitReason::ApproverUnverified,
        WaitReason::RequesterNotIndependent,
        WaitReason::ApproverNotIndependent,
        WaitReason::SelfApproval,
        WaitReason::PendingLimitReached,
        WaitReason::ObjectTooLarge,
    ];
    let exhausted =
        [PaceReason::RateLimited, PaceReason::Throttled, PaceReason::DeliveryFailing, PaceReason::CognitoUnreachable];
    let mut gates = vec![
        asking(Desired { suspended: true, ..DESIRED }),
        State { user_busy: Some(LATER), ..free() },
        State {
            credentials: Credentials::Unavailable { until: LATER, reason: CredentialsReason::Unavailable },
            ..free()
        },
        State {
            credentials: Credentials::Unavailable { until: LATER, reason: CredentialsReason::RegionNotServed },
            ..free()
        },
        State { before: Snapshot::Unreadable { until: LATER }, ..asking(skip) },
        State { source: UserStateSource::None, ..asking(skip) },
        State { ledger: Ledger::NotUsable, ..free() },
        State { server_time: None, ..asking(Desired { deadline: NOW, ..DESIRED }) },
    ];
    gates.push(State { permission: Permission::NotConfirmed { until: LATER }, ..free() });
    gates.extend(denied.map(|reason| State { permission: Permission::Denied(reason), ..free() }));
    gates.extend(exhausted.map(|reason| State { pace: Pace::Later { until: LATER, reason }, ..free() }));
    gates
}

/// A state of the table, the state that was decided on, and the status that shows it.
struct Shown {
    state: &'static str,
    described: String,
    update: StatusUpdate,
    object: Value,
}

/// Every status that the decision can lead to.
#[derive(Default)]
struct Statuses(Vec<Shown>);

impl Statuses {
    fn show(
        &mut self,
        state: &'static str,
        from: &State,
        record: Option<&PasswordResetRecord>,
        uid: &str,
    ) -> Result<()> {
        let request = request()?;
        let update = match decide(from, NOW) {
            Step::Wait { reason: WaitReason::WriteRefused, .. } => {
                let refused = from.refused.context("nothing was refused")?;
                status::refused(refused.write, Some(&refuser()), &status::ended(record, Some(uid)))
            }
            Step::Wait { reason, .. } | Step::AwaitTurn { reason, .. } => status::waiting(reason),
            Step::WriteStatus => status::ended(record, Some(uid)),
            // The status follows as soon as the record is closed.
            Step::Close(cause) => {
                let closed = Closed {
                    cause,
                    exception_code: None,
                    user_status: None,
                    closed_at: Time(NOW),
                    ungranted: false,
                    origin: Origin::new("operator-1", "uid"),
                };
                let record = ledger::closed(record, &Identity::of_request(&request), closed);
                return self.record(state, DESIRED, &record);
            }
            step => bail!("{state}: {step:?} writes no status"),
        };
        self.push(state, record, update)
    }

    fn push(&mut self, state: &'static str, record: Option<&PasswordResetRecord>, update: StatusUpdate) -> Result<()> {
        let mut request = request()?;
        request.status = Some(status::status(&request, record, &update, NOW));
        let described = format!("{state}: {update:?}");
        self.0.push(Shown { state, described, update, object: serde_json::to_value(request)? });
        Ok(())
    }

    /// Adds an effect that is not stored.
    fn held_up(
        &mut self,
        state: &'static str,
        effect: Effect,
        evidence: Evidence,
        code: Option<&str>,
        after: Option<UserStatus>,
    ) -> Result<()> {
        let finding = finding(effect, evidence, code, after);
        let claimed = claimed()?;
        let attempt = ledger::last(&claimed).context("no attempt")?;
        for (refuser, ours) in [(Some(refuser()), true), (Some(refuser()), false), (None, true)] {
            self.push(state, Some(&claimed), status::held_up(attempt, &finding, refuser.as_ref(), ours))?;
        }
        Ok(())
    }

    fn gate(&mut self, state: &'static str, from: &State) -> Result<()> {
        self.show(state, from, None, "uid")
    }

    /// Adds a request that cannot be parsed, which is not decided on.
    fn unreadable(&mut self, state: &'static str) -> Result<()> {
        let request = request()?;
        let patch =
            invalid_objects::patch(Kind::Request, &request.metadata, &Value::Null, "a value cannot be read", NOW);
        let mut object = serde_json::to_value(&request)?;
        object["status"] = patch.context("no status is written")?["status"].clone();
        let update = status::waiting(WaitReason::InvalidObject);
        self.0.push(Shown { state, described: format!("{state}: unreadable"), update, object });
        Ok(())
    }

    /// Adds the request of the record, and a later one of the same name.
    fn record(&mut self, state: &'static str, desired: Desired, record: &PasswordResetRecord) -> Result<()> {
        let ledger =
            ledger::view(Some(record), &Identity::of_request(&request()?), &PATIENCE, SignedDuration::ZERO, NOW);
        for uid in ["uid", "another"] {
            self.show(state, &State { ledger: ledger.clone(), ..asking(desired) }, Some(record), uid)?;
        }
        Ok(())
    }
}

fn codes(class: Class) -> impl Iterator<Item = &'static str> {
    Exception::ALL.iter().filter(move |exception| Class::of(**exception) == class).map(|exception| exception.code())
}

fn every_status() -> Result<Vec<Shown>> {
    use {Effect::*, Evidence::*};
    let mut all = Statuses::default();
    let expired = Desired { expires: Some(NOW), ..DESIRED };
    let overdue = Desired { deadline: NOW, ..DESIRED };
    let skip = Desired { skip_if_reset_required: true, ..DESIRED };

    for state in gates() {
        all.gate("waiting", &state)?;
    }
    all.gate("waiting", &refused(RecordWrite::Claim, DESIRED))?;
    all.gate("waiting", &refused(RecordWrite::EarlierEffects, DESIRED))?;
    all.gate("waiting", &refused(RecordWrite::Close(CloseCause::Expired), expired))?;
    all.gate("waiting", &refused(RecordWrite::Close(CloseCause::DeadlineExceeded), overdue))?;
    let has_to_reset = Snapshot::Read(UserStatus::ResetRequired);
    let skipping = refused(RecordWrite::Close(CloseCause::AlreadyResetRequired), skip);
    let unread = State {
        before: Snapshot::Refused(Exception::UserNotFound),
        ..refused(RecordWrite::Close(CloseCause::UserReadRefused), skip)
    };
    all.gate("waiting", &unread)?;
    let changed = State { user_changed: true, ..refused(RecordWrite::Close(CloseCause::UserChanged), DESIRED) };
    all.gate("waiting", &changed)?;
    all.gate("failed: nothing happened", &State { user_changed: true, ..free() })?;
    all.gate("waiting", &State { before: has_to_reset, ..skipping })?;
    let seen = Some(UserStatus::ResetRequired);
    for (state, effect, evidence, code, after) in [
        ("waiting", NotPerformed, NeverSent, None, None),
        ("waiting", NotPerformed, Unreachable, None, None),
        ("waiting", NotPerformed, CognitoResponse, Some(LONGEST), None),
        ("waiting", Unknown, Inconclusive, None, None),
        ("waiting", Unknown, Inconclusive, Some(LONGEST), None),
        ("waiting: reset, not stored", Unknown, Inconclusive, None, seen),
        ("waiting: reset, not stored", Performed, CognitoResponse, None, None),
        ("waiting: reset, not stored", Performed, UserStatusCheck, None, seen),
        ("waiting: reset, not stored", Performed, UserStatusCheck, Some(LONGEST), seen),
    ] {
        all.held_up(state, effect, evidence, code, after)?;
    }
    let expiring = Desired { expires: Some(LATER), ..DESIRED };
    let settled_before = State { ledger: Ledger::Settled(Performed), ..refused(RecordWrite::ExtendExpiry, expiring) };
    let accepted = settled(Performed, CognitoResponse, None, None)?;
    all.show("waiting: reset, not stored", &settled_before, Some(&accepted), "another")?;
    all.record("waiting", DESIRED, &claimed()?)?;
    all.unreadable("waiting")?;
    let blocked = codes(Class::Throttled).chain(codes(Class::Blocked)).map(|code| (CognitoResponse, Some(code)));
    for (evidence, code) in blocked.chain([(NeverSent, None), (Unreachable, None)]) {
        let record = settled(NotPerformed, evidence, code, None)?;
        all.record("waiting", DESIRED, &record)?;
        all.record("failed: nothing happened", expired, &record)?;
        all.record("failed: nothing happened", overdue, &record)?;
    }

    all.record("reset", DESIRED, &settled(Performed, CognitoResponse, None, None)?)?;
    all.gate("reset", &State { before: has_to_reset, ..asking(skip) })?;

    all.gate("failed: nothing happened", &asking(expired))?;
    let nobody = Snapshot::Refused(Exception::UserNotFound);
    all.gate("failed: nothing happened", &State { before: nobody, ..asking(skip) })?;
    all.gate("failed: nothing happened", &asking(overdue))?;
    for code in codes(Class::Refused) {
        all.record("failed: nothing happened", DESIRED, &settled(NotPerformed, CognitoResponse, Some(code), None)?)?;
    }

    let lost = codes(Class::Ambiguous).map(Some).chain([None]).map(|code| ("reset", code));
    let failures = codes(Class::AmbiguousFailure).chain([LONGEST]).map(|code| ("failed: invalidated", Some(code)));
    for (confirmed, code) in lost.chain(failures) {
        let seen = Some(UserStatus::ResetRequired);
        all.record(confirmed, DESIRED, &settled(Performed, UserStatusCheck, code, seen)?)?;
        all.record("unknown", DESIRED, &settled(Unknown, Inconclusive, code, None)?)?;
        all.record("unknown: seen RESET_REQUIRED", DESIRED, &settled(Unknown, Inconclusive, code, seen)?)?;
    }
    Ok(all.0)
}

/// Returns a request that no operator has seen, as the API server shows it.
fn unseen() -> Result<Value> {
    let definition: Value = serde_saphyr::from_str(include_str!("../../../../crds/passwordresetrequests.yaml"))?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut object = serde_json::to_value(request()?)?;
    object["status"] = schema["properties"]["status"]["default"].clone();
    Ok(object)
}

fn judged(state: &str, object: &Value) -> Result<()> {
    let (_, statuses, is, healthy, returned) = TABLE.iter().find(|row| row.0 == state).context("no such state")?;
    let stand: BTreeMap<_, _> =
        conditions(object).iter().map(|it| (it["type"].as_str(), it["status"].as_str())).collect();
    assert_eq!(stand.len(), conditions(object).len(), "a type exists twice");
    assert_eq!(TYPES.map(|type_| stand.get(&Some(type_)).copied().flatten().unwrap_or("–")), *statuses);
    assert_eq!(stand.len(), statuses.iter().filter(|status| **status != "–").count(), "a type of none of them");
    assert_eq!(kstatus(object), *is);
    assert_eq!(health(object), *healthy);
    let returns: Vec<_> = WAITS.into_iter().filter(|wait| kubectl_wait_returns(object, wait)).collect();
    assert_eq!(returns, *returned);
    Ok(())
}

#[test]
fn every_state_is_judged_as_the_table_says() -> Result<()> {
    println!("unseen");
    judged("unseen", &unseen()?)?;
    let all = every_status()?;
    for Shown { state, described, object, .. } in &all {
        println!("{described}");
        judged(state, object)?;
    }
    for row in &TABLE[1..] {
        assert!(all.iter().any(|shown| shown.state == row.0), "{}", row.0);
    }
    Ok(())
}

#[test]
fn a_changed_or_deleted_request_is_judged_afresh() -> Result<()> {
    for Shown { described, mut object, .. } in every_status()? {
        object["metadata"]["generation"] = json!(3);
        assert_eq!(kstatus(&object), "InProgress", "{described}");
        for wait in [SUCCEEDED, READY, STALLED] {
            assert!(!kubectl_wait_returns(&object, wait), "{wait} {described}");
        }
        object["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        assert_eq!(kstatus(&object), "Terminating", "{described}");
    }
    Ok(())
}

#[test]
fn every_condition_keeps_within_its_bounds() -> Result<()> {
    let reason = Regex::new("^[A-Z][A-Za-z0-9]*$")?;
    for Shown { described, object, .. } in every_status()? {
        for condition in conditions(&object) {
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            assert!(reason.is_match(text("reason")) && text("reason").len() <= 64, "{described}");
            assert!(!text("message").is_empty() && text("message").chars().count() <= 1024, "{described}");
            assert!(!text("message").contains("alice") && !text("message").contains("Example01"), "{described}");
            assert_eq!(condition["observedGeneration"], object["metadata"]["generation"], "{described}");
            assert_eq!(condition["reason"], conditions(&object)[0]["reason"], "{described}");
        }
    }
    Ok(())
}

#[test]
fn every_reason_is_reported_of_an_object() -> Result<()> {
    let mut reported = grants::reasons()?;
    reported.extend(every_status()?.into_iter().map(|shown| shown.update.reason.as_str().to_owned()));
    // The names are in the one list of reasons, behind `=> "`.
    let list = include_str!("../../../api/src/conditions.rs");
    let list = list.split("impl WaitReason {").nth(1).and_then(|rest| rest.split("impl fmt::Display").next());
    let ours = list.context("no list")?.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    // Throttling is shown as `Throttled`, regardless of the exception.
    let cognitos = Exception::ALL.iter().filter(|exception| Class::of(**exception) != Class::Throttled);
    let wanted: BTreeSet<_> = ours.chain(cognitos.map(|exception| exception.code())).map(str::to_owned).collect();
    let different: Vec<_> = reported.symmetric_difference(&wanted).collect();
    ensure!(
        different.is_empty(),
        "reported by a state of this test, or in the list of reasons, but not both: {different:?}"
    );
    Ok(())
}
