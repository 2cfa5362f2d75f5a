use cognito_reset_core::machine::status::user_not_shown;
use serde_json::json;

use super::*;

fn found(spec: Value, status: Value) -> Found {
    let mut object = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": { "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1" },
        "spec": { "userPoolID": "p_1", "username": "alice" }, "status": { "outcome": "Pending" },
    });
    for (part, fields) in [("spec", spec), ("status", status)] {
        for (key, value) in fields.as_object().expect("fields") {
            object[part][key] = value.clone();
        }
    }
    let read = |object: &Value| serde_json::from_value(object.clone()).expect("an object");
    Found { request: serde_json::from_value(object.clone()).expect("a request"), object: read(&object) }
}

fn waits(reason: &str) -> Value {
    waits_because(reason, "the cause")
}

fn waits_because(reason: &str, message: &str) -> Value {
    let ready = json!({ "type": "Ready", "status": "Unknown", "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z" });
    json!({ "conditions": [ready] })
}

#[test]
fn only_a_pending_request_of_a_shown_user_can_be_approved() {
    use Unseen::{Accepted, Refused};
    let no_user = || {
        let update = user_not_shown(UserStateSource::AdminGetUser, Exception::UserNotFound.code());
        waits_because("AwaitingApproval", &update.message)
    };
    let by_bob = Verdict::Already(Some("bob".to_owned()));
    for (spec, status, unseen, wanted) in [
        (json!({}), json!({ "userName": "ceo" }), Refused, Some(Verdict::Approve)),
        (json!({}), json!({ "userSub": "7" }), Refused, Some(Verdict::Approve)),
        (json!({}), json!({}), Accepted, Some(Verdict::Approve)),
        (json!({}), json!({}), Refused, None),
        (json!({ "suspend": true }), json!({}), Refused, None),
        (json!({}), no_user(), Refused, Some(Verdict::NoUser)),
        (json!({}), no_user(), Accepted, Some(Verdict::Approve)),
        (json!({ "approved": true, "approvedBy": { "username": "bob" } }), json!({}), Refused, Some(by_bob)),
        (json!({ "approved": true }), json!({ "userName": "ceo" }), Refused, Some(Verdict::Already(None))),
        (json!({}), json!({ "outcome": "Failed", "userName": "ceo" }), Accepted, Some(Verdict::Ended("Failed"))),
        (json!({ "approved": true }), json!({ "outcome": "Unknown" }), Accepted, Some(Verdict::Ended("Unknown"))),
    ] {
        let verdict = judge(&found(spec.clone(), status.clone()).request, unseen);
        match wanted {
            Some(wanted) => assert_eq!(verdict, wanted, "{spec} {status}"),
            None => assert!(matches!(verdict, Verdict::Unseen(_)), "{spec} {status}: {verdict:?}"),
        }
    }
}

#[test]
fn an_unseen_user_is_refused_with_what_to_do() {
    for (status, says) in [
        (waits("AwaitingApproval"), "again in a moment; the status says: the cause"),
        (waits("Suspended"), "now it waits as Suspended: the cause"),
        (json!({}), "has not written a status of the request"),
    ] {
        let said = not_shown(&found(json!({}), status).request);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_user_is_not_needed_if_no_grant_of_the_pool_reads_any() {
    let grant = |pool: &str, source: Option<&str>| -> UserPoolGrant {
        let mut spec = json!({ "userPoolID": pool, "namespaces": ["*"] });
        if let Some(source) = source {
            spec["userStateSource"] = source.into();
        }
        UserPoolGrant::new("g", serde_json::from_value(spec).expect("a grant"))
    };
    for (grants, wanted) in [
        (vec![], Unseen::Refused),
        (vec![grant("p_1", Some("None"))], Unseen::Accepted),
        (vec![grant("p_1", Some("None")), grant("p_2", None)], Unseen::Accepted),
        (vec![grant("p_1", Some("None")), grant("p_1", Some("ListUsers"))], Unseen::Refused),
        // The operator's flag decides, which this plugin does not know.
        (vec![grant("p_1", None)], Unseen::Refused),
        (vec![grant("p_2", Some("None"))], Unseen::Refused),
    ] {
        assert_eq!(Unseen::of(&grants, "p_1"), wanted, "{grants:?}");
    }
}

#[test]
fn a_review_is_the_same_until_user_or_object_differ() {
    let review = |spec: Value, status: Value| Review::new(&found(spec, status), Unseen::Refused);
    let first = review(json!({}), json!({ "userName": "ceo", "userSub": "7" }));
    let mut status = waits("RateLimited");
    status["userName"] = "ceo".into();
    status["userSub"] = "7".into();
    assert!(first.shows_the_same_as(&review(json!({ "suspend": true }), status)), "neither reason nor suspend count");
    for other in [
        review(json!({}), json!({ "userName": "ceo", "userSub": "8" })),
        review(json!({}), json!({})),
        review(json!({ "username": "bob" }), json!({ "userName": "ceo", "userSub": "7" })),
        review(json!({ "clientMetadata": { "a": "b" } }), json!({ "userName": "ceo", "userSub": "7" })),
        Review { uid: Some("v".to_owned()), ..first.clone() },
    ] {
        assert!(!first.shows_the_same_as(&other), "{other:?}");
    }
}

#[test]
fn a_review_shows_all_that_is_approved() {
    let spec = json!({
        "username": "alias@corp.example", "ticket": "T-1", "reason": "by\u{1b}[2Jtelephone",
        "requestedBy": { "username": "mallory", "extra": { "sessionName": "m@corp.example" } },
        "clientMetadata": { "a": "b" },
    });
    let mut status = waits("AwaitingApproval");
    status["userName"] = "ceo".into();
    status["userSub"] = "7".into();
    let mut review = Review::new(&found(spec, status), Unseen::Refused);
    review.created = Timestamp::from_second(0).ok();
    let wanted = "\
a in namespace n
  user:            alias@corp.example
  means the user:  ceo (sub 7)
  pool:            p_1
  requester:       mallory, session m@corp.example (authenticated)
  ticket:          T-1 (a claim of the requester)
  reason:          by\\u001b[2Jtelephone (a claim of the requester)
  client metadata: {\"a\":\"b\"}
  age:             2m
  waits for:       AwaitingApproval: the cause
  uid:             u";
    assert_eq!(review.text("n", Timestamp::from_second(120).expect("a time")), wanted);
    let bare = Review::new(&found(json!({}), json!({})), Unseen::Accepted).text("n", Timestamp::UNIX_EPOCH);
    assert!(bare.contains("unverified (not authenticated)") && bare.contains("not shown: the approval"), "{bare}");
}
