//! The names of requests and records in a log. Their authors may have put the name of a user into
//! them, and the request may be gone.

use serde_json::Value;

/// The fields of a log that have such names.
const FIELDS: [&str; 5] = ["name", "record", "records", "request", "object"];

/// Returns the names in a line of a log, which is JSON or text.
#[must_use]
pub fn names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    match serde_json::from_str(line) {
        Ok(entry @ Value::Object(_)) => in_json(&entry, false, &mut names),
        _ => in_text(line, &mut names),
    }
    names
}

fn in_json(value: &Value, is_name: bool, names: &mut Vec<String>) {
    match value {
        Value::String(text) if is_name => add(text, names),
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| in_json(value, FIELDS.contains(&field.as_str()), names));
        }
        Value::Array(values) => values.iter().for_each(|value| in_json(value, is_name, names)),
        _ => {}
    }
}

/// Finds `FIELD=VALUE`, also within the braces of a span.
fn in_text(line: &str, names: &mut Vec<String>) {
    for word in line.split([' ', '{', '}', ':']) {
        let found = word.split_once('=').filter(|(field, _)| FIELDS.contains(field));
        if let Some((_, value)) = found {
            add(value.trim_matches(['"', ',']), names);
        }
    }
}

/// Adds a value, and the parts of a list or of a name with its namespace.
fn add(value: &str, names: &mut Vec<String>) {
    let parts = value.split(", ").filter_map(|part| part.split('/').next_back());
    names.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_both_formats() {
        for (line, wanted) in [
            (
                r#"{"message":"m","namespace":"support","spans":[{"name":"reset-a"}],"records":"r-1, r-2"}"#,
                vec!["r-1", "r-2", "reset-a"],
            ),
            (
                r#"INFO reconcile{controller="request" namespace="support" name="reset-a"}: claimed record=r-1"#,
                vec!["reset-a", "r-1"],
            ),
            (r#"{"object":"support/reset-a"}"#, vec!["reset-a"]),
            ("plain text", vec![]),
        ] {
            assert_eq!(names(line), wanted, "{line}");
        }
    }
}
