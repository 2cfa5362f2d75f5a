use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::doctor::checks::{cluster::Clock, policies::Policies, requests::Listed};

/// The marked name, which may be nowhere in a bundle.
const MARKED: &str = "marked-user";

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

fn request() -> Value {
    json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": {"name": "reset-marked-user", "namespace": "support", "uid": "u-1",
                     "annotations": {"note": "for marked-user"}, "labels": {"marked-user": "x"}},
        "spec": {"userPoolID": "eu-west-1_X", "username": MARKED, "reason": "marked-user called",
                 "requestedBy": {"username": "arn:aws:sts::1:assumed-role/Support/marked-user"}},
        "status": {"outcome": "Pending", "conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "WriteRefused", "observedGeneration": 1,
             "message": "marked-user", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

fn facts() -> Facts {
    let now = Timestamp::UNIX_EPOCH;
    let requests = vec![serde_json::from_value(request()).expect("a request")];
    let user = json!({"username": "marked-user@example.com", "groups": ["system:authenticated", "marked-user"]});
    Facts {
        namespace: "support".into(),
        everywhere: false,
        pool: None,
        kubernetes: k8s_openapi::apimachinery::pkg::version::Info {
            git_version: "v1.37.2".into(),
            ..Default::default()
        },
        clock: Clock { before: now, after: now, date: Some(now) },
        user: Read::Got(serde_json::from_value(user).expect("a user")),
        may: Read::Forbidden,
        kinds: Read::Got(BTreeSet::new()),
        schemas: Read::Absent,
        operators: Read::Got(vec![Installation::assumed("ops")]),
        lacking: vec![("account".into(), Read::Forbidden)],
        leases: Read::Forbidden,
        restarts: Read::Forbidden,
        policies: Read::Got(Policies::default()),
        grants: Read::Got(vec![]),
        holds: Read::Got(vec![]),
        labels: Read::Forbidden,
        pending: Read::Got(Listed { requests, is_cut: false }),
        failed: Read::Failed("no response".into()),
    }
}

fn evidence() -> Evidence {
    let hold = json!({"apiVersion": "x/v1", "kind": "UserPoolHold", "metadata": {"name": "incident"},
                      "spec": {"usernames": [MARKED], "reason": "marked-user is at risk"}});
    let log = "{\"message\":\"claimed\",\"request\":\"support/reset-marked-user\"}\nfor marked-user@example.com\n\
               {\"name\":\"gone-marked\",\"error\":\"gone-marked not found\"}";
    Evidence {
        requests: Read::Got((vec![object(request())], 7)),
        records: Read::Forbidden,
        grants: Read::Absent,
        holds: Read::Got((vec![object(hold)], 0)),
        logs: Read::Got(vec![("pod-1".into(), Read::Got(log.into())), ("pod-2".into(), Read::Forbidden)]),
    }
}

#[test]
fn a_marked_user_is_nowhere_in_a_bundle() {
    let facts = facts();
    let findings = facts.findings();
    assert!(findings.iter().any(|finding| finding.text.contains(MARKED)), "{findings:?}");
    let bundle = bundle(&facts, &findings, &evidence(), b"salt", Timestamp::UNIX_EPOCH).expect("a bundle");
    let text = bundle.to_string();
    assert!(!text.contains(MARKED) && !text.contains("gone-marked"), "{text}");
    assert_eq!(bundle["requests"]["leftOut"], 7);
    assert_eq!(bundle["records"]["notRead"], "you lack the permission");
    assert_eq!(bundle["logs"]["pod-2"]["notRead"], "you lack the permission");
    let name = bundle["requests"]["items"][0]["metadata"]["name"].as_str().expect("a name");
    let line = bundle["logs"]["pod-1"][0].as_str().expect("a line");
    assert!(name.starts_with("hash-") && line.contains(name), "logs and objects stay comparable: {line}");
    assert_eq!(bundle["holds"]["items"][0]["metadata"]["name"], "incident");
}

#[test]
fn findings_of_what_was_read_name_each_subject() {
    let subjects: BTreeSet<_> = facts().findings().iter().map(|finding| finding.subject).collect();
    for wanted in [
        "you",
        "permissions",
        "kubernetes",
        "clock",
        "crds",
        "operator",
        "version",
        "leader",
        "account",
        "policies",
        "stamp",
        "grants",
        "holds",
        "waiting",
        "backlog",
    ] {
        assert!(subjects.contains(wanted), "{wanted}: {subjects:?}");
    }
}

#[test]
fn a_file_that_exists_is_not_overwritten() {
    let path = std::env::temp_dir().join(format!("bundle-{}", std::process::id()));
    let file = create(&path).expect("a new file");
    write(file, &path, &json!({"kind": "Bundle"})).expect("it is written");
    let refused = create(&path).expect_err("it exists");
    assert!(refused.message.contains("name a new one"), "{refused}");
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::remove_file(&path).expect("it is deleted");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["kind"], "Bundle");
}
