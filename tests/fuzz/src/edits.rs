//! Small changes to valid input: of bytes, and of JSON.

use arbitrary::Arbitrary;
use serde_json::{Map, Number, Value};

/// The text in every place where people may write; no report may show it.
pub const SECRET: &str = "Xq7Secret";
/// The same for numbers.
pub const SECRET_NUMBER: i64 = 730_981_265;

/// A change to bytes.
#[derive(Clone, Debug, Arbitrary)]
pub struct ByteEdit {
    at: u16,
    change: ByteChange,
}

#[derive(Clone, Debug, Arbitrary)]
enum ByteChange {
    Remove(u8),
    Insert(Vec<u8>),
    Set(u8),
    Cut,
}

/// Changes bytes.
pub fn apply_bytes(bytes: &mut Vec<u8>, edits: &[ByteEdit]) {
    for ByteEdit { at, change } in edits {
        let at = usize::from(*at) % (bytes.len() + 1);
        match change {
            ByteChange::Remove(count) => drop(bytes.drain(at..(at + usize::from(*count)).min(bytes.len()))),
            ByteChange::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            ByteChange::Set(byte) => bytes.get_mut(at).into_iter().for_each(|old| *old = *byte),
            ByteChange::Cut => bytes.truncate(at),
        }
    }
}

/// A change to a JSON document.
#[derive(Clone, Debug, Arbitrary)]
pub struct Edit {
    /// The index of the value among all values of the document.
    at: u16,
    change: Change,
}

#[derive(Clone, Debug, Arbitrary)]
enum Change {
    Put(Leaf),
    Wrap(bool),
    Remove(u8),
    Add(String, Leaf),
    Rename(u8, String),
}

/// A value to put in.
#[derive(Clone, Debug, Arbitrary)]
enum Leaf {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Secret(String, String),
    SecretNumber(bool),
    Time(i64),
    Empty(bool),
}

impl Leaf {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => (*bool).into(),
            Self::Integer(number) => (*number).into(),
            Self::Unsigned(number) => (*number).into(),
            Self::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::Text(text) => text.as_str().into(),
            Self::Secret(before, after) => format!("{before}{SECRET}{after}").into(),
            Self::SecretNumber(true) => SECRET_NUMBER.into(),
            Self::SecretNumber(false) => 730_981_265.5.into(),
            Self::Time(nanoseconds) => {
                jiff::Timestamp::from_nanosecond((*nanoseconds).into()).unwrap().to_string().into()
            }
            Self::Empty(true) => Value::Array(Vec::new()),
            Self::Empty(false) => Value::Object(Map::new()),
        }
    }
}

/// Changes a document.
pub fn apply(document: &mut Value, edits: &[Edit]) {
    for Edit { at, change } in edits {
        let mut left = usize::from(*at) % count(document);
        if let Some(value) = nth(document, &mut left) {
            change.apply(value);
        }
    }
}

impl Change {
    fn apply(&self, value: &mut Value) {
        match (self, value) {
            (Self::Put(leaf), value) => *value = leaf.value(),
            (Self::Wrap(true), value) => *value = Value::Array(vec![value.take()]),
            (Self::Wrap(false), value) => {
                *value = Value::Object([("inner".into(), value.take())].into_iter().collect())
            }
            (Self::Remove(number), Value::Object(members)) => {
                drop(key(members, *number).map(|key| members.remove(&key)))
            }
            (Self::Remove(number), Value::Array(items)) if !items.is_empty() => {
                items.remove(usize::from(*number) % items.len());
            }
            (Self::Add(key, leaf), Value::Object(members)) => drop(members.insert(key.clone(), leaf.value())),
            (Self::Add(_, leaf), Value::Array(items)) => items.push(leaf.value()),
            (Self::Rename(number, new), Value::Object(members)) => {
                if let Some(value) = key(members, *number).and_then(|key| members.remove(&key)) {
                    members.insert(new.clone(), value);
                }
            }
            (Self::Remove(_) | Self::Add(..) | Self::Rename(..), _) => {}
        }
    }
}

fn key(members: &Map<String, Value>, number: u8) -> Option<String> {
    members.keys().nth(usize::from(number) % members.len().max(1)).cloned()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, left)),
        _ => None,
    }
}
