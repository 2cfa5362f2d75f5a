use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::doctor::{
    checks::{cluster::Clock, policies::Policies, requests::Listed},
    finding::Severity,
};

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
        pending: Read::Got(Listed { requests, ..Listed::default() }),
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
fn a_bundle_appears_when_it_is_complete_for_its_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bundle.json");
    let files = || std::fs::read_dir(folder.path()).expect("the folder").count();
    let begun = create(&path).expect("a new file");
    assert!(!path.exists(), "it is not complete");
    drop(begun);
    assert_eq!(files(), 0, "nothing is left of one that was not completed");

    let (file, too_late) = (create(&path).expect("a new file"), create(&path).expect("a new file"));
    write(file, &path, &json!({"kind": "Bundle"})).expect("it is written");
    for refused in [create(&path).map(|_| ()), write(too_late, &path, &json!({}))] {
        assert!(refused.as_ref().is_err_and(|it| it.message.contains("name a new one")), "{refused:?}");
    }
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["kind"], "Bundle");
    assert_eq!(files(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// Returns facts of a user without any permission.
fn nothing_read() -> Facts {
    Facts {
        user: Read::Forbidden,
        may: Read::Forbidden,
        kinds: Read::Forbidden,
        schemas: Read::Forbidden,
        operators: Read::Forbidden,
        policies: Read::Forbidden,
        grants: Read::Forbidden,
        holds: Read::Forbidden,
        pending: Read::Forbidden,
        failed: Read::Forbidden,
        pool: Some("eu-west-1_Example01".into()),
        ..facts()
    }
}

#[test]
fn without_permissions_no_check_is_ok() {
    let findings = nothing_read().findings();
    let ok: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Ok).collect();
    assert_eq!(ok.iter().map(|it| it.subject).collect::<BTreeSet<_>>(), ["clock", "kubernetes"].into(), "{ok:#?}");
    let skipped = findings.iter().filter(|finding| finding.severity == Severity::Skipped);
    for finding in skipped {
        let names_a_role = finding.remedy.as_ref().is_some_and(|remedy| remedy.contains("Role "));
        assert!(names_a_role, "{finding:?}");
    }
}

#[test]
fn each_role_that_a_finding_names_exists() {
    let roles = crate::doctor::checks::identity::tests::roles();
    let of_kubernetes = ["system:basic-user", "system:discovery", "system:auth-delegator"];
    let role = regex::Regex::new("(?:cognito-reset-|system:)[a-z-]+").expect("a pattern");
    let skipped = nothing_read().findings().into_iter().filter(|finding| finding.severity == Severity::Skipped);
    let texts = skipped.filter_map(|finding| finding.remedy).collect::<Vec<_>>().join("\n");
    let named: BTreeSet<&str> = role.find_iter(&texts).map(|found| found.as_str()).collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(of_kubernetes.contains(&name) || roles.contains_key(name), "{name}");
    }
}
