//! Tables of an attempt, the other records of its user, and who is credited with the state that a
//! probe read.

use cognito_reset_api::{Action, Attempt, CloseCause, Closed, Origin, RequestRef, UserStatus, record::SCHEMA};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};

use super::*;
use crate::ledger::{Identity, claimed, closed};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const POOL: &str = "eu-west-1_Example01";
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(45);

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn record(name: &str, username: &str, sub: Option<&str>) -> PasswordResetRecord {
    let identity = Identity {
        action: Action::PasswordReset,
        request: RequestRef { namespace: "team".into(), name: name.into() },
        user_pool_id: POOL.into(),
        username: username.into(),
    };
    let attempt = Attempt {
        user_status_before: Some(UserStatus::Confirmed),
        state_read_after: Some(Time(NOW)),
        ..Attempt::new("id".into(), Origin::new("operator", "uid"), Time(NOW))
    };
    let mut record = claimed(None, &identity, attempt);
    record.spec.user_sub = sub.map(str::to_owned);
    record
}

fn own() -> PasswordResetRecord {
    record("own", "alice", Some("sub-1"))
}

/// Another record, last written so many seconds after the read of the request.
fn other(effect: OtherEffect, written: i64) -> OtherRecord {
    OtherRecord { effect, written_at: Some(NOW + seconds(written)) }
}

#[test]
fn a_probe_is_credited_by_the_records_of_the_user() {
    use Attribution::{AwaitsOther, Own, Unclear};
    use OtherEffect::{NotPerformed, NotUnderstood, Performed, Unknown};
    let open = |observed_for: i64| OtherEffect::Open { observed_for: seconds(observed_for) };
    let unknown_time = OtherRecord { effect: Performed, written_at: None };
    for (name, others, wanted) in [
        ("no other record", vec![], Own),
        ("a reset since", vec![other(Performed, 1)], Unclear),
        ("a reset at that moment", vec![other(Performed, 0)], Unclear),
        ("a reset 5 s before", vec![other(Performed, -5)], Unclear),
        ("a reset 6 s before", vec![other(Performed, -6)], Own),
        ("a reset at an unknown time", vec![unknown_time], Unclear),
        ("nothing happened since", vec![other(NotPerformed, 1)], Own),
        ("in flight", vec![other(open(0), 1)], AwaitsOther(seconds(45))),
        ("still in flight", vec![other(open(44), 1)], AwaitsOther(seconds(1))),
        ("not in flight any more", vec![other(open(45), 1)], Unclear),
        ("in flight, and claimed long before", vec![other(open(0), -3600)], AwaitsOther(seconds(45))),
        ("open, and claimed long before", vec![other(open(60), -3600)], Unclear),
        ("two in flight", vec![other(open(40), 1), other(open(5), 1)], AwaitsOther(seconds(40))),
        ("in flight, and a reset since", vec![other(open(0), 1), other(Performed, 1)], Unclear),
        ("a reset since, and one in flight", vec![other(Performed, 1), other(open(0), 1)], Unclear),
        ("in flight, and old ones", vec![other(Performed, -6), other(open(0), 1)], AwaitsOther(seconds(45))),
        ("unknown, since", vec![other(Unknown, 1)], Unclear),
        ("unknown, maybe in flight then", vec![other(Unknown, -50)], Unclear),
        ("unknown, from before", vec![other(Unknown, -51)], Own),
        ("not understood, since", vec![other(NotUnderstood, 1)], Unclear),
        ("not understood, maybe in flight then", vec![other(NotUnderstood, -50)], Unclear),
        ("not understood, from before", vec![other(NotUnderstood, -51)], Own),
        ("old ones only", vec![other(Performed, -60), other(NotPerformed, 60), other(NotUnderstood, -3600)], Own),
    ] {
        assert_eq!(attribution(&own(), &others, IN_FLIGHT), wanted, "{name}");
    }
}

#[test]
fn a_probe_that_cannot_be_compared_is_credited_to_nobody() {
    let change = |change: fn(&mut PasswordResetRecord)| {
        let mut record = own();
        change(&mut record);
        record
    };
    for (name, record) in [
        ("no sub", change(|it| it.spec.user_sub = None)),
        ("an empty sub", change(|it| it.spec.user_sub = Some(String::new()))),
        ("no state before", change(|it| it.spec.attempts[0].user_status_before = None)),
        ("no time of the state", change(|it| it.spec.attempts[0].state_read_after = None)),
        ("no attempt", change(|it| it.spec.attempts.clear())),
    ] {
        assert_eq!(UserRecords::of(&record), None, "{name}");
        assert_eq!(attribution(&record, &[], IN_FLIGHT), Attribution::Unclear, "{name}");
    }
}

#[test]
fn records_are_selected_by_sub_and_missing_sub() {
    let query = UserRecords::of(&own()).unwrap();
    let in_pool = |mut record: PasswordResetRecord, pool: &str| {
        record.spec.user_pool_id = pool.into();
        record
    };
    for (name, record, wanted) in [
        ("itself", own(), false),
        ("the same spelling", record("other", "alice", Some("sub-1")), true),
        ("the same spelling of another user", record("other", "alice", Some("sub-2")), false),
        ("another spelling", record("other", "a@example.com", Some("sub-1")), true),
        ("another spelling without sub", record("other", "a@example.com", None), true),
        ("another spelling with an empty sub", record("other", "a@example.com", Some("")), true),
        ("another user", record("other", "bob", Some("sub-2")), false),
        ("another pool", in_pool(record("other", "alice", Some("sub-1")), "eu-west-1_Example02"), false),
    ] {
        assert_eq!(query.selects(&record), wanted, "{name}");
    }
}

#[test]
fn another_record_is_read_by_effect_and_time_of_its_last_write() {
    let observed = |id: &str| {
        assert_eq!(id, "id");
        seconds(7)
    };
    let entry = |after: i64| ManagedFieldsEntry { time: Some(Time(NOW + seconds(after))), ..Default::default() };
    let mut record = record("other", "alice", None);
    record.metadata.creation_timestamp = Some(Time(NOW));
    let with = |effect: Option<Effect>| {
        let mut record = record.clone();
        record.spec.effect = effect;
        OtherRecord::of(&record, observed)
    };
    assert_eq!(with(None), other(OtherEffect::Open { observed_for: seconds(7) }, 0));
    for (effect, wanted) in [
        (Effect::NotPerformed, OtherEffect::NotPerformed),
        (Effect::Unknown, OtherEffect::Unknown),
        (Effect::Performed, OtherEffect::Performed),
    ] {
        assert_eq!(with(Some(effect)), other(wanted, 0), "{effect:?}");
    }
    let identity = Identity::of_record(&record);
    let closing = Closed {
        cause: CloseCause::Expired,
        exception_code: None,
        user_status: None,
        closed_at: Time(NOW),
        ungranted: false,
        origin: Origin::new("operator", "uid"),
    };
    let never_claimed = closed(None, &identity, closing);
    assert_eq!(OtherRecord::of(&never_claimed, observed).effect, OtherEffect::NotPerformed);

    record.metadata.managed_fields = Some(vec![entry(3), entry(9), entry(1)]);
    assert_eq!(OtherRecord::of(&record, observed).written_at, Some(NOW + seconds(9)));
    let metadata = record.metadata.clone();
    assert_eq!(OtherRecord::not_understood(&metadata), other(OtherEffect::NotUnderstood, 9));
    record.spec.effect = Some(Effect::NotPerformed);
    record.spec.schema = SCHEMA + 1;
    assert_eq!(OtherRecord::of(&record, observed), other(OtherEffect::NotUnderstood, 9));
    (record.spec.schema, record.spec.effect) = (SCHEMA, None);
    record.spec.attempts.clear();
    assert_eq!(OtherRecord::of(&record, observed), other(OtherEffect::NotUnderstood, 9));
    record.metadata = ObjectMeta::default();
    assert_eq!(OtherRecord::of(&record, observed).written_at, None);
}
