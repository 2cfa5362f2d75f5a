use serde_json::json;

use super::*;

fn wrong(fields: &Value) -> String {
    let mut spec = json!({"userPoolID": "eu-west-1_Example01", "username": "alice"});
    for (name, value) in fields.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    check(&spec).err().map(|failure| failure.message).unwrap_or_default()
}

#[test]
fn each_field_is_checked_by_the_rules_of_the_crd() {
    let one_line = "write one line of visible characters";
    for (field, value, wanted) in [
        ("ticket", json!("INC 7"), ""),
        ("ticket", json!("x".repeat(257)), "--ticket: ticket has 257 characters, and 0 to 256 are allowed"),
        ("ticket", json!("a\nb"), one_line),
        ("ticket", json!("a\u{202e}b"), one_line),
        ("reason", json!("é".repeat(1024)), ""),
        ("reason", json!("é".repeat(1025)), "--reason: reason has 1025"),
        ("onBehalfOf", json!("x".repeat(257)), "--on-behalf-of: onBehalfOf has 257"),
        ("onBehalfOf", Value::Null, ""),
        ("notAfter", json!("2036-01-01T00:00:00Z"), ""),
        (
            "notAfter",
            json!("9999-01-01T00:00:00Z"),
            "--not-after: notAfter is \"9999-01-01T00:00:00Z\": write the time",
        ),
        ("notAfter", json!("1969-12-31T23:59:59Z"), "--not-after"),
        ("notAfter", json!("tomorrow"), "--not-after"),
        ("ttlSecondsAfterFinished", json!(0), ""),
        ("ttlSecondsAfterFinished", json!(31_536_000), ""),
        ("ttlSecondsAfterFinished", json!(31_536_001), "--ttl: ttlSecondsAfterFinished is 31536001, and 0 to 31536000"),
        ("ttlSecondsAfterFinished", json!(i64::MAX), "--ttl"),
        ("ifResetRequired", json!("Skip"), ""),
        ("ifResetRequired", json!("Never"), "ifResetRequired is one of Resend, Skip"),
        ("userPoolID", json!("pool"), "--pool: userPoolID is not the id of a user pool, such as eu-west-1_Example01"),
        ("username", json!("a b"), "USER: username contains ' '"),
        ("requestedBy", json!({"username": "jane"}), ""),
        ("suspend", json!(true), ""),
        ("weekdays", json!("x"), "report this as a bug"),
    ] {
        let found = wrong(&json!({field: value}));
        assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{field} {value}: {found:?}");
        assert!(!found.contains('\u{202e}'), "{found:?}");
    }
    assert_eq!(wrong(&json!({"ticket": "\n", "reason": "\n"})).lines().count(), 2, "all are named at once");
}

#[test]
fn no_rule_of_a_text_is_left_to_the_api_server_unknowingly() {
    let crd = serde_json::to_value(PasswordResetRequest::crd()).expect("a CRD");
    let fields = crd.pointer(SPEC).and_then(Value::as_object).expect("the spec");
    let mut left = Vec::new();
    for (field, schema) in fields.iter().filter(|(_, schema)| schema["type"] == "string") {
        let all = schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
        let known = FieldRule::of(field).expect("a rule").rules.len();
        left.extend((all > known).then(|| (field.as_str(), all - known)));
    }
    // That the month has the day, which a parsed time always has.
    assert_eq!(left, [("notAfter", 1)]);
}

#[test]
fn names_are_those_that_kubernetes_allows() {
    let long = "a".repeat(254);
    for (name, is_allowed) in [
        ("inc-7", true),
        ("a.b-c.9", true),
        ("", false),
        ("Inc-7", false),
        ("-a", false),
        ("a-", false),
        ("a..b", false),
        ("a_b", false),
        ("a\n", false),
        (&long[1..], true),
        (&long, false),
    ] {
        assert_eq!(check_name(name).is_ok(), is_allowed, "{name:?}");
    }
}
