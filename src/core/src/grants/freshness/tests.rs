//! Tables of lists and events of the watch, and what is confirmed after them.

use cognito_reset_api::{UserPoolGrant, UserPoolHold, conditions::WaitReason};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::{action::user_names::UserNames, dispatch::key::Key, grants::Watched, shared::Shared};

const POOL: &str = "eu-west-1_Example01";
const LIMIT: Duration = Duration::from_secs(5);

fn at(seconds: u64) -> Moment {
    by_clocks(seconds, seconds.try_into().unwrap())
}

fn by_clocks(monotonic: u64, wall: i64) -> Moment {
    let monotonic = Duration::from_secs(monotonic);
    Moment { monotonic, wall: Timestamp::constant(1_800_000_000, 0) + SignedDuration::from_secs(wall) }
}

fn metadata(name: &str, uid: &str, generation: i64) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), uid: Some(uid.into()), generation: Some(generation), ..ObjectMeta::default() }
}

fn versions(objects: &[(&str, &str, i64)]) -> Versions {
    objects
        .iter()
        .map(|(name, uid, generation)| ((*name).into(), Version::of(&metadata(name, uid, *generation))))
        .collect()
}

fn grant(name: &str, uid: &str, generation: i64, spec: Value) -> UserPoolGrant {
    let mut all = json!({ "userPoolID": POOL });
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    let mut grant = UserPoolGrant::new(name, serde_json::from_value(all).unwrap());
    grant.metadata = metadata(name, uid, generation);
    grant
}

fn hold(name: &str, uid: &str) -> UserPoolHold {
    let mut hold = UserPoolHold::new(name, serde_json::from_value(json!({ "reason": "incident" })).unwrap());
    hold.metadata = metadata(name, uid, 1);
    hold
}

fn request() -> PasswordResetRequest {
    let spec = json!({ "userPoolID": POOL, "username": "alice" });
    let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    request.metadata.namespace = Some("support".into());
    request
}

fn everyone() -> Value {
    json!({ "namespaces": ["*"] })
}

fn deliver(index: &mut GrantIndex, grant: UserPoolGrant) -> bool {
    let metadata = grant.metadata.clone();
    index.deliver(ListedKind::Grant, &metadata, |index| index.put_grant(grant))
}

fn delete(index: &mut GrantIndex, name: &str, uid: &str) -> bool {
    index.deliver_deletion(ListedKind::Grant, &metadata(name, uid, 1), |index| index.remove_grant(name))
}

fn deliver_hold(index: &mut GrantIndex, hold: UserPoolHold) -> bool {
    let metadata = hold.metadata.clone();
    index.deliver(ListedKind::Hold, &metadata, |index| index.put_hold(hold))
}

fn replace(index: &mut GrantIndex, grants: Vec<UserPoolGrant>, sent: Moment) -> Replaced {
    let listed = |object: UserPoolGrant| ListedObject {
        name: object.name_any(),
        version: Version::of(&object.metadata),
        object,
    };
    let objects = grants.into_iter().map(listed).collect();
    index.replace(ListedKind::Grant, objects, sent, GrantIndex::put_grant, GrantIndex::retain_grants)
}

fn replace_holds(index: &mut GrantIndex, holds: Vec<UserPoolHold>, sent: Moment) -> Replaced {
    let listed =
        |object: UserPoolHold| ListedObject { name: object.name_any(), version: Version::of(&object.metadata), object };
    let objects = holds.into_iter().map(listed).collect();
    index.replace(ListedKind::Hold, objects, sent, GrantIndex::put_hold, GrantIndex::retain_holds)
}

/// An index with one grant for everybody, confirmed at 0 s.
fn confirmed() -> GrantIndex {
    let mut index = GrantIndex::new(LIMIT);
    deliver(&mut index, grant("everyone", "a", 1, everyone()));
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 1)]), at(0)));
    assert!(index.compare(ListedKind::Hold, &versions(&[]), at(0)));
    index
}

/// Returns the reason for which the request waits, or `None` if it is allowed and confirmed.
fn waits(index: &GrantIndex, now: Moment) -> Option<WaitReason> {
    let evaluation = index.evaluate_confirmed(&request(), &KnownUser::NotRead, now);
    match evaluation.authorization {
        Ok(_) => (!evaluation.confirmed).then_some(WaitReason::GrantsNotConfirmed),
        Err(reason) => Some(reason),
    }
}

const NOT_CONFIRMED: Option<WaitReason> = Some(WaitReason::GrantsNotConfirmed);

#[test]
fn confirmation_is_valid_for_its_time_and_of_both_kinds() {
    let mut index = GrantIndex::new(LIMIT);
    deliver(&mut index, grant("everyone", "a", 1, everyone()));
    assert_eq!(waits(&index, at(0)), NOT_CONFIRMED, "never");
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 1)]), at(10)));
    assert_eq!(waits(&index, at(10)), NOT_CONFIRMED, "no holds");
    assert!(index.compare(ListedKind::Hold, &versions(&[]), at(8)));
    for (now, wanted) in [(10, None), (13, None), (14, NOT_CONFIRMED)] {
        assert_eq!(waits(&index, at(now)), wanted, "the older one counts: {now} s");
    }
    assert!(index.compare(ListedKind::Hold, &versions(&[]), at(14)));
    assert_eq!(waits(&index, at(15)), None);
    assert_eq!(waits(&index, at(16)), NOT_CONFIRMED);
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 1)]), at(9)), "a late response");
    assert_eq!(waits(&index, at(15)), None, "takes nothing back");
}

#[test]
fn confirmation_is_as_old_as_either_clock_says() {
    let index = confirmed();
    for (what, now, wanted) in [
        ("both", by_clocks(5, 5), None),
        ("the machine was suspended, which stops the monotonic clock", by_clocks(1, 6), NOT_CONFIRMED),
        ("the wall clock was set back", by_clocks(5, -3600), None),
        ("it was set back long ago", by_clocks(6, -3600), NOT_CONFIRMED),
    ] {
        assert_eq!(waits(&index, now), wanted, "{what}");
    }
}

#[test]
fn age_of_the_last_confirmation_is_that_of_the_older_kind() {
    let mut index = GrantIndex::new(LIMIT);
    assert!(index.compare(ListedKind::Grant, &versions(&[]), at(10)));
    assert_eq!((index.confirmation_age(at(10)), index.is_confirming(at(10))), (None, false), "no holds");
    assert!(index.compare(ListedKind::Hold, &versions(&[]), at(8)));
    for (now, age, is_confirming) in [(at(10), 2, true), (at(14), 6, false), (by_clocks(10, 14), 6, false)] {
        assert_eq!(index.confirmation_age(now), Some(Duration::from_secs(age)));
        assert_eq!(index.is_confirming(now), is_confirming);
    }
    // An event that has to be compared takes away the confirmation, but not its age.
    deliver_hold(&mut index, hold("stop", "h"));
    assert_eq!((index.is_confirmed(at(10)), index.is_confirming(at(10))), (false, true));
}

#[test]
fn list_that_differs_in_any_part_confirms_nothing() {
    for listed in [
        versions(&[]),
        versions(&[("everyone", "a", 2)]),
        versions(&[("everyone", "b", 1)]),
        versions(&[("other", "a", 1)]),
        versions(&[("everyone", "a", 1), ("more", "b", 1)]),
    ] {
        let mut index = confirmed();
        assert!(!index.compare(ListedKind::Grant, &listed, at(5)), "{listed:?}");
        assert_eq!(waits(&index, at(6)), NOT_CONFIRMED, "{listed:?}");
    }
}

#[test]
fn full_list_brings_a_hold_and_takes_a_grant_away() {
    let mut index = confirmed();
    index.list_sent(ListedKind::Hold);
    assert!(replace_holds(&mut index, vec![hold("stop", "h")], at(3)).changed);
    assert_eq!(waits(&index, at(3)), Some(WaitReason::UserPoolHeld));
    index.list_sent(ListedKind::Hold);
    assert!(replace_holds(&mut index, vec![], at(4)).changed);
    assert_eq!(waits(&index, at(4)), None);
    index.list_sent(ListedKind::Grant);
    assert!(replace(&mut index, vec![], at(4)).changed);
    assert_eq!(waits(&index, at(4)), Some(WaitReason::NoMatchingGrant));
    index.list_sent(ListedKind::Grant);
    replace(&mut index, vec![grant("everyone", "b", 1, everyone())], at(6));
    assert_eq!((waits(&index, at(9)), waits(&index, at(10))), (None, NOT_CONFIRMED), "holds are as of 4 s");
}

#[test]
fn event_that_is_certainly_out_of_date_changes_nothing() {
    let mut index = GrantIndex::new(LIMIT);
    let suspended = || json!({ "namespaces": ["*"], "suspend": true });
    index.list_sent(ListedKind::Grant);
    replace(&mut index, vec![grant("everyone", "b", 7, suspended())], at(0));
    assert!(index.compare(ListedKind::Hold, &versions(&[]), at(0)));
    // The same object before it was suspended, and the deletion of the one before.
    assert!(!deliver(&mut index, grant("everyone", "b", 6, everyone())));
    assert!(!delete(&mut index, "everyone", "a"));
    assert_eq!(waits(&index, at(0)), Some(WaitReason::GrantSuspended));
    // A later one of the same object, and its deletion, are certainly current.
    assert!(deliver(&mut index, grant("everyone", "b", 8, everyone())));
    assert_eq!(waits(&index, at(0)), None);
    assert!(delete(&mut index, "everyone", "b"));
    assert_eq!(waits(&index, at(0)), Some(WaitReason::NoMatchingGrant));
}

#[test]
fn event_that_may_be_out_of_date_waits_for_the_next_list() {
    type Change = fn(&mut GrantIndex);
    type Objects = &'static [(&'static str, &'static str, i64)];
    let changes: [(&str, Change, Objects); 3] = [
        (
            "another grant",
            |index| assert!(deliver(index, grant("more", "b", 1, everyone()))),
            &[("everyone", "a", 1), ("more", "b", 1)],
        ),
        (
            "another object of the name",
            |index| assert!(deliver(index, grant("everyone", "b", 1, everyone()))),
            &[("everyone", "b", 1)],
        ),
        (
            "a hold that came and went",
            |index| {
                assert!(deliver_hold(index, hold("stop", "h")));
                let hold = metadata("stop", "h", 1);
                assert!(index.deliver_deletion(ListedKind::Hold, &hold, |index| index.remove_hold("stop")));
            },
            &[("everyone", "a", 1)],
        ),
    ];
    for (what, change, grants) in changes {
        let mut index = confirmed();
        change(&mut index);
        assert_eq!(waits(&index, at(1)), NOT_CONFIRMED, "{what}");
        assert!(index.compare(ListedKind::Hold, &versions(&[]), at(1)), "{what}");
        assert!(index.compare(ListedKind::Grant, &versions(grants), at(1)), "{what}");
        assert_eq!(waits(&index, at(1)), None, "{what}");
    }
    // A list of the watch that lacks a grant.
    let mut index = confirmed();
    deliver(&mut index, grant("more", "b", 1, everyone()));
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 1), ("more", "b", 1)]), at(1)));
    assert_eq!(waits(&index, at(1)), None);
    let names = BTreeSet::from(["everyone".to_owned()]);
    assert!(index.deliver_list(ListedKind::Grant, &names, |index| index.retain_grants(&names)));
    assert_eq!(waits(&index, at(1)), NOT_CONFIRMED);
    assert!(index.deliver_list(ListedKind::Grant, &names, |index| !index.retain_grants(&names)));
}

#[test]
fn late_list_of_the_watch_does_not_release_a_hold() {
    let mut index = confirmed();
    index.list_sent(ListedKind::Hold);
    replace_holds(&mut index, vec![hold("stop", "h")], at(1));
    assert_eq!(waits(&index, at(1)), Some(WaitReason::UserPoolHeld));
    let none = BTreeSet::new();
    index.deliver_list(ListedKind::Hold, &none, |index| index.retain_holds(&none));
    assert_eq!(waits(&index, at(1)), NOT_CONFIRMED);
}

#[test]
fn full_list_keeps_what_the_watch_delivered_since_it_was_sent() {
    let mut index = confirmed();
    deliver(&mut index, grant("gone", "g", 1, everyone()));
    index.list_sent(ListedKind::Grant);
    deliver(&mut index, grant("everyone", "a", 3, json!({ "namespaces": ["*"], "suspend": true })));
    delete(&mut index, "gone", "g");
    let before = vec![grant("everyone", "a", 2, everyone()), grant("gone", "g", 1, everyone())];
    replace(&mut index, before, at(2));
    assert_eq!(waits(&index, at(2)), Some(WaitReason::GrantSuspended), "both are certainly newer than the list");
    // An object that is not in the list may be newer or older: it stays until the next list.
    index.list_sent(ListedKind::Grant);
    deliver(&mut index, grant("new", "n", 1, everyone()));
    deliver(&mut index, grant("everyone", "b", 1, everyone()));
    replace(&mut index, vec![grant("everyone", "a", 3, everyone())], at(3));
    assert_eq!(waits(&index, at(3)), NOT_CONFIRMED);
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "b", 1), ("new", "n", 1)]), at(4)));
    assert_eq!(waits(&index, at(4)), None);
}

#[test]
fn list_older_than_the_index_is_not_believed_at_once() {
    // After a restore of etcd, or by an API server whose lists are not consistent.
    let mut index = confirmed();
    let suspended = || json!({ "namespaces": ["*"], "suspend": true });
    deliver(&mut index, grant("everyone", "a", 7, everyone()));
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 7)]), at(1)));
    index.list_sent(ListedKind::Grant);
    let before = || vec![grant("everyone", "a", 6, suspended())];
    assert!(replace(&mut index, before(), at(2)).changed, "the list counts, because the watch delivered nothing since");
    assert!(!index.is_confirmed(at(2)));
    assert!(index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 6)]), at(3)));
    assert_eq!(waits(&index, at(3)), Some(WaitReason::GrantSuspended));
    // What the watch delivered since is newer than the list. What it delivered before cannot be.
    for (generation, wanted) in [(8, None), (9, NOT_CONFIRMED)] {
        index.list_sent(ListedKind::Grant);
        deliver(&mut index, grant("everyone", "a", generation, everyone()));
        assert!(!replace(&mut index, before(), at(4)).changed);
        assert_eq!(waits(&index, at(4)), wanted, "{generation}");
    }
    assert!(!index.compare(ListedKind::Grant, &versions(&[("everyone", "a", 6)]), at(5)));
}

#[test]
fn hold_that_is_replaced_while_a_full_list_is_in_flight_stays() {
    type Change = fn(&mut GrantIndex);
    let changes: [(&str, Change); 3] = [
        ("deleted and created", |index| {
            let first = metadata("stop", "a", 1);
            assert!(index.deliver_deletion(ListedKind::Hold, &first, |index| index.remove_hold("stop")));
            assert!(deliver_hold(index, hold("stop", "b")));
        }),
        ("replaced, without the event of the deletion", |index| assert!(deliver_hold(index, hold("stop", "b")))),
        ("replaced, and the deletion is late", |index| {
            assert!(deliver_hold(index, hold("stop", "b")));
            let first = metadata("stop", "a", 1);
            assert!(!index.deliver_deletion(ListedKind::Hold, &first, |index| index.remove_hold("stop")));
        }),
    ];
    for (what, change) in changes {
        let mut index = confirmed();
        deliver_hold(&mut index, hold("stop", "a"));
        assert!(index.compare(ListedKind::Hold, &versions(&[("stop", "a", 1)]), at(1)), "{what}");
        index.list_sent(ListedKind::Hold);
        change(&mut index);
        replace_holds(&mut index, vec![hold("stop", "a")], at(2));
        assert!(!index.is_confirmed(at(2)), "{what}");
        assert_eq!(
            index.evaluate(&request(), &KnownUser::NotRead).authorization,
            Err(WaitReason::UserPoolHeld),
            "{what}"
        );
        assert!(index.compare(ListedKind::Hold, &versions(&[("stop", "b", 1)]), at(3)), "{what}");
        assert_eq!(waits(&index, at(3)), Some(WaitReason::UserPoolHeld), "{what}");
    }
}

#[test]
fn hold_that_changes_while_a_full_list_is_in_flight_stays() {
    // The list may be of before the hold, or of after its deletion.
    for listed in [vec![], vec![hold("stop", "another")]] {
        let mut index = confirmed();
        deliver_hold(&mut index, hold("stop", "a"));
        assert!(index.compare(ListedKind::Hold, &versions(&[("stop", "a", 1)]), at(1)));
        index.list_sent(ListedKind::Hold);
        let mut changed = hold("stop", "a");
        changed.metadata.generation = Some(2);
        deliver_hold(&mut index, changed);
        replace_holds(&mut index, listed, at(2));
        assert!(!index.is_confirmed(at(2)));
        assert!(index.compare(ListedKind::Hold, &versions(&[("stop", "a", 2)]), at(3)));
    }
}

#[test]
fn watch_that_misses_two_changes_is_started_again() {
    let mut index = confirmed();
    let mut generation = 1;
    let mut change = |index: &mut GrantIndex| {
        generation += 1;
        index.list_sent(ListedKind::Grant);
        replace(index, vec![grant("everyone", "a", generation, everyone())], at(1)).watch_is_behind
    };
    assert!(!change(&mut index));
    assert!(change(&mut index));
    assert!(!change(&mut index), "it begins to count again");
    deliver(&mut index, grant("everyone", "a", 2, everyone()));
    assert!(!change(&mut index), "an event, even a late one, shows that the watch works");
    assert!(change(&mut index));
}

#[test]
fn labels_that_decide_are_confirmed_by_a_read_of_the_namespace() {
    let labels =
        |value: &str| Namespace { uid: Some("uid".into()), labels: [("resets".to_owned(), value.to_owned())].into() };
    let selector = json!({ "namespaceSelector": { "matchLabels": { "resets": "yes" } } });
    let mut index = GrantIndex::new(LIMIT);
    deliver(&mut index, grant("labelled", "a", 1, selector));
    let confirm = |index: &mut GrantIndex, seconds| {
        assert!(index.compare(ListedKind::Grant, &versions(&[("labelled", "a", 1)]), at(seconds)));
        assert!(index.compare(ListedKind::Hold, &versions(&[]), at(seconds)));
    };
    confirm(&mut index, 0);
    assert_eq!(index.namespace_to_read(&request(), at(0)).as_deref(), Some("support"), "never seen");
    index.put_namespace("support".into(), labels("yes"));
    assert_eq!(waits(&index, at(0)), NOT_CONFIRMED, "the watch proves nothing");
    index.confirm_namespace("support", Some(labels("yes")), at(1));
    assert_eq!(waits(&index, at(1)), None);
    for (now, due) in [(3, false), (4, true)] {
        assert_eq!(index.namespace_to_read(&request(), at(now)).is_some(), due, "{now} s");
    }
    confirm(&mut index, 6);
    assert_eq!((waits(&index, at(6)), waits(&index, at(7))), (None, NOT_CONFIRMED));
    // The label is gone, or the namespace is, and the watch shows neither.
    for read in [Some(labels("no")), None] {
        index.confirm_namespace("support", read, at(7));
        assert_eq!(waits(&index, at(7)), Some(WaitReason::NoMatchingGrant));
        index.put_namespace("support".into(), labels("yes"));
        assert_eq!(waits(&index, at(7)), NOT_CONFIRMED, "other labels have to be read again");
        assert!(index.namespace_to_read(&request(), at(7)).is_some());
    }
    index.confirm_namespace("support", Some(labels("yes")), at(8));
    index.put_namespace("support".into(), labels("yes"));
    assert_eq!(waits(&index, at(8)), None, "the same labels change nothing");
    index.remove_namespace("support");
    assert_eq!(waits(&index, at(8)), Some(WaitReason::NoMatchingGrant));
}

#[test]
fn late_read_of_a_namespace_does_not_undo_an_event() {
    let labels =
        |value: &str| Namespace { uid: Some("uid".into()), labels: [("resets".to_owned(), value.to_owned())].into() };
    let selector = json!({ "namespaceSelector": { "matchLabels": { "resets": "yes" } } });
    let mut index = confirmed();
    deliver(&mut index, grant("everyone", "a", 2, selector));
    index.put_namespace("support".into(), labels("yes"));
    type Event = fn(&mut GrantIndex, Namespace);
    let events: [(&str, Event); 2] = [
        ("another label", |index, changed| assert!(index.put_namespace("support".into(), changed))),
        ("deleted", |index, _| assert!(index.remove_namespace("support"))),
    ];
    for (what, event) in events {
        index.namespace_read_sent("support");
        event(&mut index, labels("no"));
        index.confirm_namespace("support", Some(labels("yes")), at(1));
        assert_eq!(waits(&index, at(1)), Some(WaitReason::NoMatchingGrant), "{what}");
        assert!(index.namespace_to_read(&request(), at(1)).is_some(), "{what}: it is read again");
        index.namespace_read_sent("support");
        index.confirm_namespace("support", Some(labels("yes")), at(2));
        assert_eq!(waits(&index, at(2)), None, "{what}: the event was late");
    }
    // An event of the state that is read contradicts nothing.
    index.namespace_read_sent("support");
    index.put_namespace("support".into(), labels("yes"));
    index.confirm_namespace("support", Some(labels("yes")), at(3));
    assert_eq!(waits(&index, at(3)), None);
}

#[test]
fn failed_read_of_a_namespace_is_not_repeated_at_once() {
    let mut index = confirmed();
    deliver(&mut index, grant("everyone", "a", 2, json!({ "namespaceSelector": { "matchLabels": { "a": "b" } } })));
    index.namespace_read_sent("support");
    index.namespace_read_failed("support", at(1));
    for (now, due) in [(1, false), (3, false), (4, true)] {
        assert_eq!(index.namespace_to_read(&request(), at(now)).is_some(), due, "{now} s");
    }
    index.confirm_namespace("support", None, at(4));
    index.namespace_read_failed("support", at(5));
    assert_eq!(index.namespace_to_read(&request(), at(7)), None);
    index.confirm_namespace("support", None, at(8));
    assert_eq!(index.freshness.namespaces.len(), 1);
}

#[test]
fn namespace_is_read_only_where_it_decides() {
    for (spec, reads) in [
        (everyone(), false),
        (json!({ "namespaces": ["support"] }), false),
        (json!({ "namespaces": ["support"], "namespaceUIDs": ["uid"] }), true),
        (json!({ "namespaces": ["web"], "namespaceUIDs": ["uid"] }), false),
        (json!({ "namespaceSelector": { "matchLabels": { "a": "b" } } }), true),
        (json!({ "namespaceSelector": { "matchLabels": { "a": "b" } }, "usernamePattern": "bob" }), true),
        (json!({ "namespaceSelector": { "matchLabels": { "a": "b" } }, "userPoolID": "eu-west-1_Another01" }), false),
        (json!({ "namespaceSelector": {} }), false),
    ] {
        let mut index = confirmed();
        deliver(&mut index, grant("another", "b", 1, spec.clone()));
        assert_eq!(index.namespace_to_read(&request(), at(0)).is_some(), reads, "{spec}");
        index.put_pending(&std::sync::Arc::new(Watched::of(&request(), &mut Shared::default())));
        let carol = UserNames { username: Some("carol".into()), ..UserNames::default() };
        index.learn_user(Key::of(&request()), &KnownUser::Read(carol));
        let reads = reads && spec.get("usernamePattern").is_none();
        assert_eq!(index.namespace_to_read(&request(), at(0)).is_some(), reads, "{spec} of other users");
    }
}

#[test]
fn reads_of_namespaces_are_forgotten_when_they_are_too_old() {
    let mut index = confirmed();
    for seconds in 0..100 {
        let (read, failed) = (format!("n{seconds}"), format!("f{seconds}"));
        index.namespace_read_sent(&read);
        index.namespace_read_sent(&failed);
        index.confirm_namespace(&read, None, at(seconds));
        index.namespace_read_failed(&failed, at(seconds));
    }
    assert!(index.freshness.namespaces.len() <= 12, "{:?}", index.freshness.namespaces);
}
