//! Reads the ledger of the cluster beside the newest exports.

use std::{collections::BTreeMap, io};

use cognito_reset_core::ledger::is_ungranted;

use super::{
    differs,
    layers::{Layers, Place},
    live::{Finding, judge},
};
use crate::{
    cluster::Cluster,
    export::{identify, manifest::Header},
    failure::Failure,
    ledger::{self, Entry},
    terminal::remark,
};

/// Compares the newest exports with the cluster. Returns the number of differences.
///
/// # Errors
/// When it is another cluster, or the ledger cannot be read to its end.
pub(super) async fn compare(cluster: &Cluster, layers: &Layers) -> Result<usize, Failure> {
    let Some(newest) = layers.newest() else { return Ok(0) };
    let here = identify(cluster).await?;
    if here.is_other_than(&newest.cluster) {
        return Err(Failure::usage(format!(
            "the export is of another cluster ({}): choose its context with --context",
            newest.cluster.server
        )));
    }
    if here.uid.is_none() {
        remark!(
            "the cluster was recognized by its address alone: you may not get the namespace kube-system, whose uid names it"
        );
    }
    if let Some(since) = layers.since() {
        remark!(
            "records written before {since} are in none of the exports that can be read, and were not compared with the cluster"
        );
    }
    let unreadable = |error: io::Error| Failure::usage(format!("the exports cannot be read: {error}"));
    let mut comparison = Comparison::new(layers, newest);
    ledger::each(cluster, None, |entry| comparison.add(&entry).map_err(unreadable)).await?;
    comparison.finish().map_err(unreadable)
}

/// A comparison that goes on.
struct Comparison<'a> {
    layers: &'a Layers,
    newest: &'a Header,
    /// The exported records that were not found in the cluster yet.
    left: BTreeMap<&'a str, Place<'a>>,
    differences: usize,
    went_on: usize,
    new: usize,
}

impl<'a> Comparison<'a> {
    fn new(layers: &'a Layers, newest: &'a Header) -> Self {
        Self { layers, newest, left: layers.places(), differences: 0, went_on: 0, new: 0 }
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let place = self.left.remove(entry.name.as_str());
        let exported = place.map(|place| place.record()).transpose()?.flatten();
        match judge(exported.as_ref(), &entry.stored, &self.newest.resource_version) {
            Finding::Same => {}
            Finding::WentOn => self.went_on += 1,
            // The difference of its line was named already.
            Finding::New | Finding::Missing if place.is_some() => {}
            Finding::New => self.new += 1,
            Finding::Missing if !self.layers.cover(entry) => {}
            Finding::Missing => self.differs("missing in the export", &entry.name),
            Finding::Altered => self.differs("altered", &entry.name),
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<usize> {
        for (name, place) in std::mem::take(&mut self.left) {
            // That of a lost line was named already.
            let Some(exported) = place.record()? else { continue };
            if !Entry::new(exported).record.as_ref().is_ok_and(is_ungranted) {
                self.differs("removed", name);
            }
        }
        let Self { went_on, new, .. } = self;
        remark!("records that went on since the export: {went_on}, that are new: {new}; this is no difference");
        Ok(self.differences)
    }

    fn differs(&mut self, word: &str, name: &str) {
        self.differences += 1;
        differs(&format!("the cluster: {word}: record {name}"));
    }
}
