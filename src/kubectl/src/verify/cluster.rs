//! Reads the ledger of the cluster beside an export.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    ops::ControlFlow,
    path::Path,
};

use cognito_reset_core::ledger::is_ungranted;
use serde_json::Value;

use super::{
    compare::Compared,
    differs,
    live::{Finding, judge},
};
use crate::{
    cluster::Cluster,
    export::{identify, manifest::Manifest},
    failure::Failure,
    ledger::{self, Entry},
    terminal::remark,
};

/// Compares an export with the cluster. Returns the number of differences.
///
/// # Errors
/// When it is another cluster, or the ledger cannot be read to its end.
pub(super) async fn compare(
    cluster: &Cluster,
    manifest: &Manifest,
    compared: &Compared,
    path: &Path,
) -> Result<usize, Failure> {
    if identify(cluster).await?.is_other_than(&manifest.header.cluster) {
        return Err(Failure::usage(format!(
            "the export is of another cluster ({}): choose its context with --context",
            manifest.header.cluster.server
        )));
    }
    let unreadable = |error: io::Error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
    let mut comparison = Comparison::new(manifest, compared, File::open(path).map_err(unreadable)?);
    ledger::each(cluster, None, |entry| comparison.add(&entry).map(ControlFlow::Continue).map_err(unreadable)).await?;
    comparison.finish().map_err(unreadable)
}

/// A comparison that goes on.
struct Comparison<'a> {
    manifest: &'a Manifest,
    compared: &'a Compared,
    file: BufReader<File>,
    /// The records of the manifest.
    names: BTreeSet<&'a str>,
    /// The exported records that were not found yet.
    left: BTreeSet<&'a str>,
    differences: usize,
    went_on: usize,
    new: usize,
}

impl<'a> Comparison<'a> {
    fn new(manifest: &'a Manifest, compared: &'a Compared, file: File) -> Self {
        Self {
            manifest,
            compared,
            file: BufReader::new(file),
            names: manifest.records.iter().map(|line| line.name.as_str()).collect(),
            left: compared.offsets.keys().map(String::as_str).collect(),
            differences: 0,
            went_on: 0,
            new: 0,
        }
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.left.remove(entry.name.as_str());
        let exported = self.exported(&entry.name)?;
        let known = exported.is_none() && self.names.contains(entry.name.as_str());
        match judge(exported.as_ref(), &entry.stored, &self.manifest.header.resource_version) {
            Finding::Same => {}
            Finding::WentOn => self.went_on += 1,
            // The difference of its line was named already.
            Finding::New | Finding::Missing if known => {}
            Finding::New => self.new += 1,
            Finding::Missing if !self.manifest.header.part.has(entry) => {}
            Finding::Missing => self.differs("missing in the export", &entry.name),
            Finding::Altered => self.differs("altered", &entry.name),
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<usize> {
        for name in std::mem::take(&mut self.left) {
            let entry = Entry::new(self.exported(name)?.unwrap_or_default());
            if !entry.record.as_ref().is_ok_and(is_ungranted) {
                self.differs("removed", name);
            }
        }
        let Self { went_on, new, .. } = self;
        remark!("since the export, {went_on} records went on, and {new} are new; this is no difference");
        Ok(self.differences)
    }

    fn differs(&mut self, word: &str, name: &str) {
        self.differences += 1;
        differs(&format!("the cluster: {word}: record {name}"));
    }

    /// Reads the record as it was exported, if its line is as it was.
    fn exported(&mut self, name: &str) -> io::Result<Option<Value>> {
        let Some(offset) = self.compared.offsets.get(name) else { return Ok(None) };
        self.file.seek(SeekFrom::Start(*offset))?;
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line)?;
        Ok(Some(serde_json::from_slice(&line)?))
    }
}
