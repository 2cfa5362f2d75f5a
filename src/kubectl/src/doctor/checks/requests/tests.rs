use cognito_reset_api::conditions::UNSEEN;
use serde_json::json;

use super::*;
use crate::reasons::tests::states;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

/// A request that was created at a second, and shows a reason; none without a status of an
/// operator.
fn request(name: &str, created: i64, reason: Option<&str>) -> Request {
    let ready = json!({
        "type": "Ready", "status": "Unknown", "reason": reason.unwrap_or("Pending"), "message": "as it is",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": if reason.is_some() { 1 } else { UNSEEN },
    });
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "support", "creationTimestamp": at(created).to_string()},
        "spec": {"userPoolID": "p", "username": "u"}, "status": {"conditions": [ready]},
    }))
    .expect("a request")
}

fn listed(requests: Vec<Request>) -> Read<Listed> {
    Read::Got(Listed { requests, ..Listed::default() })
}

#[test]
fn each_reason_to_wait_has_its_weight() {
    let (fail, warn) = (Some(Severity::Fail), Some(Severity::Warn));
    for (reason, wanted) in [
        ("AwsCredentialsUnavailable", fail),
        ("NoMatchingGrant", fail),
        ("WriteRefused", fail),
        ("CognitoUnreachable", fail),
        ("UserPoolHeld", fail),
        ("NotAuthorizedException", fail),
        ("NotAfterRequired", warn),
        ("Throttled", warn),
        ("AwaitingApproval", None),
        ("Suspended", None),
        ("RateLimited", None),
    ] {
        let found = pending(&listed(vec![request("a", 0, Some(reason))]), "namespace support", at(300), true);
        let waiting = found.iter().find(|finding| finding.subject == "waiting");
        assert_eq!(waiting.map(|it| it.severity), wanted, "{reason}");
        if let Some(waiting) = waiting {
            let text = format!("1 request waits as {reason}, the oldest support/a for 5m: as it is");
            assert_eq!(waiting.text, text);
        }
    }
}

#[test]
fn the_way_out_of_a_message_is_not_repeated() {
    let mut checked = 0;
    for (state, mut object) in states() {
        object["metadata"]["name"] = json!("a");
        let request: Request = serde_json::from_value(object).expect("a request");
        let Some(found) = waiting(request.reason(), &[&request], at(0)) else { continue };
        let shown = format!("{}; {}", found.text, found.remedy.unwrap_or_default());
        for way_out in ["platform administrator", "create "] {
            assert!(shown.matches(way_out).count() <= 1 || !found.text.contains(way_out), "{state}: {shown}");
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
    assert_eq!(cause("NoMatchingGrant", "none allows it; ask an administrator"), "none allows it");
    assert_eq!(cause("UserPoolHeld", "the hold stop: incident; ask Carol"), "the hold stop: incident; ask Carol");
}

#[test]
fn the_backlog_has_its_number_and_its_oldest_request() {
    let two = vec![request("b", 60, Some("RateLimited")), request("a", 0, Some("RateLimited"))];
    let found = pending(&listed(two.clone()), "namespace support", at(120), false);
    assert_eq!(found, [Finding::ok("backlog", "2 requests pending in namespace support, the oldest support/a for 2m")]);
    let cut = pending(
        &Read::Got(Listed { requests: two, is_cut: true, ..Listed::default() }),
        "all namespaces",
        at(120),
        false,
    );
    assert!(cut[0].text.starts_with("more than 2 requests"), "{cut:?}");
    assert!(pending(&listed(vec![]), "namespace support", at(0), false)[0].text.contains("no request is pending"));
    assert_eq!(pending(&Read::Forbidden, "namespace support", at(0), false)[0].severity, Severity::Skipped);
}

#[test]
fn requests_without_a_status_are_reported_after_a_while() {
    let severity = |requests, now, is_led| {
        let found = pending(&listed(requests), "namespace support", at(now), is_led);
        found
            .iter()
            .find(|finding| finding.text.contains("without a status of an operator"))
            .map(|finding| finding.severity)
    };
    let unseen = || request("a", 0, None);
    assert_eq!(severity(vec![unseen()], 30, false), None);
    assert_eq!(severity(vec![unseen()], 31, false), Some(Severity::Fail));
    // A long backlog, of which no status is written yet.
    assert_eq!(severity(vec![unseen()], 31, true), Some(Severity::Warn));
    assert_eq!(severity(vec![unseen(), request("b", 0, Some("Suspended"))], 31, false), Some(Severity::Warn));
}

#[test]
fn failures_are_counted_and_a_wrong_region_is_explained() {
    let some = vec![request("a", 0, Some("Expired")), request("b", 0, Some("ResourceNotFoundException"))];
    let found = failed(&listed(some), "namespace support");
    assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warn, Severity::Ok]);
    assert!(found[1].text.contains("1 Expired, 1 ResourceNotFoundException"), "{found:?}");
    assert_eq!(failed(&listed(vec![]), "namespace support").len(), 1);
    assert!(failed(&Read::Forbidden, "namespace support").is_empty());
}

#[test]
fn requests_that_cannot_be_parsed_are_named_beside_the_others() {
    let some = |requests| Read::Got(Listed { requests, unreadable: vec!["support/odd".into()], is_cut: false });
    for found in [
        pending(&some(vec![request("a", 0, Some("RateLimited"))]), "namespace support", at(60), true),
        failed(&some(vec![request("a", 0, Some("Expired"))]), "namespace support"),
    ] {
        assert_eq!((found.len(), found[0].text.as_str()), (2, "this plugin cannot parse support/odd"), "{found:?}");
    }
    let alone = pending(&some(vec![]), "namespace support", at(60), false);
    assert_eq!(alone.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warn]);
}
