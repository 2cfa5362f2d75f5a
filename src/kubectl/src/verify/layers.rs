//! The newest exports of a chain: down to one of all records, each has what was written since the
//! one before. Together they are the ledger at the time of the newest one.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::Value;

use super::compare::{Compared, compare};
use crate::{
    export::manifest::{Header, Manifest},
    ledger::Entry,
};

/// An export with its comparison.
#[derive(Debug)]
pub(super) struct Layer {
    /// The manifest.
    pub(super) manifest: Manifest,
    /// The comparison of the ledger file with it.
    pub(super) compared: Compared,
    path: PathBuf,
}

impl Layer {
    /// Compares the ledger file of a manifest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(manifest: Manifest, directory: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let path = directory.join(&manifest.header.ledger.file);
        match File::open(&path).and_then(|file| compare(&manifest, BufReader::new(file))) {
            Ok(compared) => Ok(Self { manifest, compared, path }),
            Err(error) => Err((path, error)),
        }
    }

    fn record_at(&self, offset: u64) -> io::Result<Value> {
        let mut file = BufReader::new(File::open(&self.path)?);
        file.seek(SeekFrom::Start(offset))?;
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

/// The line of a record in the newest export that has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// It is as it was exported.
    At(&'a Layer, u64),
    /// It was altered or removed, which is a difference of its file.
    Lost,
}

impl Place<'_> {
    /// Reads the record; `None` if its line is lost.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn record(&self) -> io::Result<Option<Value>> {
        match self {
            Self::At(layer, offset) => layer.record_at(*offset).map(Some),
            Self::Lost => Ok(None),
        }
    }
}

/// The newest exports.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The newest one first.
    layers: Vec<Layer>,
    /// True once no further export belongs to them.
    is_complete: bool,
}

impl Layers {
    /// Adds the export before, unless one of all records is here.
    pub(super) fn add(&mut self, layer: Layer) {
        if !self.is_complete {
            self.is_complete = layer.manifest.header.since.is_none();
            self.layers.push(layer);
        }
    }

    /// Ends before an export whose ledger file cannot be read.
    pub(super) const fn end(&mut self) {
        self.is_complete = true;
    }

    /// Returns the newest manifest.
    pub(super) fn newest(&self) -> Option<&Header> {
        self.layers.first().map(|layer| &layer.manifest.header)
    }

    /// Returns the time before which records may be in none of them; `None` if all are here.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.layers.last().and_then(|layer| layer.manifest.header.since)
    }

    /// Returns true if one of them has this record, if it existed then.
    pub(super) fn cover(&self, entry: &Entry) -> bool {
        self.layers.iter().any(|layer| layer.manifest.header.part().has(entry))
    }

    /// Returns the place of each record.
    pub(super) fn places(&self) -> BTreeMap<&str, Place<'_>> {
        let mut places = BTreeMap::new();
        for layer in &self.layers {
            for (line, offset) in layer.manifest.records.iter().zip(&layer.compared.offsets) {
                let place = offset.map_or(Place::Lost, |offset| Place::At(layer, offset));
                places.entry(line.name.as_str()).or_insert(place);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::compare::tests::{line, manifest};

    fn layer(names: &[&str], lines: &[&str], since: Option<Timestamp>) -> Layer {
        let mut manifest = manifest(names);
        manifest.header.since = since;
        let text: String = lines.iter().map(|name| line(name) + "\n").collect();
        let compared = compare(&manifest, text.as_bytes()).unwrap();
        Layer { manifest, compared, path: PathBuf::new() }
    }

    #[test]
    fn the_newest_export_with_a_record_decides() {
        let (first, second) = (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX));
        let mut layers = Layers::default();
        layers.add(layer(&["b", "c"], &["c"], second));
        layers.add(layer(&["a", "b"], &["a", "b"], first));
        assert_eq!((layers.layers.len(), layers.since()), (2, first));
        layers.add(layer(&["c", "d"], &["c", "d"], None));
        // Older than an export of all records.
        layers.add(layer(&["e"], &["e"], None));
        assert_eq!((layers.layers.len(), layers.since()), (3, None));
        let of = |place: &Place<'_>| match place {
            Place::At(layer, _) => layers.layers.iter().position(|it| std::ptr::eq(it, *layer)),
            Place::Lost => None,
        };
        let places: Vec<_> = layers.places().iter().map(|(name, place)| (name.to_string(), of(place))).collect();
        let wanted = [("a", Some(1)), ("b", None), ("c", Some(0)), ("d", Some(2))];
        assert_eq!(places, wanted.map(|(name, layer)| (name.to_owned(), layer)));
    }

    #[test]
    fn an_unreadable_export_ends_what_is_compared() {
        let mut layers = Layers::default();
        layers.add(layer(&["a"], &["a"], Some(Timestamp::UNIX_EPOCH)));
        layers.end();
        layers.add(layer(&["b"], &["b"], None));
        assert_eq!((layers.layers.len(), layers.since()), (1, Some(Timestamp::UNIX_EPOCH)));
    }
}
