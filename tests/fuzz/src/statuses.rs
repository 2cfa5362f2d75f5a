//! The statuses that the API server accepts, by the CRDs in `crds/`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Checks the conditions of a status: they are bounded, distinct, in CamelCase, and free of
/// characters that control a terminal.
#[track_caller]
pub fn check(conditions: &[Condition]) {
    assert!(conditions.len() <= 8, "{conditions:?}");
    for (number, condition) in conditions.iter().enumerate() {
        assert!(camel_case(&condition.type_, char::is_alphabetic), "type: {condition:?}");
        assert!(camel_case(&condition.reason, char::is_alphanumeric), "reason: {condition:?}");
        assert!(["True", "False", "Unknown"].contains(&condition.status.as_str()), "status: {condition:?}");
        assert!(condition.message.chars().count() <= 1024, "message: {condition:?}");
        // Every message is ASCII, so that no character of it changes the direction of writing,
        // either.
        assert!(condition.message.chars().all(|it| it == ' ' || it.is_ascii_graphic()), "message: {condition:?}");
        assert!(conditions[..number].iter().all(|earlier| earlier.type_ != condition.type_), "twice: {conditions:?}");
    }
}

fn camel_case(text: &str, of: fn(char) -> bool) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|it| it.is_ascii() && of(it))
}
