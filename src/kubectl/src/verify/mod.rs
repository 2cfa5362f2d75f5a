//! `verify`: compares an export with its manifest, the manifests before, and the cluster.

mod cluster;
pub mod compare;
mod layers;
pub mod live;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap::Args;

use self::layers::{Layer, Layers};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    export::manifest::{self, Header, Ledger, Manifest, Previous},
    failure::Failure,
    sheet::cell::shown,
    terminal::{counted, line, remark},
};

/// The arguments of `verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each record that was altered, removed or added is named, one per line. The manifests before are
followed to the first one, and the files of their ledgers are compared, too. A file or a manifest
that is gone is a difference. Only --archived accepts that those before the newest export are
elsewhere: their records are not compared then, neither with the manifest nor with the cluster.
Who changes a file and its manifest alike is found only by the next manifest of the chain, or by
the SHA-256 that `export` printed: compare it with the one that is printed here.

With --live, the ledger of the cluster is compared with the newest export; if that has only the
records written since the one before, with those before as well, down to one of all records. A
record that was written since the newest export, as the operator writes records, is no difference.
A record that is gone is one: retention may have deleted it, or somebody. Those of requests that
were never granted are kept for minutes only, and are no difference.

The exit code is 0 if there is no difference, and 1 if there is one. It is 2 if the newest manifest
or its file cannot be read.

Examples:
  # Compare an export with its manifest, and the chain before
  kubectl cognito-reset verify ledger-20360101T000000.000Z.manifest.json

  # Compare it with the cluster, too
  kubectl cognito-reset verify ledger.manifest.json --live")]
pub struct Options {
    /// The newest manifest of the chain
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Compares the export with the ledger of the cluster, too
    #[arg(long)]
    live: bool,
    /// Accepts that files of the chain before the newest export are not in the directory
    #[arg(long)]
    archived: bool,
}

/// Runs `verify`.
///
/// # Errors
/// When the manifest or its ledger cannot be read, or the cluster refuses.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    target.refuse_namespace("this command is about the records of the whole cluster")?;
    let (manifest, hash) = manifest::read(&options.manifest).map_err(|reason| {
        Failure::usage(format!("{} is no manifest that can be read: {reason}", options.manifest.display()))
    })?;
    let mut chain = Chain::new(&options.manifest, options.archived);
    let newest = Layer::read(manifest, &chain.directory)
        .map_err(|(path, error)| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    chain.follow(newest);
    if options.live {
        let cluster = Cluster::connect(target).await?;
        chain.differences += cluster::compare(&cluster, &chain.layers).await?;
    }
    remark!(
        "{} with {}, {}",
        counted(chain.exports, "export"),
        counted(chain.records, "record"),
        counted(chain.differences, "difference")
    );
    line(&format!("{hash}  {}", options.manifest.display()))?;
    Ok(if chain.differences == 0 { Exit::Succeeded } else { Exit::SomeFailed })
}

fn differs(text: &str) {
    if let Err(failure) = line(&shown(text)) {
        remark!("{failure}");
    }
}

/// The manifests that were read.
struct Chain {
    directory: PathBuf,
    is_archived: bool,
    exports: usize,
    records: usize,
    differences: usize,
    /// The newest exports, which the cluster is compared with.
    layers: Layers,
}

impl Chain {
    fn new(newest: &Path, is_archived: bool) -> Self {
        let directory = newest.parent().unwrap_or(Path::new("")).to_owned();
        Self { directory, is_archived, exports: 0, records: 0, differences: 0, layers: Layers::default() }
    }

    /// Prints the differences of an export.
    fn note(&mut self, layer: Layer) {
        let Layer { manifest, compared, .. } = &layer;
        self.exports += 1;
        self.records += compared.unaltered();
        self.differences += compared.differences.len();
        for difference in &compared.differences {
            differs(&format!("{}: {difference}", manifest.header.ledger.file));
        }
        self.layers.add(layer);
    }

    /// Reads the manifests before, down to the first one or to one that was changed.
    fn follow(&mut self, newest: Layer) {
        let mut header = newest.manifest.header.clone();
        self.note(newest);
        while let Some(previous) = header.previous.take() {
            if self.is_archived && !self.directory.join(&previous.file).exists() {
                remark!("{} and those before it are not here (--archived)", previous.file);
                return;
            }
            match self.before(&previous, &header) {
                Ok(before) => {
                    self.gap(&before.header, &header);
                    header = before.header.clone();
                    self.ledger_of(before);
                }
                Err(reason) => {
                    self.differences += 1;
                    differs(&format!("{}: the chain ends here: {reason}", previous.file));
                    return;
                }
            }
        }
    }

    /// Returns the manifest before, if it is the one that it was.
    fn before(&self, previous: &Previous, newest: &Header) -> Result<Manifest, String> {
        let (before, sha256) = manifest::read(&self.directory.join(&previous.file))?;
        if sha256 != previous.sha256 {
            return Err("it was altered: the manifest after it has another SHA-256".to_owned());
        }
        if before.header.cluster.is_other_than(&newest.cluster) {
            return Err("it is of another cluster".to_owned());
        }
        Ok(before)
    }

    fn gap(&mut self, before: &Header, newest: &Header) {
        if let Some(gap) = newest.part().gap(before.time) {
            self.differences += 1;
            differs(&format!("{}: records written {gap} are in no export of the chain", newest.ledger.file));
        }
    }

    fn ledger_of(&mut self, manifest: Manifest) {
        let Ledger { file, records, .. } = manifest.header.ledger.clone();
        let records = counted(records, "record");
        match Layer::read(manifest, &self.directory) {
            Ok(layer) => self.note(layer),
            Err((_, error)) => {
                self.exports += 1;
                self.layers.end();
                let is_missing = error.kind() == ErrorKind::NotFound;
                if is_missing && self.is_archived {
                    remark!("{file} is not here (--archived); not compared: {records}");
                    return;
                }
                self.differences += 1;
                let way_out = if is_missing { "; --archived accepts that it is elsewhere" } else { "" };
                differs(&format!("{file}: not compared: {records}, since it cannot be read ({error}){way_out}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
