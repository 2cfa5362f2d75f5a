use serde_json::{Value, json};

use super::*;

fn index(grants: &[Value], holds: &[Value]) -> GrantIndex {
    let mut index = GrantIndex::default();
    for (number, spec) in grants.iter().enumerate() {
        let grant = json!({"metadata": {"name": format!("grant-{number}")}, "spec": spec});
        index.put_grant(serde_json::from_value(grant).expect("a grant"));
    }
    for (number, spec) in holds.iter().enumerate() {
        let hold = json!({"metadata": {"name": format!("hold-{number}")}, "spec": spec});
        index.put_hold(serde_json::from_value(hold).expect("a hold"));
    }
    index
}

fn grant(more: Value) -> Value {
    let mut spec = json!({"userPoolID": "eu-west-1_Example01", "namespaces": ["support"]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    spec
}

fn terms(grants: &[Value], holds: &[Value]) -> Terms {
    let sample = serde_json::from_value(json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": {"name": "sample", "namespace": "support"},
        "spec": {"userPoolID": "eu-west-1_Example01", "username": "sample", "requestedBy": {"username": "jane"}},
    }))
    .expect("a request");
    let wanted = ["alice", "bob"].map(|user| Wanted { name: format!("r-{user}"), username: user.to_owned() });
    Terms::new(&index(grants, holds), &wanted, &sample)
}

#[test]
fn each_request_is_allowed_held_or_waits() {
    let none = Terms::default();
    let by = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let held = |held, holds: &[(usize, &str)]| Terms {
        held,
        holds: (0..)
            .zip(holds)
            .map(|(number, (count, reason))| (format!("hold-{number}"), (*count, (*reason).to_owned())))
            .collect(),
        ..Terms::default()
    };
    for (grants, holds, wanted) in [
        (vec![], vec![], Terms { waiting: [("NoMatchingGrant", 2)].into(), ..none.clone() }),
        (vec![grant(json!({}))], vec![], Terms { allowed: 2, grants: by(&["grant-0"]), ..none.clone() }),
        (
            vec![grant(json!({"usernamePattern": "a.*"}))],
            vec![],
            Terms { allowed: 2, compared: 2, grants: by(&["grant-0"]), ..none.clone() },
        ),
        (
            vec![grant(json!({"maxResetsPerMinute": 30}))],
            vec![],
            Terms {
                allowed: 2,
                grants: by(&["grant-0"]),
                limits: [("grant-0".into(), (2, 30))].into(),
                ..none.clone()
            },
        ),
        (
            vec![grant(json!({"requireApproval": true}))],
            vec![],
            Terms { waiting: [("AwaitingApproval", 2)].into(), ..none.clone() },
        ),
        (
            vec![grant(json!({"suspend": true}))],
            vec![],
            Terms { waiting: [("GrantSuspended", 2)].into(), ..none.clone() },
        ),
        (vec![grant(json!({}))], vec![json!({"reason": "an incident"})], held(2, &[(2, "an incident")])),
        (
            vec![grant(json!({}))],
            vec![json!({"reason": "one user", "usernames": ["BOB"]})],
            Terms { allowed: 1, grants: by(&["grant-0"]), ..held(1, &[(1, "one user")]) },
        ),
        (
            vec![grant(json!({}))],
            vec![json!({"reason": "one user", "usernames": ["bob"]}), json!({"reason": "an incident"})],
            held(2, &[(1, "one user"), (2, "an incident")]),
        ),
        (
            vec![grant(json!({}))],
            vec![json!({"reason": "elsewhere", "namespaces": ["other"]})],
            Terms { allowed: 2, grants: by(&["grant-0"]), ..none.clone() },
        ),
        // A namespace without a grant learns nothing of a pool.
        (vec![], vec![json!({"reason": "an incident"})], Terms { waiting: [("NoMatchingGrant", 2)].into(), ..none }),
    ] {
        assert_eq!(terms(&grants, &holds), wanted, "{grants:?} {holds:?}");
    }
}
