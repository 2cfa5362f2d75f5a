//! Responses of the API server, as version 1.37 writes them, and the name that is taken from each.

use cognito_reset_api::PasswordResetRequest;
use kube::core::Status;
use serde_json::{Value, json};

use super::{ErrorResponse, Refuser, is_absence};

fn status(code: u16, reason: &str, message: &str, field: &str) -> Status {
    let causes = json!([{ "reason": "", "field": field, "message": message }]);
    let status = json!({ "status": "Failure", "code": code, "reason": reason, "message": message, "details": { "causes": causes } });
    serde_json::from_value(status).unwrap()
}

fn other(code: u16, reason: &str) -> Refuser {
    Refuser::Other { code, reason: reason.into() }
}

#[test]
fn a_refuser_is_named_as_the_api_server_names_it() {
    let record = r#"passwordresetrecords.cognito-reset.dev "r2-0a""#;
    let policy = || Refuser::ValidatingPolicy("owner-label".into());
    let denied = "ValidatingAdmissionPolicy 'owner-label' with binding 'by' denied request: alice needs a label";
    let rows: Vec<(u16, &str, String, &str, Refuser)> = vec![
        (422, "Invalid", format!("{record} is forbidden: {denied}"), "", policy()),
        (403, "Forbidden", format!("{record} is forbidden: {denied}"), "", policy()),
        (422, "Invalid", format!("passwordresetrecords.cognito-reset.dev is forbidden: {denied}"), "", policy()),
        (
            422,
            "Invalid",
            format!("{record} is forbidden: ValidatingAdmissionPolicy 'owner-label' denied request: failed to configure"),
            "",
            policy(),
        ),
        (
            403,
            "Forbidden",
            "policy 'add-label' with binding 'add-label' denied request: failed to bind".into(),
            "",
            Refuser::MutatingPolicy("add-label".into()),
        ),
        (
            403,
            "Forbidden",
            r#"policy "add-label" denied request: failed to configure"#.into(),
            "",
            Refuser::MutatingPolicy("add-label".into()),
        ),
        (
            403,
            "Forbidden",
            r#"admission webhook "validate.kyverno.svc-fail" denied the request: no label on alice"#.into(),
            "",
            Refuser::Webhook("validate.kyverno.svc-fail".into()),
        ),
        (
            400,
            "",
            r#"admission webhook "a.example" denied the request without explanation"#.into(),
            "",
            Refuser::Webhook("a.example".into()),
        ),
        (
            500,
            "InternalError",
            r#"Internal error occurred: failed calling webhook "down.example": failed to call webhook: Post "https://127.0.0.1:9/alice": dial tcp"#.into(),
            "",
            Refuser::UnreachableWebhook("down.example".into()),
        ),
        (
            403,
            "Forbidden",
            r#"events.events.k8s.io "alice" is forbidden: exceeded quota: few-objects, requested: count/events=1"#.into(),
            "",
            Refuser::Quota("few-objects".into()),
        ),
        (
            403,
            "Forbidden",
            format!("{record} is forbidden: User \"system:serviceaccount:a:b\" cannot update resource \"x\" in API group \"y\" at the cluster scope"),
            "",
            Refuser::Permission,
        ),
        (
            422,
            "Invalid",
            r#"PasswordResetRecord.cognito-reset.dev "r2-0a" is invalid: effect: Invalid value: "alice""#.into(),
            "effect",
            Refuser::Crd,
        ),
        (403, "Forbidden", "made up by the test".into(), "", other(403, "Forbidden")),
        (413, "RequestEntityTooLarge", "limit is 3145728".into(), "", other(413, "RequestEntityTooLarge")),
        (401, "Un authorized\n", String::new(), "", other(401, "Unauthorized")),
    ];
    for (code, reason, message, field, wanted) in rows {
        assert_eq!(Refuser::of(&status(code, reason, &message, field)), wanted, "{message}");
    }
}

#[test]
fn response_proves_no_more_about_a_write_than_its_sender_knows() {
    let refused = |code: u16| ErrorResponse::Refused(other(code, ""));
    for (code, wanted) in [
        (302, ErrorResponse::Inconclusive),
        (399, ErrorResponse::Inconclusive),
        (400, refused(400)),
        (401, refused(401)),
        (403, refused(403)),
        (404, ErrorResponse::NotFound),
        (405, refused(405)),
        (407, refused(407)),
        (408, ErrorResponse::Inconclusive),
        (409, ErrorResponse::Conflict),
        (410, refused(410)),
        (422, refused(422)),
        (428, refused(428)),
        (429, ErrorResponse::Inconclusive),
        (499, refused(499)),
        (500, ErrorResponse::Inconclusive),
        (502, ErrorResponse::Inconclusive),
        (503, ErrorResponse::Inconclusive),
        (504, ErrorResponse::Inconclusive),
    ] {
        assert_eq!(ErrorResponse::of(&status(code, "", "made up by the test", "")), wanted, "{code}");
    }
}

#[test]
fn refusal_by_admission_precedes_the_write_for_every_code() {
    let by = |name: &str| ErrorResponse::Refused(Refuser::Webhook(name.into()));
    for code in [400, 404, 408, 409, 429, 500, 503] {
        let denied = status(code, "", r#"admission webhook "a.example" denied the request"#, "");
        assert_eq!(ErrorResponse::of(&denied), by("a.example"), "{code}");
    }
    let unreachable = r#"Internal error occurred: failed calling webhook "a.example": failed to call webhook"#;
    let wanted = ErrorResponse::Refused(Refuser::UnreachableWebhook("a.example".into()));
    assert_eq!(ErrorResponse::of(&status(500, "InternalError", unreachable, "")), wanted);
}

#[test]
fn what_somebody_else_may_have_written_names_nobody() {
    let long = format!("ValidatingAdmissionPolicy '{}' denied request", "a".repeat(254));
    for message in [
        // A quoted value contains the same words.
        r#"PasswordResetRequest.cognito-reset.dev "a" is invalid: spec.username: Invalid value: "a is forbidden: ValidatingAdmissionPolicy 'evil' with binding 'evil' denied request""#,
        r#"x "a" is invalid: Invalid value: admission webhook "evil" denied the request"#,
        // No object can have such a name.
        r#"x "a" is forbidden: ValidatingAdmissionPolicy 'alice@example.com' with binding 'a' denied request"#,
        r#"x "a" is forbidden: ValidatingAdmissionPolicy '' denied request"#,
        r#"x "a" is forbidden: ValidatingAdmissionPolicy 'open"#,
        "admission webhook \"line\nbreak\" denied the request",
        "exceeded quota: a b, requested: x",
        &long,
    ] {
        assert_eq!(Refuser::of(&status(403, "Forbidden", message, "")), other(403, "Forbidden"), "{message}");
    }
}

#[test]
fn a_refuser_is_described_and_counted_by_its_kind() {
    let name = || "a.b".to_owned();
    for (refuser, kind, words, of_admission) in [
        (Refuser::ValidatingPolicy(name()), "policy", "the ValidatingAdmissionPolicy a.b", true),
        (Refuser::MutatingPolicy(name()), "policy", "the MutatingAdmissionPolicy a.b", true),
        (Refuser::Webhook(name()), "webhook", "the admission webhook a.b", true),
        (Refuser::UnreachableWebhook(name()), "webhook", "the admission webhook a.b, which cannot be called", true),
        (Refuser::Quota(name()), "quota", "the ResourceQuota a.b", true),
        (Refuser::Permission, "permission", "RBAC, for lack of a permission", false),
        (Refuser::Crd, "crd", "the CRD", false),
        (other(403, "Forbidden"), "other", "the API server (403 Forbidden)", false),
        (other(400, ""), "other", "the API server (400)", false),
    ] {
        assert_eq!((refuser.kind(), refuser.to_string().as_str()), (kind, words));
        assert_eq!(refuser.is_of_admission(), of_admission, "{refuser}");
    }
}

fn not_found() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
        "reason": "NotFound", "message": "passwordresetrequests.cognito-reset.dev \"reset\" not found",
        "details": { "name": "reset", "group": "cognito-reset.dev", "kind": "passwordresetrequests" } })
}

#[test]
fn only_a_404_that_names_the_very_request_is_its_absence() {
    let with = |path: &str, value: Value| {
        let mut changed = not_found();
        *changed.pointer_mut(path).unwrap() = value;
        changed
    };
    for (name, said, wanted) in [
        ("of the API server", not_found(), true),
        ("of another name", with("/details/name", json!("other")), false),
        ("of another resource", with("/details/kind", json!("namespaces")), false),
        ("of another group", with("/details/group", json!("")), false),
        ("without the definition", with("/details", json!({})), false),
        ("without details", with("/details", Value::Null), false),
        ("of another reason", with("/reason", json!("Forbidden")), false),
        ("of another code", with("/code", json!(403)), false),
    ] {
        assert_eq!(
            is_absence::<PasswordResetRequest>(&serde_json::from_value(said).unwrap(), "reset"),
            wanted,
            "{name}"
        );
    }
    let made_up = Status::failure("page not found", "Failed to parse error data").with_code(404);
    assert!(!is_absence::<PasswordResetRequest>(&made_up, "reset"));
}
