//! Tables of holds: what they hold, and what their statuses say.

use cognito_reset_api::UserPoolHold;

use super::*;
use crate::action::user_names::UserNames;

/// A hold, with these fields of its spec.
fn hold(name: &str, more: Value) -> UserPoolHold {
    let mut spec = json!({ "reason": "incident 1042" });
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let mut hold = UserPoolHold::new(name, serde_json::from_value(spec).unwrap());
    hold.metadata.generation = Some(3);
    hold
}

/// An index in which everything is granted, except for this hold.
fn held_index(more: Value) -> GrantIndex {
    let mut index = index_of(&[all("everyone", json!({}))]);
    assert!(index.put_hold(hold("stop", more)));
    index
}

fn stop(spec: Value) -> UnreadableHold {
    UnreadableHold { name: "stop".into(), uid: Some("1".into()), spec, held_requests: None }
}

/// The same, with a hold that cannot be parsed.
fn unreadable(spec: Value) -> GrantIndex {
    let mut index = index_of(&[all("everyone", json!({}))]);
    assert!(index.put_unreadable_hold(stop(spec)));
    index
}

fn is_held(index: &GrantIndex, request: &PasswordResetRequest, user: &KnownUser) -> bool {
    let evaluation = index.evaluate(request, user);
    let held = evaluation.authorization == Err(WaitReason::UserPoolHeld);
    assert_eq!(evaluation.held_by.is_some(), held, "{evaluation}");
    assert!(held || evaluation.authorization.is_ok(), "{evaluation}");
    held
}

fn read(names: [&str; 5]) -> KnownUser {
    let [username, sub, email, phone_number, preferred_username] =
        names.map(|name| (!name.is_empty()).then(|| name.to_owned()));
    KnownUser::Read(UserNames { username, sub, email, phone_number, preferred_username })
}

#[test]
fn hold_is_bounded_by_its_pool_and_namespaces() {
    let pool = "eu-west-1_Example01";
    for (what, spec, held) in [
        ("everything", json!({}), true),
        ("the pool", json!({ "userPoolID": pool }), true),
        ("another pool", json!({ "userPoolID": "eu-west-1_Example02" }), false),
        ("the namespace", json!({ "namespaces": ["web", "support"] }), true),
        ("another namespace", json!({ "namespaces": ["web"] }), false),
        ("pool and namespace", json!({ "userPoolID": pool, "namespaces": ["support"] }), true),
        ("pool and another namespace", json!({ "userPoolID": pool, "namespaces": ["web"] }), false),
        // The CRD rejects these. A part that could name nothing does not narrow the hold.
        ("a pool that cannot exist", json!({ "userPoolID": " eu-west-1_Example02" }), true),
        ("no pool", json!({ "userPoolID": "" }), true),
        ("no namespaces", json!({ "namespaces": [] }), true),
        ("a pattern for a namespace", json!({ "namespaces": ["*"] }), true),
        ("no users", json!({ "usernames": [] }), true),
    ] {
        let index = held_index(spec);
        assert_eq!(is_held(&index, &alice(), &KnownUser::NotRead), held, "{what}");
    }
    // The labels of a namespace do not matter, so one that no watch has shown yet is held as well.
    assert!(is_held(&held_index(json!({ "namespaces": ["unheard-of"] })), &from("unheard-of"), &KnownUser::NotRead));
}

#[test]
fn hold_of_a_user_holds_every_name_that_cognito_accepts() {
    let names = ["alice", "sub-1", "alice@example.com", "+44123", "ally"];
    for held in ["alice", "sub-1", "alice@example.com", "+44123", "ally", "ALICE", "Alice@Example.com"] {
        let index = held_index(json!({ "usernames": ["somebody", held] }));
        for spelling in names {
            assert!(is_held(&index, &of_user(spelling), &read(names)), "{held} as {spelling}");
            assert!(is_held(&index, &of_user(spelling), &KnownUser::Unreadable), "{held} as {spelling}, unreadable");
        }
        assert!(is_held(&index, &of_user(held), &KnownUser::NotRead), "{held} as it is spelled");
        // Who it is turns out when the user is read, which comes before every claim.
        assert!(!is_held(&index, &of_user("another-alias"), &KnownUser::NotRead), "{held}");
        assert!(!is_held(&index, &of_user("bob"), &read(["bob", "sub-2", "", "", ""])), "{held}");
    }
    let elsewhere = held_index(json!({ "userPoolID": "eu-west-1_Example02", "usernames": ["alice"] }));
    assert!(!is_held(&elsewhere, &alice(), &KnownUser::Unreadable), "a hold of another pool asks for no user");
}

#[test]
fn unreadable_hold_holds_what_it_names_or_else_everything() {
    let (ours, another) = ("eu-west-1_Example01", "eu-west-1_Example02");
    for (what, spec, held) in [
        ("no spec", json!(null), true),
        ("a spec of another type", json!(["eu-west-1_Example02"]), true),
        ("no reason", json!({}), true),
        ("the pool", json!({ "userPoolID": ours }), true),
        ("another pool", json!({ "userPoolID": another }), false),
        ("a pool of another type", json!({ "userPoolID": [another] }), true),
        ("an empty pool", json!({ "userPoolID": "" }), true),
        ("a pool that cannot exist", json!({ "userPoolID": "eu-west-1_ Example02" }), true),
        ("the namespace", json!({ "namespaces": ["support"] }), true),
        ("another namespace", json!({ "namespaces": ["web"] }), false),
        ("a namespace of another type", json!({ "namespaces": ["web", 7] }), true),
        ("namespaces of another type", json!({ "namespaces": "web" }), true),
        ("no namespace", json!({ "namespaces": [] }), true),
        ("a name that no namespace has", json!({ "namespaces": ["web", "Web"] }), true),
        ("other users", json!({ "usernames": ["bob"] }), true),
        ("other users of another pool", json!({ "userPoolID": another, "usernames": 7 }), false),
    ] {
        assert_eq!(is_held(&unreadable(spec), &alice(), &KnownUser::NotRead), held, "{what}");
    }
    let held_by = unreadable(json!({})).evaluate(&alice(), &KnownUser::NotRead).held_by.unwrap();
    assert_eq!(held_by, HeldBy { hold: "stop".into(), cause: HoldCause::HoldUnreadable, others: 0 });
}

#[test]
fn hold_comes_before_every_grant_and_goes_with_its_deletion() {
    let strict = |more: Value| vec![all("strict", more)];
    for grants in [
        strict(json!({})),
        strict(json!({ "suspend": true })),
        strict(json!({ "requireApproval": true })),
        strict(json!({ "maxPendingPerNamespace": 0 })),
        vec![all("a", json!({ "roleARN": ONE })), all("b", json!({ "roleARN": TWO }))],
    ] {
        let mut index = index_of(&grants);
        let without = index.evaluate(&alice(), &KnownUser::NotRead);
        index.put_hold(hold("stop", json!({})));
        let held = index.evaluate(&alice(), &KnownUser::NotRead);
        assert_eq!(held.authorization, Err(WaitReason::UserPoolHeld), "{grants:?}");
        assert_eq!(held.approval_required, without.approval_required);
        assert!(index.remove_hold("stop") && !index.remove_hold("stop"));
        assert_eq!(index.evaluate(&alice(), &KnownUser::NotRead), without, "{grants:?}");
    }
    // A namespace without a grant learns nothing of the pool.
    let mut index = index_of(&[grant("web", json!({ "namespaces": ["web"] }))]);
    index.put_hold(hold("stop", json!({})));
    let evaluation = index.evaluate(&alice(), &KnownUser::NotRead);
    assert_eq!((evaluation.authorization, evaluation.held_by), (Err(WaitReason::NoMatchingGrant), None));
}

#[test]
fn request_shows_the_first_hold_that_matches_and_how_many_more() {
    let mut index = held_index(json!({ "reason": "one\u{202e}line" }));
    let shown = |index: &GrantIndex, user: &KnownUser| {
        index.evaluate(&alice(), user).held_by.map(|by| (by.hold, by.cause, by.others))
    };
    let escaped = HoldCause::Matches("one\\u202eline".into());
    assert_eq!(shown(&index, &KnownUser::NotRead), Some(("stop".into(), escaped.clone(), 0)));
    index.put_hold(hold("a-user", json!({ "usernames": ["bob"] })));
    let user = |others| Some(("a-user".into(), HoldCause::UserUnreadable, others));
    assert_eq!(shown(&index, &KnownUser::Unreadable), Some(("stop".into(), escaped, 1)), "the surer one first");
    index.remove_hold("stop");
    assert_eq!(shown(&index, &KnownUser::Unreadable), user(0));
    assert_eq!(shown(&index, &KnownUser::NotRead), None);
    let text = index.evaluate(&alice(), &KnownUser::Unreadable).to_string();
    assert_eq!(text, "Err(UserPoolHeld), not confirmed, held by a-user and 0 others");
}

#[test]
fn all_holds_of_a_request_are_named() {
    let mut index = held_index(json!({}));
    index.put_hold(hold("bob", json!({ "usernames": ["bob"] })));
    index.put_hold(hold("elsewhere", json!({ "namespaces": ["web"] })));
    let stop = ("stop".to_owned(), HoldCause::Matches("incident 1042".into()));
    assert_eq!(index.all_holding(&alice(), &KnownUser::NotRead), std::slice::from_ref(&stop));
    let bob = ("bob".to_owned(), HoldCause::UserUnreadable);
    assert_eq!(index.all_holding(&alice(), &KnownUser::Unreadable), [bob, stop]);
    index.remove_hold("stop");
    assert_eq!(index.all_holding(&alice(), &KnownUser::NotRead), []);
    let mut ungranted = index_of(&[]);
    ungranted.put_hold(hold("stop", json!({})));
    assert_eq!(ungranted.all_holding(&alice(), &KnownUser::NotRead), [], "nothing is held that no grant allows");
}

/// The status of each hold that has to change: type, status and reason of the condition, and the
/// number of requests.
fn statuses(index: &mut GrantIndex) -> Vec<(String, i64)> {
    let stale = index.stale_hold_statuses(NOW);
    for stale in &stale {
        index.hold_status_written(&stale.object);
    }
    let status = |stale: StaleStatus<UserPoolHold>| {
        let status = stale.object.status.unwrap();
        assert_eq!(status.observed_generation, Some(3));
        let ready = &status.conditions[0];
        (format!("{} {} {}", ready.type_, ready.status, ready.reason), status.held_requests.unwrap())
    };
    stale.into_iter().map(status).collect()
}

#[test]
fn hold_status_counts_the_requests_that_wait_for_it() {
    let mut index = held_index(json!({ "namespaces": ["support"], "usernames": ["alice"] }));
    let in_force = |held| vec![("Ready True InForce".to_owned(), held)];
    assert_eq!(statuses(&mut index), in_force(0));
    assert_eq!(statuses(&mut index), []);
    put(&mut index, &waiting("support", "a", 1, json!({})));
    put(&mut index, &waiting("web", "a", 1, json!({})));
    put(&mut index, &waiting("support", "alias", 1, json!({ "username": "alice@example.com" })));
    put(&mut index, &waiting("support", "of-another-pool", 1, json!({ "userPoolID": "eu-west-1_Example02" })));
    assert_eq!(statuses(&mut index), in_force(1), "a pool without a grant is not counted");
    let alias = named("support", "alias");
    assert!(index.learn_user(alias, &read(["alice", "1", "alice@example.com", "", ""])).is_new);
    let again = index.learn_user(alias, &read(["alice", "1", "alice@example.com", "", ""]));
    assert_eq!(again, Learned::default(), "known already");
    assert_eq!(statuses(&mut index), in_force(2));
    assert!(index.learn_user(alias, &KnownUser::Unreadable).is_new);
    assert_eq!(statuses(&mut index), [], "held as well");
    index.remove_pending(alias);
    index.remove_pending(named("support", "a"));
    assert_eq!(statuses(&mut index), in_force(0));
    index.remove_namespace("support");
    assert_eq!(statuses(&mut index), [("Ready False NoNamespaceMatches".to_owned(), 0)]);
    index.put_unreadable_hold(stop(json!({})));
    assert_eq!(statuses(&mut index), [], "its report is written elsewhere");
}

#[test]
fn hold_that_cannot_be_parsed_counts_what_it_holds() {
    let mut index = unreadable(json!({ "namespaces": ["support"] }));
    let count = |held_requests| HeldCount { name: "stop".into(), uid: Some("1".into()), held_requests };
    assert_eq!(index.stale_held_counts(), [count(0)]);
    put(&mut index, &waiting("support", "a", 1, json!({})));
    put(&mut index, &waiting("web", "a", 1, json!({})));
    assert_eq!(index.stale_held_counts(), [count(1)]);
    index.held_count_written(&HeldCount { uid: Some("earlier".into()), ..count(1) });
    assert_eq!(index.stale_held_counts(), [count(1)], "that was another hold of the name");
    index.held_count_written(&count(1));
    assert_eq!(index.stale_held_counts(), []);
    let shown = |held, spec| UnreadableHold { held_requests: Some(held), ..stop(spec) };
    assert!(!index.put_unreadable_hold(shown(1, json!({ "namespaces": ["support"] }))), "a status");
    assert_eq!(index.stale_held_counts(), []);
    assert!(index.put_unreadable_hold(shown(7, json!({}))), "a spec");
    assert_eq!(index.stale_held_counts(), [count(2)], "the status shows another number");
    index.remove_hold("stop");
    index.held_count_written(&count(2));
    assert!(index.stale_held_counts().is_empty() && !index.has_holds(), "a late response adds no hold");
    assert!(held_index(json!({})).stale_held_counts().is_empty(), "a parsed hold has a whole status");
}

#[test]
fn user_that_was_read_is_held_without_another_read() {
    let alias = waiting("support", "alias", 1, json!({ "username": "alice@example.com" }));
    let name = named("support", "alias");
    let user = read(["alice", "1", "alice@example.com", "", ""]);
    let mut index = held_index(json!({ "usernames": ["alice"] }));
    assert_eq!(index.learn_user(name, &user), Learned::default(), "not a pending request");
    put(&mut index, &alias);
    assert!(!is_held(&index, &alias, &KnownUser::NotRead));
    index.learn_user(name, &user);
    assert!(is_held(&index, &alias, &KnownUser::NotRead));
    assert!(!is_held(&index, &alias, &read(["bob", "2", "alice@example.com", "", ""])), "a later read decides");
    index.learn_user(name, &KnownUser::Unreadable);
    assert!(!is_held(&index, &alias, &KnownUser::NotRead), "who could not be read is read again");
    index.learn_user(name, &user);
    index.remove_hold("stop");
    assert!(index.users.is_empty(), "no hold asks for users any more");
    assert_eq!(index.learn_user(name, &user), Learned::default());
}

#[test]
fn only_what_may_alter_what_is_held_is_a_change() {
    let mut index = held_index(json!({}));
    let stale = index.stale_hold_statuses(NOW).remove(0);
    assert_eq!(stale.changed, [], "well from the start");
    assert!(!index.put_hold(stale.object.clone()), "a status");
    assert_eq!(index.stale_hold_statuses(NOW), []);
    assert!(index.put_hold(hold("stop", json!({ "reason": "another" }))), "a spec");
    index.hold_status_written(&stale.object);
    let mut recreated = stale.object.clone();
    recreated.metadata.uid = Some("another".into());
    assert!(index.put_hold(recreated), "another object of the name");
    assert!(index.put_unreadable_hold(stop(json!({}))));
    assert!(index.put_hold(stale.object.clone()), "it can be read again");
    assert!(index.has_holds() && !index.retain_holds(&["stop".into()].into()));
    assert!(index.retain_holds(&BTreeSet::new()) && !index.has_holds());
    index.hold_status_written(&stale.object);
    assert!(!index.has_holds(), "a late response adds no hold");
    let mut nowhere = held_index(json!({ "namespaces": ["nowhere"] }));
    let reasons: Vec<_> = nowhere.stale_hold_statuses(NOW).remove(0).changed.into_iter().map(|it| it.reason).collect();
    assert_eq!(reasons, ["NoNamespaceMatches"]);
    nowhere.put_namespace("nowhere".into(), Namespace::default());
    assert_eq!(statuses(&mut nowhere), [("Ready True InForce".to_owned(), 0)]);
}
