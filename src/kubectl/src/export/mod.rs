//! `export`: the ledger as a file, with a manifest by which `verify` finds later changes.

pub mod draft;
pub mod manifest;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use cognito_reset_core::ledger::changed_at;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};

use self::{
    draft::Draft,
    manifest::{ClusterId, FORMAT, Ledger, Line, Manifest, Previous, SUFFIX, sha256},
};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    ledger::{self, Entry, effect_of},
    moment::{self, Range},
};

/// The arguments of `export`.
#[derive(Args, Debug)]
#[command(after_help = "\
The ledger is written as NDJSON: one record per line, as the API server stores it, without
managedFields, with sorted keys, in the order of the API server. The manifest beside it has the
SHA-256 of the file and of each line. With --previous it has that of the manifest before, too, so
that no export of a chain can be changed later without a trace. The SHA-256 of the new manifest is
printed: keep it elsewhere, because who changes both files can compute new ones. The files contain
user names, and only their owner may read them. An interruption leaves no half export.

Examples:
  # Export all records into a directory; the files are named after the time
  kubectl cognito-reset export --out /backup/ledger

  # Go on with the chain: the records written since the export before
  kubectl cognito-reset export --out /backup/ledger --since 2036-01-01 --previous /backup/ledger/ledger-20360101T000000Z.manifest.json

  # Export into this file, with ledger.manifest.json beside it
  kubectl cognito-reset export --out ledger.ndjson")]
pub struct Options {
    /// The directory, or the file, which must not exist
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// Exports only records written since a time, a day (UTC), or a time before now such as 24h
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    since: Option<Timestamp>,
    /// The manifest of the export before, in the same directory
    #[arg(long, value_name = "MANIFEST")]
    previous: Option<PathBuf>,
}

/// The places of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places {
    ledger: PathBuf,
    manifest: PathBuf,
}

impl Places {
    fn new(out: &Path, now: Timestamp) -> Self {
        let ledger = if out.is_dir() {
            out.join(format!("ledger-{}.ndjson", now.strftime("%Y%m%dT%H%M%SZ")))
        } else {
            out.to_owned()
        };
        let name = ledger.file_stem().unwrap_or_default().to_string_lossy();
        Self { manifest: ledger.with_file_name(format!("{name}{SUFFIX}")), ledger }
    }
}

/// The content of an export, as far as the manifest needs it.
#[derive(Clone, Debug, Default)]
struct Contents {
    lines: Vec<Line>,
    effects: BTreeMap<String, u64>,
    unreadable: Vec<String>,
}

impl Contents {
    /// Adds a record. Returns its line.
    fn add(&mut self, entry: &Entry) -> String {
        let line = entry.line();
        *self.effects.entry(effect_of(&entry.stored)).or_default() += 1;
        if entry.record.is_err() {
            self.unreadable.push(entry.name.clone());
        }
        self.lines.push(Line { name: entry.name.clone(), sha256: sha256(line.as_bytes()) });
        line
    }

    fn into_manifest(self, header: Header) -> Manifest {
        let Header { cluster, time, since, resource_version, ledger, previous } = header;
        Manifest {
            format: FORMAT.to_owned(),
            cluster,
            plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
            time,
            since,
            resource_version,
            ledger,
            effects: self.effects,
            unreadable: self.unreadable,
            previous,
            records: self.lines,
        }
    }
}

/// The parts of a manifest that are not of single records.
struct Header {
    cluster: ClusterId,
    time: Timestamp,
    since: Option<Timestamp>,
    resource_version: String,
    ledger: Ledger,
    previous: Option<Previous>,
}

/// Returns true if the record was written in the range, or may have been.
pub(crate) fn written_in(range: &Range, entry: &Entry) -> bool {
    entry.record.as_ref().ok().and_then(changed_at).is_none_or(|changed| range.contains(changed))
}

/// Runs `export`.
///
/// # Errors
/// When the ledger cannot be read, or a file cannot be written. There is no new file then.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    target.refuse_namespace()?;
    let cluster = Cluster::connect(target).await?;
    tokio::select! {
        done = export(&options, &cluster, Timestamp::now()) => done,
        () = interrupted() => {
            anstream::eprintln!("interrupted; nothing was exported");
            Ok(Exit::Interrupted)
        }
    }
}

/// Waits for Ctrl-C, or for the signal by which Kubernetes ends a Pod.
async fn interrupted() {
    let ctrl_c = async { _ = tokio::signal::ctrl_c().await };
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            () = ctrl_c => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    ctrl_c.await;
}

async fn export(options: &Options, cluster: &Cluster, now: Timestamp) -> Result<Exit, Failure> {
    let places = Places::new(&options.out, now);
    let id = identify(cluster).await?;
    let previous = options.previous.as_deref().map(|path| previous(path, &places, &id)).transpose()?;
    let mut ledger_file = Draft::new(&places.ledger)?;
    let mut manifest_file = Draft::new(&places.manifest)?;
    let range = Range { since: options.since, until: None };
    let mut contents = Contents::default();
    let resource_version = ledger::each(cluster, None, |entry| {
        if !written_in(&range, &entry) {
            return Ok(());
        }
        ledger_file.write(format!("{}\n", contents.add(&entry)).as_bytes())
    })
    .await?;
    let ledger = Ledger {
        file: file_name(&places.ledger),
        sha256: ledger_file.complete()?,
        records: u64::try_from(contents.lines.len()).unwrap_or(u64::MAX),
    };
    let since = options.since;
    let manifest = contents.into_manifest(Header { cluster: id, time: now, since, resource_version, ledger, previous });
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| Failure::usage(error.to_string()))?;
    manifest_file.write(format!("{text}\n").as_bytes())?;
    let sha256 = manifest_file.complete()?;
    // The manifest comes last: without it there is no export.
    ledger_file.publish()?;
    manifest_file.publish()?;
    report(&manifest, &range, &places);
    anstream::println!("{sha256}  {}", places.manifest.display());
    Ok(Exit::Succeeded)
}

fn report(manifest: &Manifest, range: &Range, places: &Places) {
    let effects: Vec<String> = manifest.effects.iter().map(|(effect, count)| format!("{count} {effect}")).collect();
    let effects = if effects.is_empty() { String::new() } else { format!(": {}", effects.join(", ")) };
    anstream::eprintln!("{} records ({range}){effects} in {}", manifest.ledger.records, places.ledger.display());
    if !manifest.unreadable.is_empty() {
        anstream::eprintln!(
            "{} of them cannot be read by this plugin, and were exported as they are stored: {}",
            manifest.unreadable.len(),
            manifest.unreadable.join(" ")
        );
    }
}

/// Returns the identity of the cluster, as far as the exporter may read it.
pub(crate) async fn identify(cluster: &Cluster) -> Result<ClusterId, Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let uid = match namespaces.get("kube-system").await {
        Ok(namespace) => namespace.uid(),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            anstream::eprintln!(
                "the manifest has no uid of the cluster: you may not get the namespace kube-system, which has it"
            );
            None
        }
        Err(error) => {
            return Err(Failure::of_api(&error, "get the namespace kube-system, whose uid names the cluster"));
        }
    };
    Ok(ClusterId { uid, server: cluster.server.clone() })
}

/// Returns the link to the manifest before.
fn previous(path: &Path, places: &Places, cluster: &ClusterId) -> Result<Previous, Failure> {
    let (manifest, sha256) = manifest::read(path)?;
    if manifest.cluster.is_other_than(cluster) {
        return Err(Failure::usage(format!(
            "--previous: {} is of another cluster ({})",
            path.display(),
            manifest.cluster.server
        )));
    }
    if directory(path) != directory(&places.manifest) {
        return Err(Failure::usage(format!(
            "--previous: {} is not in the directory of --out, where `verify` looks for it",
            path.display()
        )));
    }
    Ok(Previous { file: file_name(path), sha256 })
}

fn directory(path: &Path) -> Option<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parent.canonicalize().ok()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::tests::{attempt, stored};

    #[test]
    fn the_files_are_named_after_the_time_in_a_directory() {
        let now = "2030-01-02T03:04:05Z".parse().unwrap();
        let places = Places::new(&std::env::temp_dir(), now);
        assert!(places.ledger.ends_with("ledger-20300102T030405Z.ndjson"), "{places:?}");
        assert!(places.manifest.ends_with("ledger-20300102T030405Z.manifest.json"), "{places:?}");
        let places = Places::new(Path::new("no/such.ndjson"), now);
        assert_eq!(places.manifest, Path::new("no/such.manifest.json"));
    }

    #[test]
    fn contents_count_effects_and_name_what_cannot_be_read() {
        let mut contents = Contents::default();
        let attempts = json!([attempt("a", json!({}))]);
        for stored in [
            stored("a", json!({"effect": "Performed", "attempts": attempts})),
            stored("b", json!({"attempts": attempts})),
            stored("c", json!({"effect": "Later", "schema": 9})),
        ] {
            let entry = Entry::new(stored);
            let line = contents.add(&entry);
            assert_eq!(contents.lines.last().unwrap().sha256, sha256(line.as_bytes()));
        }
        let effects = [("Later".into(), 1), ("Performed".into(), 1), ("open".into(), 1)];
        assert_eq!(contents.effects, BTreeMap::from(effects));
        assert_eq!(contents.unreadable, ["c"]);
    }

    #[test]
    fn a_record_belongs_to_the_time_of_its_last_write() {
        let settled = attempt("a", json!({"settledAt": "2030-01-05T00:00:00Z"}));
        let entry = Entry::new(stored("a", json!({"effect": "Performed", "attempts": [settled]})));
        let since = |text: &str| Range { since: Some(text.parse().unwrap()), until: None };
        assert!(written_in(&since("2030-01-05T00:00:00Z"), &entry));
        assert!(!written_in(&since("2030-01-05T00:00:01Z"), &entry));
        let unreadable = Entry::new(stored("a", json!({"schema": 9})));
        assert!(written_in(&since("2040-01-01T00:00:00Z"), &unreadable));
    }
}
