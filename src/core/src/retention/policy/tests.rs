//! Tables of the facts about an object and the decision.

use cognito_reset_api::{CloseCause, Closed, Origin, record::SCHEMA};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const DAY: i64 = 86_400;
const RETENTION: SignedDuration = SignedDuration::from_hours(10 * 24);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() - seconds).unwrap()
}

fn entry(seconds_ago: i64, subresource: Option<&str>) -> ManagedFieldsEntry {
    let subresource = subresource.map(str::to_owned);
    ManagedFieldsEntry { time: Some(Time(ago(seconds_ago))), subresource, ..ManagedFieldsEntry::default() }
}

fn metadata(name: &str, created_ago: i64) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("default".into()),
        uid: Some("uid".into()),
        resource_version: Some("7".into()),
        creation_timestamp: Some(Time(ago(created_ago))),
        managed_fields: Some(vec![entry(created_ago, None)]),
        ..ObjectMeta::default()
    }
}

fn guard() -> Guard {
    Guard { uid: "uid".into(), resource_version: "7".into() }
}

/// A settled record, last written 11 days ago, without a request.
fn old() -> PasswordResetRecord {
    let mut record: PasswordResetRecord = serde_json::from_value(json!({
        "metadata": {}, "schema": SCHEMA, "action": "PasswordReset", "request": { "namespace": "default", "name": "reset" },
        "userPoolID": "eu-west-1_Example01", "username": "alice", "effect": "Performed",
        "attempts": [{ "id": "a", "operatorInstance": "h", "requestUID": "u", "requestedBy": { "username": "unverified" },
            "claimedAt": "2026-01-01T00:00:00Z", "evidence": "CognitoResponse", "settledAt": "2026-01-01T00:00:01Z" }],
    }))
    .unwrap();
    record.metadata = metadata(&Identity::of_record(&record).record_name(), 11 * DAY);
    record
}

fn with(change: impl FnOnce(&mut PasswordResetRecord)) -> PasswordResetRecord {
    let mut changed = old();
    change(&mut changed);
    changed
}

fn of_record(record: &PasswordResetRecord, request: Presence) -> Verdict {
    super::record(&record.metadata, Some(record), request, Some(NOW), RETENTION, &WatchedNamespaces::All)
}

#[test]
fn record_is_read_only_after_its_retention_since_the_last_write() {
    let page = |metadata: &ObjectMeta, now| {
        super::record(metadata, None, Presence::NotRead, now, RETENTION, &WatchedNamespaces::All)
    };
    let aged = |change: fn(&mut ObjectMeta)| {
        let mut changed = metadata("r1", 11 * DAY);
        change(&mut changed);
        changed
    };
    for (name, metadata, wanted) in [
        ("long ago", aged(|_| {}), Verdict::ReadFurther),
        ("just so long ago", metadata("r1", 10 * DAY), Verdict::ReadFurther),
        ("a second less", metadata("r1", 10 * DAY - 1), Verdict::Keep(KeepReason::Young)),
        ("in the future", metadata("r1", -DAY), Verdict::Keep(KeepReason::Young)),
        (
            "created long ago, and written since",
            aged(|it| it.managed_fields.as_mut().unwrap().push(entry(DAY, None))),
            Verdict::Keep(KeepReason::Young),
        ),
        (
            "written by any manager, in any order",
            aged(|it| it.managed_fields.as_mut().unwrap().insert(0, entry(DAY, Some("status")))),
            Verdict::Keep(KeepReason::Young),
        ),
        (
            "created later than written, as by a restore",
            aged(|it| it.creation_timestamp = Some(Time(ago(DAY)))),
            Verdict::Keep(KeepReason::Young),
        ),
        ("with its managed fields cut off", aged(|it| it.managed_fields = None), Verdict::ReadFurther),
        (
            "without any time",
            aged(|it| (it.managed_fields, it.creation_timestamp) = (None, None)),
            Verdict::Keep(KeepReason::Nameless),
        ),
        ("without a uid", aged(|it| it.uid = None), Verdict::Keep(KeepReason::Nameless)),
        ("without a resourceVersion", aged(|it| it.resource_version = None), Verdict::Keep(KeepReason::Nameless)),
        (
            "being deleted",
            aged(|it| it.deletion_timestamp = Some(Time(ago(1)))),
            Verdict::Keep(KeepReason::BeingDeleted),
        ),
    ] {
        assert_eq!(page(&metadata, Some(NOW)), wanted, "{name}");
        assert_eq!(page(&metadata, None), Verdict::Keep(KeepReason::ClockUnknown), "{name}, the time not being known");
    }
    let endless =
        super::record(&aged(|_| {}), None, Presence::NotRead, Some(NOW), SignedDuration::MAX, &WatchedNamespaces::All);
    assert_eq!(endless, Verdict::Keep(KeepReason::Young));
}

#[test]
fn a_record_is_deleted_only_when_nothing_that_it_says_keeps_it() {
    let expiring = |second| with(|it| it.spec.not_after = Some(Time(ago(second))));
    let effect = |effect| with(|it| it.spec.effect = effect);
    let closed = |second| {
        with(|it| {
            it.metadata.managed_fields = None;
            it.spec.effect = Some(NotPerformed);
            it.spec.attempts.clear();
            it.spec.closed = Some(Closed {
                cause: CloseCause::Expired,
                exception_code: None,
                user_status: None,
                closed_at: Time(ago(second)),
                ungranted: false,
                origin: Origin::new("h", "u"),
            });
        })
    };
    use cognito_reset_api::Effect::{NotPerformed, Performed, Unknown};
    for (name, record, kept) in [
        ("performed", effect(Some(Performed)), None),
        ("unknown", effect(Some(Unknown)), None),
        ("not performed", effect(Some(NotPerformed)), None),
        ("open", effect(None), Some(KeepReason::Open)),
        ("of a newer schema", with(|it| it.spec.schema = SCHEMA + 1), Some(KeepReason::OfNewerOperator)),
        ("not understood", PasswordResetRecord::not_understood(old().metadata), Some(KeepReason::OfNewerOperator)),
        ("under another name", with(|it| it.metadata.name = Some("r2-other".into())), Some(KeepReason::Misnamed)),
        ("of another user", with(|it| it.spec.username = "bob".into()), Some(KeepReason::Misnamed)),
        ("an expiry to come", expiring(-1), Some(KeepReason::Unexpired)),
        ("an expiry now", expiring(0), None),
        ("an expiry that has passed", expiring(DAY), None),
        (
            "its last attempt settled just so long ago",
            with(|it| it.spec.attempts[0].settled_at = Some(Time(ago(10 * DAY)))),
            None,
        ),
        (
            "its managed fields taken away, its last attempt settled a moment ago",
            with(|it| {
                it.metadata.managed_fields = None;
                it.spec.attempts[0].settled_at = Some(Time(ago(1)));
            }),
            Some(KeepReason::Young),
        ),
        ("closed before an attempt", closed(11 * DAY), None),
        ("its managed fields taken away, closed a moment ago", closed(1), Some(KeepReason::Young)),
        ("neither an attempt nor closed", with(|it| it.spec.attempts.clear()), Some(KeepReason::Nameless)),
        (
            "written between page and reading",
            with(|it| it.metadata.managed_fields = Some(vec![entry(1, None)])),
            Some(KeepReason::Young),
        ),
    ] {
        let kept = kept.map(Verdict::Keep);
        for (request, otherwise) in [
            (Presence::NotRead, Verdict::ReadFurther),
            (Presence::Present, Verdict::Keep(KeepReason::Requested)),
            (Presence::Absent, Verdict::Delete(guard())),
        ] {
            assert_eq!(of_record(&record, request), kept.clone().unwrap_or(otherwise), "{name}, {request:?}");
        }
    }
}

/// A request that ended 100 s ago, with a time to live of 60 s.
fn finished() -> PasswordResetRequest {
    let spec = json!({ "userPoolID": "p_1", "username": "alice", "ttlSecondsAfterFinished": 60 });
    let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    request.metadata = metadata("reset", DAY);
    request.metadata.managed_fields = Some(vec![entry(DAY, None), entry(100, Some("status")), entry(5, None)]);
    request.status = serde_json::from_value(json!({ "outcome": "Succeeded" })).unwrap();
    request.status.as_mut().unwrap().completion_time = Some(Time(ago(100)));
    request
}

fn ended(change: impl FnOnce(&mut PasswordResetRequest)) -> PasswordResetRequest {
    let mut changed = finished();
    change(&mut changed);
    changed
}

fn labelled(key: &str, value: &str) -> PasswordResetRequest {
    ended(|it| it.metadata.labels = Some([(key.to_owned(), value.to_owned())].into()))
}

#[test]
fn request_is_deleted_only_after_its_time_to_live() {
    let outcome = |outcome| ended(|it| it.status.as_mut().unwrap().outcome = outcome);
    let lives = |seconds| ended(|it| it.spec.ttl_seconds_after_finished = seconds);
    let stored_at =
        |second| ended(|it| it.metadata.managed_fields = Some(vec![entry(DAY, None), entry(second, Some("status"))]));
    let tracked = |mut request: PasswordResetRequest| {
        request.metadata.annotations = Some([(Tracker::ArgoTrackingId.key().to_owned(), "app:…".to_owned())].into());
        request
    };
    for (name, request, wanted) in [
        ("due", finished(), None),
        ("failed", outcome(Outcome::Failed), None),
        ("unknown", outcome(Outcome::Unknown), None),
        ("pending", outcome(Outcome::Pending), Some(KeepReason::Unfinished)),
        ("without a status", ended(|it| it.status = None), Some(KeepReason::Unfinished)),
        (
            "without a time of completion",
            ended(|it| it.status.as_mut().unwrap().completion_time = None),
            Some(KeepReason::Unfinished),
        ),
        ("without a time to live", lives(None), Some(KeepReason::Unlimited)),
        ("a second short of it", lives(Some(101)), Some(KeepReason::Alive)),
        ("just due", lives(Some(100)), None),
        ("with nothing to live", lives(Some(0)), None),
        ("with longer to live than there is time", lives(Some(i64::MAX)), Some(KeepReason::Alive)),
        ("completed by a clock that was behind", stored_at(59), Some(KeepReason::Alive)),
        ("completed by a clock that was ahead", stored_at(DAY), None),
        ("with its managed fields taken away", ended(|it| it.metadata.managed_fields = None), None),
        ("with the label that keeps it", labelled(KEEP, "for the audit of 2026"), Some(KeepReason::Labelled)),
        ("with that label and no value", labelled(KEEP, ""), Some(KeepReason::Labelled)),
        ("with another label", labelled("cognito-reset.dev/kept", "true"), None),
        ("tracked", tracked(finished()), Some(KeepReason::Tracked(Tracker::ArgoTrackingId))),
        ("tracked, and not due", tracked(lives(Some(101))), Some(KeepReason::Alive)),
        ("tracked, without a time to live", tracked(lives(None)), Some(KeepReason::Unlimited)),
        ("tracked, and kept by the label", tracked(labelled(KEEP, "")), Some(KeepReason::Labelled)),
        ("being deleted", ended(|it| it.metadata.deletion_timestamp = Some(Time(NOW))), Some(KeepReason::BeingDeleted)),
        ("without a uid", ended(|it| it.metadata.uid = None), Some(KeepReason::Nameless)),
        ("without a resourceVersion", ended(|it| it.metadata.resource_version = None), Some(KeepReason::Nameless)),
    ] {
        let wanted = wanted.map_or_else(|| Verdict::Delete(guard()), Verdict::Keep);
        let life = Life::of(&request);
        assert_eq!(super::request(&request.metadata, life, Some(NOW)), wanted, "{name}");
        let timeless = super::request(&request.metadata, life, None);
        assert_eq!(timeless, Verdict::Keep(KeepReason::ClockUnknown), "{name}, the time not being known");
    }
}

/// The record of a request that was never granted, closed so many seconds ago.
fn ungranted(seconds: i64) -> PasswordResetRecord {
    let mut record = with(|it| {
        it.spec.effect = Some(cognito_reset_api::Effect::NotPerformed);
        it.spec.attempts.clear();
        it.spec.closed = Some(Closed {
            cause: CloseCause::DeadlineExceeded,
            exception_code: None,
            user_status: None,
            closed_at: Time(ago(seconds)),
            ungranted: true,
            origin: Origin::new("h", "u"),
        });
    });
    let name = record.metadata.name.clone().unwrap();
    record.metadata = metadata(&name, seconds);
    record
}

#[test]
fn ungranted_record_is_kept_for_minutes_and_for_a_day_at_most() {
    const MINUTES: i64 = 15 * 60;
    let expiring = |seconds, expires_in: i64| {
        let mut record = ungranted(seconds);
        record.spec.not_after = Some(Time(ago(-expires_in)));
        record
    };
    let claimed = |seconds| {
        let mut record = ungranted(seconds);
        record.spec.attempts = old().spec.attempts;
        record
    };
    let with_grant = |seconds| {
        let mut record = ungranted(seconds);
        record.spec.closed.as_mut().unwrap().origin.grants = vec!["support".into()];
        record
    };
    for (name, record, kept) in [
        ("for 15 minutes", ungranted(MINUTES), None),
        ("a second less", ungranted(MINUTES - 1), Some(KeepReason::Young)),
        ("an expiry to come", expiring(MINUTES, 1), Some(KeepReason::Unexpired)),
        ("an expiry now", expiring(MINUTES, 0), None),
        ("an expiry in ten years, for less than a day", expiring(DAY - 1, 3650 * DAY), Some(KeepReason::Unexpired)),
        ("an expiry in ten years, for a day", expiring(DAY, 3650 * DAY), None),
        ("claimed before", claimed(MINUTES), Some(KeepReason::Young)),
        ("allowed by a grant", with_grant(MINUTES), Some(KeepReason::Young)),
        ("allowed by a grant, after the retention", with_grant(10 * DAY), None),
    ] {
        let wanted = kept.map_or_else(|| Verdict::Delete(guard()), Verdict::Keep);
        assert_eq!(of_record(&record, Presence::Absent), wanted, "{name}");
        if ledger::is_ungranted(&record) {
            let on_page = super::ungranted_record(&record.metadata, ledger::remembered(&record), Some(NOW), RETENTION);
            assert_eq!(on_page, kept.map_or(Verdict::ReadFurther, Verdict::Keep), "{name}, on a page");
            let since = super::ungranted_since(&record.metadata, ledger::remembered(&record), RETENTION);
            assert_eq!(since.is_some_and(|since| since <= NOW), kept.is_none(), "{name}, since {since:?}");
        }
        let wanted = kept.map_or(Verdict::Keep(KeepReason::Requested), Verdict::Keep);
        assert_eq!(of_record(&record, Presence::Present), wanted, "{name}, while its request exists");
    }
    let short = SignedDuration::from_secs(10);
    let briefly = ungranted(10);
    let judged =
        super::record(&briefly.metadata, Some(&briefly), Presence::Absent, Some(NOW), short, &WatchedNamespaces::All);
    assert_eq!(judged, Verdict::Delete(guard()), "a shorter retention applies to it too");
    let on_page = |now, retention| super::ungranted_record(&briefly.metadata, None, now, retention);
    assert_eq!(on_page(Some(NOW), short), Verdict::ReadFurther);
    assert_eq!(on_page(None, short), Verdict::Keep(KeepReason::ClockUnknown));
}

#[test]
fn record_of_an_unwatched_namespace_is_kept() {
    let judged = |watched: WatchedNamespaces, request| {
        super::record(&old().metadata, Some(&old()), request, Some(NOW), RETENTION, &watched)
    };
    for request in [Presence::NotRead, Presence::Present, Presence::Absent] {
        let elsewhere = WatchedNamespaces::from(["support", "default-2"]);
        assert_eq!(judged(elsewhere, request), Verdict::Keep(KeepReason::Elsewhere), "{request:?}");
    }
    let watched = WatchedNamespaces::from(["default", "support"]);
    assert_eq!(judged(watched, Presence::Absent), Verdict::Delete(guard()));
}
