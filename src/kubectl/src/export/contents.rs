//! The two files of an export while they are written. Only numbers are kept of the records, so that
//! memory does not grow with them.

use std::collections::BTreeMap;

use super::{
    Places,
    directory::Directory,
    draft::Draft,
    file_name,
    manifest::{Header, Ledger, Line, sha256},
};
use crate::{
    failure::Failure,
    ledger::{Entry, effect_of},
};

/// The drafts of the ledger file and the manifest.
#[derive(Debug)]
pub struct Contents {
    ledger: Draft,
    manifest: Draft,
    numbers: Numbers,
}

/// The numbers of the records, as far as the manifest has them.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// All records.
    pub records: u64,
    /// The records by effect.
    pub effects: BTreeMap<String, u64>,
    /// The names of those that this plugin cannot read.
    pub unreadable: Vec<String>,
}

impl Contents {
    /// Begins both files.
    ///
    /// # Errors
    /// When one exists already, or cannot be created.
    pub fn new(places: &Places) -> Result<Self, Failure> {
        let ledger = Draft::new(&places.ledger)?;
        let mut manifest = Draft::new(&places.manifest)?;
        manifest.write(b"{\n  \"records\": [")?;
        Ok(Self { ledger, manifest, numbers: Numbers::default() })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.line();
        let of_manifest = Line { name: entry.name.clone(), sha256: sha256(line.as_bytes()) };
        let of_manifest = serde_json::to_string(&of_manifest).map_err(|error| Failure::usage(error.to_string()))?;
        let comma = if self.numbers.records == 0 { "" } else { "," };
        self.manifest.write(format!("{comma}\n    {of_manifest}").as_bytes())?;
        self.numbers.add(entry);
        self.ledger.write(format!("{line}\n").as_bytes())
    }

    /// Stores both files under their names. `header` makes the rest of the manifest. Returns the
    /// SHA-256 of the manifest, and the numbers.
    ///
    /// # Errors
    /// When they cannot be stored.
    pub fn publish(
        mut self,
        directory: &Directory,
        places: &Places,
        header: impl FnOnce(Ledger, &Numbers) -> Header,
    ) -> Result<(String, Numbers), Failure> {
        let ledger =
            Ledger { file: file_name(&places.ledger), sha256: self.ledger.complete()?, records: self.numbers.records };
        let header = serde_json::to_string_pretty(&header(ledger, &self.numbers));
        let header = header.map_err(|error| Failure::usage(error.to_string()))?;
        let fields = header.strip_prefix('{').unwrap_or(&header);
        self.manifest.write(format!("\n  ],{fields}\n").as_bytes())?;
        let sha256 = self.manifest.complete()?;
        // The manifest comes last: without it there is no export.
        self.ledger.publish(directory)?;
        self.manifest.publish(directory)?;
        Ok((sha256, self.numbers))
    }
}

impl Numbers {
    fn add(&mut self, entry: &Entry) {
        self.records += 1;
        *self.effects.entry(effect_of(&entry.stored)).or_default() += 1;
        if entry.record.is_err() {
            self.unreadable.push(entry.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        export::{draft::tests::directory, manifest},
        ledger::tests::{attempt, stored},
        verify::compare::{compare, tests::manifest as of_records},
    };

    #[test]
    fn a_manifest_has_the_numbers_and_hashes_of_its_ledger() {
        let path = directory("contents");
        let places = Places { ledger: path.join("l.ndjson"), manifest: path.join("l.manifest.json") };
        let attempts = json!([attempt("a", json!({}))]);
        let records = [
            stored("a", json!({"effect": "Performed", "attempts": attempts})),
            stored("b", json!({"attempts": attempts})),
            stored("c", json!({"effect": "Later", "schema": 9})),
        ];
        for records in [&records[..0], &records[..]] {
            let mut contents = Contents::new(&places).unwrap();
            records.iter().for_each(|stored| contents.add(&Entry::new(stored.clone())).unwrap());
            let header = |ledger, numbers: &Numbers| Header {
                ledger,
                effects: numbers.effects.clone(),
                unreadable: numbers.unreadable.clone(),
                ..of_records(&[]).header
            };
            let directory = Directory::of(&places.ledger).unwrap();
            let (sha256, _) = contents.publish(&directory, &places, header).unwrap();
            let (read, hash) = manifest::read(&places.manifest).unwrap();
            assert_eq!((&sha256, read.records.len()), (&hash, records.len()));
            assert_eq!(manifest::read_header(&places.manifest).unwrap(), (read.header.clone(), hash));
            let ledger = std::fs::read(&places.ledger).unwrap();
            assert!(compare(&read, &ledger[..]).unwrap().differences.is_empty());
            let wanted: &[&str] = if records.is_empty() { &[] } else { &["c"] };
            assert_eq!(read.header.unreadable, wanted);
            std::fs::remove_file(&places.ledger).unwrap();
            std::fs::remove_file(&places.manifest).unwrap();
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
