//! Replaces what people wrote, and who they are, by hashes.
//!
//! Of an object only fields on a list are kept, so that a field that is new is replaced. The values
//! that are replaced are searched for in all other texts as well.

use std::collections::BTreeSet;

use regex::{Captures, Regex, RegexBuilder};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The number of bytes of a hash: enough to compare the values of one bundle.
const HASHED: usize = 6;
/// The length from which a value is found within words, too.
const WITHIN_WORDS: usize = 4;
/// The most memory of a search, in bytes.
const SEARCH: usize = 1 << 28;
/// The requester that no component has stamped, which is nobody.
const NOBODY: &str = "unverified";
/// The metadata that the API server writes.
const METADATA: [&str; 5] = ["namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"];
/// The fields of a condition. Messages are searched for names.
const CONDITION: [&str; 5] = ["type", "status", "reason", "message", "lastTransitionTime"];
/// The fields about people, within which nothing is kept.
const PEOPLE: [&str; 4] = ["requestedBy", "approvedBy", "extra", "clientMetadata"];
/// The other fields that are kept: names of closed lists, times, pools, namespaces and grants.
const KEPT: [&str; 31] = [
    "action",
    "apiVersion",
    "approvalIdentity",
    "awsRequestID",
    "cause",
    "claimedAt",
    "closedAt",
    "completionTime",
    "conflictsWith",
    "effect",
    "evidence",
    "exceptionCode",
    "grants",
    "ifResetRequired",
    "kind",
    "namespace",
    "namespaces",
    "notAfter",
    "operatorInstance",
    "outcome",
    "password",
    "performedTime",
    "requestUID",
    "sentAt",
    "sessionTags",
    "settledAt",
    "startTime",
    "stateReadAfter",
    "userPoolID",
    "userStateSource",
    "userStatus",
];
const KEPT_OF_ATTEMPTS: [&str; 3] = ["id", "userStatusBefore", "userStatusAfter"];

/// The authors of the names of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests and records: their names may contain names of people.
    OfPeople,
    /// Grants and holds.
    OfAdministrators,
}

/// Returns true if a text is kept, by the names of the fields that lead to it.
fn is_kept(path: &[&str], kind: Kind) -> bool {
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return false };
    if *first == "metadata" {
        return path.len() == 2 && (METADATA.contains(last) || (*last == "name" && kind == Kind::OfAdministrators));
    }
    if path.iter().any(|field| PEOPLE.contains(field)) {
        return false;
    }
    if path.contains(&"conditions") {
        return CONDITION.contains(last);
    }
    KEPT.contains(last) || (path.contains(&"attempts") && KEPT_OF_ATTEMPTS.contains(last))
}

/// Calls `text` with each text of a value and whether it is kept, and puts what it returns in its
/// place. Managed fields are left out.
fn map_texts(value: Value, path: &mut Vec<String>, kind: Kind, text: &mut impl FnMut(String, bool) -> String) -> Value {
    match value {
        Value::String(value) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            Value::String(text(value, is_kept(&path, kind)))
        }
        Value::Array(values) => values.into_iter().map(|value| map_texts(value, path, kind, text)).collect(),
        Value::Object(fields) => {
            let mut mapped = Map::new();
            for (name, value) in fields.into_iter().filter(|(name, _)| name != "managedFields") {
                path.push(name);
                let value = map_texts(value, path, kind, text);
                mapped.insert(path.pop().unwrap_or_default(), value);
            }
            Value::Object(mapped)
        }
        other => other,
    }
}

/// The values that are replaced.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary(BTreeSet<String>);

impl Vocabulary {
    /// Adds a value, in the form of JSON as well, which logs have.
    pub fn learn(&mut self, value: &str) {
        if value.is_empty() || value == NOBODY {
            return;
        }
        let json = Value::from(value).to_string();
        let json = json.trim_matches('"');
        self.0.extend((json != value).then(|| json.to_owned()));
        self.0.insert(value.to_owned());
    }

    /// Adds the values of an object that are not kept.
    pub fn collect(&mut self, object: &impl Serialize, kind: Kind) {
        let object = serde_json::to_value(object).unwrap_or_default();
        map_texts(object, &mut Vec::new(), kind, &mut |text, is_kept| {
            if !is_kept {
                self.learn(&text);
            }
            text
        });
    }

    /// Returns what replaces these values.
    ///
    /// # Errors
    /// When they cannot be searched for together.
    pub fn redactor(&self, salt: &[u8]) -> Result<Redactor, Failure> {
        // Of two values that begin at the same place, the longer one is replaced.
        let mut values: Vec<&str> = self.0.iter().map(String::as_str).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let (long, short): (Vec<&str>, Vec<&str>) =
            values.into_iter().partition(|it| it.chars().count() >= WITHIN_WORDS);
        let long = long.iter().map(|value| regex::escape(value)).collect();
        let short = short.iter().map(|value| alone(value)).collect();
        Ok(Redactor { salt: salt.to_owned(), searches: [search(long)?, search(short)?] })
    }
}

/// Returns the pattern of a short value, which is found only as a word of its own.
fn alone(value: &str) -> String {
    let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let edge = |character| if is_word(character) { r"\b" } else { "" };
    format!("{}{}{}", edge(value.chars().next()), regex::escape(value), edge(value.chars().next_back()))
}

fn search(patterns: Vec<String>) -> Result<Option<Regex>, Failure> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let pattern = RegexBuilder::new(&patterns.join("|")).size_limit(SEARCH).build();
    let too_many = |_| {
        Failure::refused("--bundle: there are too many names to search for: name a namespace with fewer requests by -n")
    };
    pattern.map(Some).map_err(too_many)
}

/// Replaces values by hashes.
#[derive(Debug)]
pub struct Redactor {
    salt: Vec<u8>,
    searches: [Option<Regex>; 2],
}

impl Redactor {
    fn hash(&self, value: &str) -> String {
        let hash = Sha256::new().chain_update(&self.salt).chain_update(value).finalize();
        format!("hash-{}", hex::encode(hash.get(..HASHED).unwrap_or_default()))
    }

    /// Replaces the known values in a text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.searches.iter().flatten().fold(text.to_owned(), |text, search| {
            search.replace_all(&text, |found: &Captures<'_>| self.hash(&found[0])).into_owned()
        })
    }

    /// Returns an object of which only the listed fields are kept.
    #[must_use]
    pub fn object(&self, object: &impl Serialize, kind: Kind) -> Value {
        let object = serde_json::to_value(object).unwrap_or_default();
        let replaced = map_texts(object, &mut Vec::new(), kind, &mut |text, is_kept| match text.as_str() {
            "" | NOBODY => text,
            _ if is_kept => self.text(&text),
            _ => self.hash(&text),
        });
        self.keys(replaced, false)
    }

    /// Replaces known values in the names of labels, annotations and other maps that people write.
    fn keys(&self, value: Value, is_free: bool) -> Value {
        match value {
            Value::Object(fields) => {
                let field = |(name, value): (String, Value)| {
                    let free =
                        is_free || ["labels", "annotations", "matchLabels", "clientMetadata"].contains(&name.as_str());
                    (if is_free { self.text(&name) } else { name }, self.keys(value, free))
                };
                Value::Object(fields.into_iter().map(field).collect())
            }
            Value::Array(values) => values.into_iter().map(|value| self.keys(value, is_free)).collect(),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let mut vocabulary = Vocabulary::default();
        values.iter().for_each(|value| vocabulary.learn(value));
        vocabulary.redactor(b"salt").expect("a redactor")
    }

    #[test]
    fn equal_values_have_equal_hashes_in_one_bundle_only() {
        let first = redactor(&["alice"]);
        assert_eq!(first.text("alice and alice"), format!("{0} and {0}", first.hash("alice")));
        let other = Vocabulary::default().redactor(b"other").expect("a redactor");
        assert_ne!(first.hash("alice"), other.hash("alice"));
        assert_ne!(first.hash("alice"), first.hash("Alice"));
    }

    #[test]
    fn known_values_are_found_within_other_texts() {
        let redactor = redactor(&["alice@example.com", "alice", "al", "@", "zo\"e", "unverified", ""]);
        for (text, gone) in [
            ("user alice@example.com waits", "alice"),
            ("prefix-alice-suffix", "alice"),
            (r#"{"user":"zo\"e"}"#, "zo"),
            ("al", "al"),
            ("a@b", "@"),
        ] {
            let shown = redactor.text(text);
            assert!(!shown.contains(gone) && shown.contains("hash-"), "{text}: {shown}");
        }
        assert_eq!(redactor.text("all is normal, unverified"), "all is normal, unverified");
    }

    #[test]
    fn of_an_object_only_listed_fields_are_kept() {
        let object = json!({
            "apiVersion": "v1", "kind": "K",
            "metadata": {
                "name": "n-secret", "namespace": "support", "uid": "u-1", "managedFields": [{"manager": "secret"}],
                "labels": {"secret": "secret"}, "annotations": {"a": "secret"},
                "ownerReferences": [{"kind": "secret", "uid": "secret"}],
            },
            "spec": {
                "userPoolID": "eu-west-1_X", "username": "secret", "reason": "my secret", "newField": "secret",
                "requestedBy": {"username": "unverified", "uid": "secret", "extra": {"kind": "secret"}},
                "clientMetadata": {"namespace": "secret"}, "suspend": true, "grants": ["g"],
            },
            "status": {
                "outcome": "Pending", "userSub": "secret", "recordRef": {"name": "secret"},
                "conditions": [{"type": "Ready", "reason": "Waits", "message": "for secret, and n-secret"}],
            },
            "attempts": [{"id": "i-1", "reason": "my secret", "userStatusBefore": "CONFIRMED"}],
        });
        let mut vocabulary = Vocabulary::default();
        vocabulary.collect(&object, Kind::OfPeople);
        let redactor = vocabulary.redactor(b"salt").expect("a redactor");
        let shown = redactor.object(&object, Kind::OfPeople);
        let text = shown.to_string();
        assert!(!text.contains("secret"), "{text}");
        for kept in
            ["support", "u-1", "eu-west-1_X", "unverified", "Pending", "Waits", "i-1", "CONFIRMED", "\"g\"", "true"]
        {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(shown["spec"]["username"], shown["status"]["userSub"], "equal values stay comparable");
        let administrators =
            redactor.object(&json!({"metadata": {"name": "grant-of-support"}}), Kind::OfAdministrators);
        assert_eq!(administrators["metadata"]["name"], "grant-of-support");
    }
}
