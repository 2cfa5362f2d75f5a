//! Patterns of grants that are built to be slow, in compiling or in matching, within the 256
//! characters of the CRD.

use std::time::{Duration, Instant};

use cognito_reset_api::{
    PasswordResetRequest, UserPoolGrant,
    conditions::{GrantReason, WaitReason},
};
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{GrantIndex, Namespace},
};
use jiff::Timestamp;
use serde_json::json;

const POOL: &str = "eu-west-1_Example01";
/// The longest time that compiling or matching one pattern may take in a test build on a busy
/// machine.
///
/// A release build is many times as fast. The worst pattern here takes 0.5 s; an exponential one
/// would never end.
const MOST: Duration = Duration::from_secs(10);

fn filled(piece: &str, rest: &str) -> String {
    format!("{}{rest}", piece.repeat((256 - rest.len()) / piece.len()))
}

/// Patterns, and true for those that are refused for their size.
fn patterns() -> Vec<(String, bool)> {
    let nested =
        |inner: &str, outer: &str, times: usize| format!("{}{inner}{}", "(".repeat(times), outer.repeat(times));
    vec![
        // Patterns that hang other engines are linear here.
        ("(a+)+$".into(), false),
        ("(a|a)*b".into(), false),
        (nested("a*", ")*", 40), false),
        (nested("a?", ")+", 60), false),
        (filled("a?", &"a".repeat(80)), false),
        (filled("(a|b|ab)*", "c"), false),
        (filled(".*", "x"), false),
        ("(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^a]".into(), false),
        // Repetitions that count to a huge size.
        ("a{1000}{1000}".into(), true),
        (r"\w{1000}".into(), true),
        (r"(\pL?){1000}".into(), true),
        (nested("a", "){9}", 9), true),
        (nested(r"\pL", "){99}", 20), true),
        (filled(r"\w{99}", ""), true),
        ("a{4294967295}".into(), true),
        ("(a{0}){4294967295}".into(), false),
        // Classes.
        (filled(r"\pL", ""), true),
        (filled(r"\w|", "x"), true),
        (filled(r"[\w&&\pL]", ""), true),
        (format!("(?i){}", filled(r"\pL", "").chars().take(250).collect::<String>()), true),
        (filled(r"[^\pL]", ""), true),
        (format!("[{}]", filled(r"\pL\pN", "").chars().take(240).collect::<String>()), false),
        (format!("(?i)[{}]", filled(r"\pL\PL", "").chars().take(240).collect::<String>()), false),
        (format!("{}a{}", "[^".repeat(60), "]".repeat(60)), false),
        // Alternations and depth.
        (filled("aa|ab|", "b"), false),
        (filled("|", "a"), false),
        (nested("", ")", 125), false),
    ]
}

fn request(username: &str) -> serde_json::Result<PasswordResetRequest> {
    let request = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": { "name": "reset", "namespace": "support" }, "spec": { "userPoolID": POOL, "username": username },
    });
    serde_json::from_value(request)
}

#[test]
fn a_pattern_built_to_be_slow_is_quick_or_refused() {
    let users = ["a".repeat(128), "é".repeat(128), format!("{}!", "ab".repeat(63)), "\u{1F600}".repeat(128)]
        .map(|name| request(&name).unwrap());
    let mut wrong = Vec::new();
    for (pattern, refused) in patterns() {
        assert!(pattern.chars().count() <= 256, "{pattern}");
        let spec = json!({ "userPoolID": POOL, "namespaces": ["*"], "usernamePattern": pattern });
        let grant = UserPoolGrant::new("slow", serde_json::from_value(spec).unwrap());
        let mut index = GrantIndex::default();
        index.put_namespace("support".into(), Namespace::default());
        let started = Instant::now();
        index.put_grant(grant);
        let compiled = started.elapsed();
        let status = index.stale_statuses(Timestamp::UNIX_EPOCH).remove(0).object.status.unwrap_or_default();
        let is_refused = status.conditions.iter().any(|it| it.reason == GrantReason::InvalidUsernamePattern.as_str());
        let started = Instant::now();
        for user in &users {
            let allowed = index.evaluate(user, &KnownUser::NotRead).authorization;
            assert!(!is_refused || allowed == Err(WaitReason::NoMatchingGrant), "{pattern}");
        }
        let matched = started.elapsed();
        println!("{compiled:>12.1?} {matched:>12.1?} {is_refused} {pattern}");
        if is_refused != refused || compiled > MOST || matched > MOST {
            wrong.push(format!("{pattern}: refused {is_refused}, compiled in {compiled:?}, matched in {matched:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
