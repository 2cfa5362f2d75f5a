use serde_json::json;

use super::*;
use crate::doctor::finding::Severity;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

fn installed(replicas: (i32, Option<i32>), watched: &[&str]) -> Installation {
    let watched = watched.iter().map(|name| (*name).to_owned()).collect();
    Installation { replicas, watched, image: "operator:0.1.0".into(), ..Installation::assumed("ops") }
}

#[test]
fn replicas_that_are_not_ready_are_reported() {
    for (replicas, severity, says) in [
        ((2, Some(2)), Severity::Ok, "2 of 2"),
        ((2, Some(1)), Severity::Warn, "1 of 2"),
        ((2, Some(0)), Severity::Fail, "0 of 2"),
        ((0, Some(0)), Severity::Fail, "scaled to 0"),
        ((2, None), Severity::Warn, "has not reported"),
    ] {
        let found = deployments(&Read::Got(vec![installed(replicas, &[])]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, severity);
        assert!(found[0].text.contains(says), "{found:?}");
    }
    assert_eq!(deployments(&Read::Got(vec![]))[0].severity, Severity::Warn);
    assert_eq!(deployments(&Read::Forbidden)[0].severity, Severity::Skipped);
}

#[test]
fn two_installations_are_reported_if_they_share_requests() {
    let both = |first: &[&str], second: &[&str]| {
        let two = vec![installed((1, Some(1)), first), installed((1, Some(1)), second)];
        deployments(&Read::Got(two)).iter().any(|finding| finding.severity == Severity::Warn)
    };
    for (first, second, shared) in [
        (&[] as &[&str], &[] as &[&str], true),
        (&["a"], &[], true),
        (&["a", "b"], &["b"], true),
        (&["a"], &["b"], false),
    ] {
        assert_eq!(both(first, second), shared, "{first:?} {second:?}");
    }
}

#[test]
fn versions_are_compared_where_the_image_names_one() {
    for (image, severity, says) in [
        ("operator:0.1.0", Severity::Ok, "0.1.0"),
        ("registry:5000/operator:v0.1.0@sha256:00", Severity::Ok, "0.1.0"),
        ("operator:0.2.0", Severity::Warn, "upgrade the plugin"),
        ("operator:0.0.9", Severity::Warn, "upgrade the operator"),
        ("operator:0.10.0-rc.1", Severity::Warn, "upgrade the plugin"),
        ("registry:5000/operator", Severity::Skipped, "does not name"),
        ("operator:latest", Severity::Skipped, "does not name"),
    ] {
        let operator = Installation { image: image.into(), ..Installation::assumed("ops") };
        let found = version(&Read::Got(vec![operator]), "0.1.0").remove(0);
        assert_eq!(found.severity, severity, "{image}");
        let text = format!("{} {}", found.text, found.remedy.unwrap_or_default());
        assert!(text.contains(says), "{image}: {text}");
    }
    assert!(version(&Read::Forbidden, "0.1.0").is_empty());
}

#[test]
fn missing_permissions_of_the_operator_fail() {
    assert_eq!(permissions("account", &Read::Got(vec![])).severity, Severity::Ok);
    let found = permissions("account", &Read::Got(vec!["list userpoolgrants".into()]));
    assert_eq!((found.severity, found.text.as_str()), (Severity::Fail, "account lacks list userpoolgrants"));
    assert_eq!(permissions("account", &Read::Forbidden).severity, Severity::Skipped);
}

fn lease(namespace: &str, holder: Option<&str>, renewed: i64, watched: &[(&str, &str)]) -> Lease {
    let annotations: serde_json::Map<_, _> = watched.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    let time = format!("{:.6}", at(renewed));
    serde_json::from_value(json!({
        "metadata": {"name": NAME, "namespace": namespace, "annotations": annotations},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": time},
    }))
    .expect("a Lease")
}

#[test]
fn a_lease_that_nobody_renews_fails() {
    for (lease, now, severity, says) in [
        (Some(lease("ops", Some("pod-1"), 0, &[])), 3, Severity::Ok, "pod-1 in namespace ops, renewed 3s ago"),
        (Some(lease("ops", Some("pod-1"), 0, &[])), 20, Severity::Ok, "renewed 20s ago"),
        (Some(lease("ops", Some("pod-1"), 0, &[])), 21, Severity::Fail, "last renewed 21s ago"),
        (Some(lease("ops", None, 0, &[])), 1, Severity::Fail, "no operator leads"),
        (None, 0, Severity::Fail, "no operator has started"),
    ] {
        let found = leader(&Read::Got(lease.into_iter().collect()), &Read::Forbidden, at(now));
        assert_eq!((found.len(), found[0].severity), (1, severity), "{found:?}");
        assert!(found[0].text.contains(says), "{found:?}");
    }
    let without = Installation { uses_lease: false, ..Installation::assumed("ops") };
    let found = leader(&Read::Got(vec![]), &Read::Got(vec![without]), at(0));
    assert!(found[0].severity == Severity::Ok && found[0].text.contains("--lease=false"), "{found:?}");
}

#[test]
fn an_operator_ahead_of_the_api_server_is_reported() {
    let found = leader(&Read::Got(vec![lease("ops", Some("pod-1"), 60, &[])]), &Read::Forbidden, at(0));
    assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Ok, Severity::Warn]);
    assert!(found[1].text.contains("60s ahead"), "{found:?}");
}

#[test]
fn two_leaders_of_the_same_namespaces_are_reported() {
    let leaders = |watched: &[(&str, &str)], renewed| {
        let two = vec![lease("one", Some("a"), 0, watched), lease("two", Some("b"), renewed, &[(WATCHED, "shops")])];
        leader(&Read::Got(two), &Read::Forbidden, at(0)).last().map(|finding| finding.severity)
    };
    assert_eq!(leaders(&[], 0), Some(Severity::Warn));
    assert_eq!(leaders(&[(WATCHED, "support")], 0), Some(Severity::Ok));
    assert_eq!(leaders(&[], -60), Some(Severity::Fail));
}

#[test]
fn restarted_pods_are_named() {
    let found = restarts(&Read::Got(vec![("a".into(), 0), ("b".into(), 3)])).expect("a finding");
    assert_eq!(found.text, "1 Pod restarted: b (3)");
    assert_eq!(restarts(&Read::Got(vec![("a".into(), 0)])), None);
    assert_eq!(restarts(&Read::Forbidden), None);
}

#[test]
fn the_endpoint_has_to_be_of_the_region_of_the_pool() {
    let with = |endpoint: Option<&str>| {
        let endpoint = endpoint.map(str::to_owned);
        region("eu-west-1_Example01", &Read::Got(vec![Installation { endpoint, ..Installation::assumed("ops") }]))
            .severity
    };
    assert_eq!(with(None), Severity::Ok);
    assert_eq!(with(Some("https://vpce-1.cognito-idp.eu-west-1.vpce.amazonaws.com")), Severity::Ok);
    assert_eq!(with(Some("https://cognito-idp.eu-central-1.amazonaws.com")), Severity::Fail);
    for unknown in [Read::Forbidden, Read::Got(Vec::new())] {
        assert_eq!(region("eu-west-1_Example01", &unknown).severity, Severity::Skipped);
    }
}
