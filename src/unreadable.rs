//! Objects that cannot be parsed: reported, never a stopped watch.

use std::sync::Arc;

use kube::{Resource, ResourceExt, core::DeserializeGuard};
use tracing::warn;

use crate::{events::Events, metrics::Metrics};

/// The longest report, in characters.
const MAX_TEXT: usize = 300;

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub struct Unreadable {
    events: Events,
    metrics: Arc<Metrics>,
}

impl Unreadable {
    /// Reports by log, Event and metric.
    #[must_use]
    pub const fn new(events: Events, metrics: Arc<Metrics>) -> Self {
        Self { events, metrics }
    }

    /// The metrics that it counts in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Reports one, without the parser's quotes of the object: they may be a user's name.
    pub fn report<K: Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>, error: &str) {
        self.metrics.not_understood();
        let error = without_values(error);
        warn!(
            kind = %K::kind(&()), namespace = object.meta().namespace.as_deref().unwrap_or_default(), name = %object.name_any(), %error,
            "unable to understand an object; it is left alone"
        );
        self.events.not_understood(object.object_ref(&()), &error);
    }
}

/// What a parser says of an object, in one line, without what it quotes of it.
///
/// Its texts quote without any marks (`Unknown variant alice. Expected one of Resend, Skip`), and those of parsers
/// within it say anything. So nothing is cut out: only what this program itself has put into a text is kept.
#[must_use]
pub fn without_values(text: &str) -> String {
    const QUOTING: [&str; 5] = ["Invalid type", "Invalid value", "Invalid length", "Unknown variant", "Unknown field"];
    const NAMING: [&str; 2] = ["Missing field", "Duplicate field"];
    let of_a_field = |mistake: &&&str| {
        let field = text.strip_prefix(**mistake).and_then(|rest| rest.strip_prefix(' '));
        field.is_some_and(|field| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    if NAMING.iter().any(|mistake| of_a_field(&mistake)) {
        return text.chars().take(MAX_TEXT).collect();
    }
    let Some(mistake) = QUOTING.iter().find(|mistake| text.starts_with(**mistake)) else {
        return "a value cannot be read".to_owned();
    };
    // A value may hold the same words; what comes after the last ones is no part of it.
    let expected = text.rsplit_once(". Expected ").map_or("something else", |(_, expected)| expected);
    format!("{mistake}. Expected {expected}").chars().filter(|it| !it.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};

    use super::without_values;
    use crate::api::PasswordResetRequest;

    fn reported(spec: Value) -> String {
        let object = json!({ "metadata": { "name": "reset" }, "spec": spec });
        let guarded: DeserializeGuard<PasswordResetRequest> = serde_json::from_value(object).unwrap();
        without_values(&guarded.0.unwrap_err().error)
    }

    #[test]
    fn a_report_of_an_object_says_what_is_wrong_and_quotes_no_value() {
        let user = json!("alice. Expected `alice\n\"alice");
        for (spec, wanted) in [
            (json!({ "userPoolID": "p_1" }), "Missing field username"),
            (json!({ "userPoolID": "p_1", "username": ["alice"] }), "Invalid type. Expected a string"),
            (json!({ "userPoolID": "p_1", "username": "a", "suspend": user }), "Invalid type. Expected a boolean"),
            (json!({ "userPoolID": "p_1", "username": "a", "deadlineSeconds": 0.5 }), "Invalid type. Expected i64"),
            (
                json!({ "userPoolID": "p_1", "username": "a", "ifResetRequired": user }),
                "Unknown variant. Expected one of Resend, Skip",
            ),
            (
                json!({ "userPoolID": "p_1", "username": "a", "expirationTime": user }),
                "Invalid value. Expected a time such as 2036-01-01T00:00:00Z as expirationTime",
            ),
        ] {
            assert_eq!(reported(spec), wanted);
        }
    }

    #[test]
    fn a_number_in_what_others_put_into_an_object_is_written_back_as_it_was_read() {
        let number = "2.434422246840973e+266";
        let text = format!(
            r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{number}}}]}},"spec":{{"userPoolID":"eu-west-1_A","username":"a"}}}}"#
        );
        let read: PasswordResetRequest = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert!(written.contains(number), "{written}");
    }
}
