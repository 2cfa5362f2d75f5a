use std::collections::BTreeMap;

use super::*;
use crate::doctor::finding::Severity;

const POOL: &str = "eu-west-1_Example01";

fn object(kind: &str, name: &str, rest: &Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    serde_json::from_value(object).expect("an object")
}

/// A grant that the operator has looked at, with a condition beside Ready.
fn grant(name: &str, spec: &Value, ready: (&str, &str), role: Option<&str>) -> DynamicObject {
    let condition = |type_, status, reason| {
        json!({"type": type_, "status": status, "reason": reason, "message": "as it is",
               "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let mut conditions = vec![condition("Ready", ready.0, ready.1)];
    conditions.extend(role.map(|status| condition("RoleAssumable", status, "Checked")));
    let mut full = json!({"userPoolID": POOL});
    for (key, value) in spec.as_object().into_iter().flatten() {
        full[key] = value.clone();
    }
    let status = json!({"observedGeneration": 1, "conditions": conditions});
    object("UserPoolGrant", name, &json!({"spec": full, "status": status}))
}

fn valid(name: &str, spec: &Value) -> DynamicObject {
    grant(name, spec, ("True", "Valid"), None)
}

fn found(all: Vec<DynamicObject>, pool: Option<&str>, namespace: &Read<Namespace>) -> Vec<Finding> {
    grants(&Read::Got(all), Asked { pool, namespace: "support", everywhere: false, read: namespace })
}

fn labelled() -> Read<Namespace> {
    let labels = BTreeMap::from([("team".to_owned(), "support".to_owned())]);
    Read::Got(Namespace { uid: Some("u".into()), labels })
}

#[test]
fn the_grants_are_asked_as_the_operator_asks_them() {
    let everyone = json!({"namespaces": ["*"]});
    let by_team = json!({"namespaceSelector": {"matchLabels": {"team": "support"}}});
    let with = |key: &str, value: Value| json!({"namespaces": ["support"], key: value});
    let (ok, fail) = (Severity::Ok, Severity::Fail);
    for (grants, read, severity, says) in [
        (vec![valid("a", &everyone)], Read::Forbidden, ok, "a allows users of eu-west-1_Example01"),
        (vec![valid("a", &everyone), valid("b", &everyone)], labelled(), ok, "a, b allow"),
        (vec![valid("a", &by_team)], labelled(), ok, "a allows"),
        (vec![valid("a", &by_team)], Read::Forbidden, Severity::Skipped, "by labels"),
        (vec![valid("a", &json!({"namespaces": ["other"]}))], labelled(), fail, "NoMatchingGrant"),
        (vec![], labelled(), fail, "NoMatchingGrant"),
        (vec![valid("a", &with("suspend", json!(true)))], labelled(), fail, "GrantSuspended"),
        (vec![valid("a", &with("requireApproval", json!(true)))], labelled(), ok, "second person"),
        (vec![valid("a", &with("requireNotAfter", json!(true)))], labelled(), ok, "if the request has notAfter"),
        (vec![valid("a", &with("usernamePattern", json!("x.*")))], labelled(), ok, "if usernamePattern matches"),
        (
            vec![valid("a", &with("roleARN", json!("arn:aws:iam::1:role/x"))), valid("b", &everyone)],
            labelled(),
            fail,
            "ConflictingGrants",
        ),
    ] {
        let last = found(grants, Some(POOL), &read).pop().expect("a finding");
        assert_eq!(last.severity, severity, "{last:?}");
        assert!(last.text.contains(says), "{last:?}");
    }
    let other = found(vec![valid("a", &everyone)], Some("eu-west-1_Other"), &labelled());
    assert_eq!(other[0].severity, fail, "{other:?}");
}

#[test]
fn without_a_pool_the_grants_are_counted() {
    let one = found(vec![valid("a", &json!({"namespaces": ["*"]}))], None, &labelled());
    assert!(one[0].severity == Severity::Ok && one[0].text.contains("1 grant: a"), "{one:?}");
    assert_eq!(found(vec![], None, &labelled())[0].severity, Severity::Fail);
    let skipped = grants(&Read::Forbidden, Asked { pool: None, namespace: "x", everywhere: true, read: &Read::Absent });
    assert!(skipped[0].remedy.as_ref().is_some_and(|it| it.contains("cognito-reset-auditor")), "{skipped:?}");
}

#[test]
fn grants_that_are_not_ready_and_their_roles_are_named() {
    let spec = json!({"namespaces": ["*"], "roleARN": "arn:aws:iam::1:role/x"});
    for (ready, role, wanted) in [
        (("True", "Valid"), Some("True"), vec![("role", Severity::Ok)]),
        (("True", "Valid"), Some("False"), vec![("role", Severity::Fail)]),
        (("True", "Valid"), None, vec![("role", Severity::Ok)]),
        (("False", "NoNamespaceMatches"), Some("True"), vec![("grants", Severity::Warn), ("role", Severity::Ok)]),
    ] {
        let mut found = found(vec![grant("a", &spec, ready, role)], None, &labelled());
        found.pop();
        let found: Vec<_> = found.iter().map(|finding| (finding.subject, finding.severity)).collect();
        assert_eq!(found, wanted);
    }
    let unseen = object("UserPoolGrant", "a", &json!({"spec": {"userPoolID": POOL, "namespaces": ["*"]}}));
    let unreadable = object("UserPoolGrant", "b", &json!({"spec": {"userPoolID": POOL, "weekdays": []}}));
    let found = found(vec![unseen, unreadable], None, &labelled());
    assert!(found[0].text.contains("cannot parse b"), "{found:?}");
    assert!(found[1].text.contains("no operator has looked at the grant a"), "{found:?}");
}

#[test]
fn a_hold_that_applies_fails_unless_it_names_users() {
    let now = "2026-01-01T00:05:00Z".parse().expect("a time");
    let asked = Asked { pool: Some(POOL), namespace: "support", everywhere: false, read: &Read::Absent };
    for (spec, severity, says) in [
        (json!({}), Severity::Fail, "a has held every pool for 5m: incident 7"),
        (json!({"userPoolID": POOL}), Severity::Fail, "the pool eu-west-1_Example01"),
        (json!({"userPoolID": "eu-west-1_Other"}), Severity::Ok, "1 hold elsewhere"),
        (json!({"namespaces": ["shops"]}), Severity::Ok, "no hold applies"),
        (json!({"namespaces": ["support"], "usernames": ["alice", "bob"]}), Severity::Warn, "2 users of every pool"),
    ] {
        let mut spec = spec;
        spec["reason"] = "incident 7".into();
        let found = holds(&Read::Got(vec![object("UserPoolHold", "a", &json!({ "spec": spec }))]), asked, now);
        assert_eq!((found.len(), found[0].severity), (1, severity), "{found:?}");
        assert!(found[0].text.contains(says), "{found:?}");
    }
    let broken = object("UserPoolHold", "b", &json!({"spec": {"reason": 7}}));
    assert_eq!(holds(&Read::Got(vec![broken]), asked, now)[0].severity, Severity::Fail);
}

#[test]
fn approvals_are_required_by_grants_of_the_pool_alone() {
    let read = Read::Got(vec![valid("a", &json!({"namespaces": ["*"], "requireApproval": true}))]);
    assert!(requires_approval(&read, None) && requires_approval(&read, Some(POOL)));
    assert!(!requires_approval(&read, Some("eu-west-1_Other")) && !requires_approval(&Read::Forbidden, None));
}
