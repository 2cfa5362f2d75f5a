//! Compares the lines of a ledger file with its manifest.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::{self, BufRead},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    export::manifest::{Line, Manifest, sha256},
    ledger::{effect_of, name_of},
};

/// A difference between a file and its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The record has another content than at the export.
    Altered {
        /// The name of the record.
        record: String,
        /// The line, from 1.
        line: usize,
    },
    /// The record is not in the file any more.
    Removed {
        /// The name of the record.
        record: String,
    },
    /// The record was not in the export.
    Added {
        /// The name of the record.
        record: String,
        /// The line, from 1.
        line: usize,
    },
    /// The line is no record.
    NoRecord {
        /// The line, from 1.
        line: usize,
        /// The record that the manifest has for this line, if any.
        expected: Option<String>,
    },
    /// All lines are there, in another order or with other ends.
    Order,
    /// The manifest contradicts itself.
    Contradiction,
}

impl Compared {
    /// Returns the number of records that are as they were.
    #[must_use]
    pub fn unaltered(&self) -> usize {
        self.offsets.iter().flatten().count()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { record, line } => write!(f, "altered: record {record} (line {line})"),
            Self::Removed { record } => write!(f, "removed: record {record}"),
            Self::Added { record, line } => write!(f, "added: record {record} (line {line})"),
            Self::NoRecord { line, expected: Some(record) } => {
                write!(f, "altered: line {line} is no record; it was record {record}")
            }
            Self::NoRecord { line, expected: None } => write!(f, "added: line {line} is no record"),
            Self::Order => write!(f, "altered: all records are as they were, but not their order or the ends of lines"),
            Self::Contradiction => write!(f, "altered: the manifest has other numbers than it has records"),
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// The differences, in the order of the lines, then those of records that are gone.
    pub differences: Vec<Difference>,
    /// For each record of the manifest, its place in the file if it is as it was.
    pub offsets: Vec<Option<u64>>,
}

/// Compares a file with its manifest.
///
/// # Errors
/// When the file cannot be read.
pub fn compare(manifest: &Manifest, mut file: impl BufRead) -> io::Result<Compared> {
    let mut compared = Compared { offsets: vec![None; manifest.records.len()], ..Compared::default() };
    // An altered file can have any order, so that each name is needed until its line was found.
    let mut left: HashMap<&str, usize> =
        manifest.records.iter().enumerate().map(|(index, line)| (line.name.as_str(), index)).collect();
    let (mut whole, mut bytes) = (Sha256::new(), Vec::new());
    let (mut number, mut offset) = (0_usize, 0_u64);
    let mut effects: BTreeMap<String, u64> = BTreeMap::new();
    while file.read_until(b'\n', &mut bytes)? > 0 {
        whole.update(&bytes);
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        number += 1;
        match check(line, number, &manifest.records, &mut left) {
            Ok((index, effect)) => {
                if let Some(place) = compared.offsets.get_mut(index) {
                    *place = Some(offset);
                }
                *effects.entry(effect).or_default() += 1;
            }
            Err(difference) => compared.differences.push(difference),
        }
        offset += bytes.len() as u64;
        bytes.clear();
    }
    let gone = manifest.records.iter().filter(|line| left.contains_key(line.name.as_str()));
    compared.differences.extend(gone.map(|line| Difference::Removed { record: line.name.clone() }));
    if compared.differences.is_empty() {
        if hex::encode(whole.finalize()) != manifest.header.ledger.sha256 {
            compared.differences.push(Difference::Order);
        }
        if manifest.header.ledger.records != number as u64 || manifest.header.effects != effects {
            compared.differences.push(Difference::Contradiction);
        }
    }
    Ok(compared)
}

/// Compares a line with the records that no earlier line was. Returns the index of the record and
/// its effect.
fn check(
    line: &[u8],
    number: usize,
    records: &[Line],
    left: &mut HashMap<&str, usize>,
) -> Result<(usize, String), Difference> {
    let stored: Option<Value> = serde_json::from_slice(line).ok();
    let Some(record) = stored.as_ref().and_then(name_of).map(str::to_owned) else {
        let expected = number.checked_sub(1).and_then(|index| records.get(index));
        let expected = expected.filter(|line| left.remove(line.name.as_str()).is_some()).map(|line| line.name.clone());
        return Err(Difference::NoRecord { line: number, expected });
    };
    match left.remove(record.as_str()) {
        None => Err(Difference::Added { record, line: number }),
        Some(index) if records.get(index).is_some_and(|known| known.sha256 == sha256(line)) => {
            Ok((index, effect_of(&stored.unwrap_or_default())))
        }
        Some(_) => Err(Difference::Altered { record, line: number }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::export::manifest::{ClusterId, FORMAT, Header, Ledger};

    /// Returns the line of a record.
    pub(crate) fn line(name: &str) -> String {
        format!(r#"{{"effect":"Performed","metadata":{{"name":"{name}"}}}}"#)
    }

    /// Returns the manifest of these lines.
    pub(crate) fn manifest(names: &[&str]) -> Manifest {
        let text: String = names.iter().map(|name| format!("{}\n", line(name))).collect();
        let records = names.iter().map(|name| Line { name: (*name).into(), sha256: sha256(line(name).as_bytes()) });
        let count = names.len() as u64;
        let header = Header {
            format: FORMAT.into(),
            cluster: ClusterId { uid: None, server: "localhost".into() },
            plugin_version: "0".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            since: None,
            since_resource_version: None,
            resource_version: "100".into(),
            ledger: Ledger { file: "ledger.ndjson".into(), sha256: sha256(text.as_bytes()), records: count },
            effects: BTreeMap::from([("Performed".to_owned(), count)]),
            unreadable: vec![],
            previous: None,
        };
        Manifest { records: records.collect(), header }
    }

    #[test]
    fn each_change_of_the_file_names_its_record() {
        let manifest = manifest(&["a", "b", "c"]);
        let [a, b, c] = ["a", "b", "c"].map(line);
        let altered = b.replace("Performed", "Unknown");
        for (lines, wanted) in [
            (vec![&*a, &b, &c], &[][..]),
            (vec![&a, &altered, &c], &["altered: record b (line 2)"]),
            (vec![&a, &c], &["removed: record b"]),
            (vec![&a, &b, &line("x"), &c], &["added: record x (line 3)"]),
            (vec![&a, &b, &b, &c], &["added: record b (line 3)"]),
            (vec![&a, "{not json", &c], &["altered: line 2 is no record; it was record b"]),
            (vec![&a, &b, &c, ""], &["added: line 4 is no record"]),
            (vec![&b, &a, &c], &["altered: all records are as they were, but not their order or the ends of lines"]),
            (vec![&line("x"), &b, &c], &["added: record x (line 1)", "removed: record a"]),
            (vec![], &["removed: record a", "removed: record b", "removed: record c"]),
        ] {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let compared = compare(&manifest, text.as_bytes()).unwrap();
            let differences: Vec<String> = compared.differences.iter().map(ToString::to_string).collect();
            assert_eq!(differences, wanted, "{lines:?}");
        }
        let crlf = format!("{a}\r\n{b}\n{c}\n");
        let compared = compare(&manifest, crlf.as_bytes()).unwrap();
        assert_eq!(compared.differences, [Difference::Altered { record: "a".into(), line: 1 }]);
        assert_eq!(
            compared.offsets,
            [None, Some(a.len() + 2), Some(a.len() + b.len() + 3)].map(|it| it.map(|it| it as u64))
        );
    }

    #[test]
    fn a_manifest_with_other_numbers_is_found() {
        let mut manifest = manifest(&["a"]);
        manifest.header.effects = BTreeMap::from([("Unknown".into(), 1)]);
        let compared = compare(&manifest, format!("{}\n", line("a")).as_bytes()).unwrap();
        assert_eq!(compared.differences, [Difference::Contradiction]);
    }
}
