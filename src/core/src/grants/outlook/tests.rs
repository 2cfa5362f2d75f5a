use serde_json::{Value, from_value, json};

use super::*;
use crate::{action::user_names::UserNames, grants::Namespace};

const POOL: &str = "eu-west-1_Example01";
const ROLE: &str = "arn:aws:iam::111122223333:role/reset";

fn index(grants: &[Value], holds: &[Value]) -> GrantIndex {
    let mut index = GrantIndex::default();
    for (number, spec) in grants.iter().enumerate() {
        let metadata = json!({ "name": format!("grant-{number}"), "uid": "7", "generation": 1 });
        index.put_grant(from_value(json!({ "metadata": metadata, "spec": spec })).unwrap());
    }
    for spec in holds {
        index.put_hold(from_value(json!({ "metadata": { "name": "hold" }, "spec": spec })).unwrap());
    }
    index
}

fn grant(more: &Value) -> Value {
    let mut spec = json!({ "userPoolID": POOL, "namespaces": ["support"] });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn request(more: &Value) -> PasswordResetRequest {
    let mut spec = json!({ "userPoolID": POOL, "username": "alice" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    from_value(json!({ "metadata": { "name": "reset", "namespace": "support" }, "spec": spec })).unwrap()
}

fn watch(request: &PasswordResetRequest) -> Watched {
    Watched::of(request, &mut Shared::default())
}

#[test]
fn outlook_is_blocked_only_where_no_turn_can_lead_to_a_call() {
    let blocked = |grants: &[Value], holds: &[Value], asked: Value| {
        let outlook = index(grants, holds).outlook(&watch(&request(&asked)));
        (outlook.blocked, outlook.account.is_some(), outlook.approval_required)
    };
    let open = grant(&json!({ "roleARN": ROLE }));
    let other = grant(&json!({ "roleARN": "arn:aws:iam::444455556666:role/reset" }));
    let approved = grant(&json!({ "requireApproval": true }));
    for (case, grants, holds, asked, wanted) in [
        ("no grant", vec![], vec![], json!({}), (Some(WaitReason::NoMatchingGrant), false, false)),
        ("a grant", vec![open.clone()], vec![], json!({}), (None, true, false)),
        (
            "of another pool",
            vec![grant(&json!({ "userPoolID": "eu-west-1_Other" }))],
            vec![],
            json!({}),
            (Some(WaitReason::NoMatchingGrant), false, false),
        ),
        (
            "suspended",
            vec![open.clone()],
            vec![],
            json!({ "suspend": true }),
            (Some(WaitReason::Suspended), true, false),
        ),
        (
            "held",
            vec![open.clone()],
            vec![json!({ "userPoolID": POOL, "reason": "incident" })],
            json!({}),
            (Some(WaitReason::UserPoolHeld), true, false),
        ),
        ("two roles", vec![open.clone(), other], vec![], json!({}), (Some(WaitReason::ConflictingGrants), true, false)),
        (
            "a suspended grant",
            vec![grant(&json!({ "suspend": true }))],
            vec![],
            json!({}),
            (Some(WaitReason::GrantSuspended), false, false),
        ),
        (
            "no notAfter",
            vec![grant(&json!({ "requireNotAfter": true }))],
            vec![],
            json!({}),
            (Some(WaitReason::NotAfterRequired), false, false),
        ),
        ("to be approved, and the user is read first", vec![approved], vec![], json!({}), (None, false, true)),
        (
            "a pattern that may match",
            vec![grant(&json!({ "usernamePattern": "bob" }))],
            vec![],
            json!({}),
            (None, false, false),
        ),
    ] {
        assert_eq!(blocked(&grants, &holds, asked), wanted, "{case}");
    }
}

#[test]
fn user_who_was_read_decides() {
    let mut index = index(&[grant(&json!({ "requireApproval": true, "usernamePattern": "alice" }))], &[]);
    let request = request(&json!({}));
    let watched = watch(&request);
    index.put_pending(&Arc::new(watched.clone()));
    let read = |name: &str| KnownUser::Read(UserNames { username: Some(name.to_owned()), ..UserNames::default() });
    assert_eq!(index.outlook(&watched).blocked, None);
    index.learn_user(watched.key, &read("alice"));
    assert_eq!(index.outlook(&watched).blocked, Some(WaitReason::AwaitingApproval));
    assert_eq!(index.outlook(&Watched { approved: true, ..watched.clone() }).blocked, None);
    index.learn_user(watched.key, &read("bob"));
    assert_eq!(index.outlook(&watched).blocked, Some(WaitReason::NoMatchingGrant));
}

#[test]
fn fingerprint_changes_with_what_matches_only() {
    let selector = grant(&json!({ "namespaces": null, "namespaceSelector": { "matchLabels": { "team": "a" } } }));
    let mut index = index(&[grant(&json!({})), selector], &[]);
    let watched = watch(&request(&json!({})));
    let before = index.outlook(&watched);
    let labelled = |value: &str| Namespace { uid: None, labels: [("team".to_owned(), value.to_owned())].into() };
    index.put_namespace("support".into(), labelled("b"));
    index.put_namespace("other".into(), labelled("a"));
    let spec = grant(&json!({ "userPoolID": "eu-west-1_Other" }));
    index.put_grant(from_value(json!({ "metadata": { "name": "other" }, "spec": spec })).unwrap());
    assert_eq!(index.outlook(&watched), before);
    index.put_namespace("support".into(), labelled("a"));
    assert_ne!(index.outlook(&watched).fingerprint, before.fingerprint);
}
