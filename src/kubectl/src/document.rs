//! JSON and YAML for people and programs: the same values, without characters that a terminal
//! would obey or hide.

use std::borrow::Cow;

use cognito_reset_core::escape::{escaped, is_hidden};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// Returns JSON with the hidden characters of its strings as escapes, which are the same
/// characters to a parser.
#[must_use]
pub fn visible(json: &str) -> Cow<'_, str> {
    escaped(json, |character| character == '\n')
}

/// Returns a value as JSON in one line.
///
/// # Errors
/// When it cannot be written, which is a fault of this program.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map(|text| visible(&text).into_owned()).map_err(|error| unwritable(&error))
}

/// Returns a value as JSON in indented lines.
///
/// # Errors
/// When it cannot be written, which is a fault of this program.
pub fn indented(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| visible(&text).into_owned()).map_err(|error| unwritable(&error))
}

/// Returns a value as YAML. One whose strings have hidden characters is written as JSON, which is
/// YAML as well and has escapes everywhere.
///
/// # Errors
/// When it cannot be written, which is a fault of this program.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let value: Value = serde_json::to_value(value).map_err(|error| unwritable(&error))?;
    let yaml = serde_saphyr::to_string(&value).map_err(|error| unwritable(&error))?;
    if yaml.chars().any(|character| is_hidden(character) && character != '\n') {
        return Ok(format!("{}\n", indented(&value)?));
    }
    Ok(yaml)
}

fn unwritable(error: &dyn std::error::Error) -> Failure {
    Failure::usage(format!("an object cannot be written ({error}): report this as a bug"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_stay_the_same() {
        for text in
            ["alice", "it's: \"#1\"", "two\nlines\t", "\u{1b}[31m", "\u{9b}31m", "a\u{202e}b", "\u{e0041}", "\u{7f}"]
        {
            let value = json!({"spec": {"username": text, "n": 1, text: [true, null]}});
            for written in [json(&value), indented(&value)] {
                let written = written.expect("JSON");
                assert!(!written.chars().any(|it| is_hidden(it) && it != '\n'), "{written:?}");
                assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), value);
            }
            let written = yaml(&value).expect("YAML");
            assert!(!written.chars().any(|it| is_hidden(it) && it != '\n'), "{written:?}");
            assert_eq!(serde_saphyr::from_str::<Value>(&written).expect("YAML"), value, "{written}");
        }
    }

    #[test]
    fn yaml_stays_yaml_where_nothing_is_hidden() {
        assert_eq!(yaml(&json!({"a": {"b": "c"}})).expect("YAML"), "a:\n  b: c\n");
    }
}
