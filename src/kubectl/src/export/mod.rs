//! `export`: the ledger as a file, with a manifest by which `verify` finds later changes.

pub mod chain;
pub mod contents;
pub mod directory;
pub mod draft;
pub mod manifest;
pub mod part;

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};

use self::{
    chain::Link,
    contents::{Contents, Numbers},
    directory::Directory,
    draft::exists,
    manifest::{ClusterId, FORMAT, Header, SUFFIX},
    part::{Part, Since},
};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    ledger::{self, Entry},
    terminal::{counted, line, remark},
};

/// The arguments of `export`.
#[derive(Args, Debug)]
#[command(after_help = "\
The ledger is written as NDJSON: one record per line, as the API server stores it, without
managedFields, with sorted keys, in the order of the API server. The manifest beside it has the
SHA-256 of the file and of each line, and that of the manifest before, so that no export of a chain
can be changed later without a trace. In a directory, the newest manifest is the one before; for a
file, --previous names it. Without --previous, a file beside other exports is refused: a second
chain in a directory would stop the exports that look for the newest manifest. The SHA-256 of the
new manifest is printed: keep it elsewhere, because who changes both files can compute new ones. The
files contain user names, and only their owner may read them. An interruption leaves no half export,
and one export at a time writes into a directory.

In a chain, --since with a moment after the export before is refused: what was written in between
would be in no export. `--since previous` exports what was written since that export, and all
records if there is none. A first export with --since and a moment begins a chain without the
records before it.

Examples:
  # Export all records into a directory, as the first export or as the next one of its chain
  kubectl cognito-reset export --out /backup/ledger

  # Go on with the chain: only the records written since the export before
  kubectl cognito-reset export --out /backup/ledger --since previous

  # Export into this file, with ledger.manifest.json beside it
  kubectl cognito-reset export --out ledger.ndjson")]
pub struct Options {
    /// The directory, or the file, which must not exist
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// Exports only records written since the export before (`previous`), a time, a day (UTC), or a
    /// time before now such as 24h
    #[arg(long, value_name = "previous|TIME", value_parser = Since::argument)]
    since: Option<Since>,
    /// The manifest of the export before, in the same directory; for a directory, the newest one is
    /// found
    #[arg(long, value_name = "MANIFEST")]
    previous: Option<PathBuf>,
}

/// The places of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The ledger file.
    pub ledger: PathBuf,
    /// The manifest beside it.
    pub manifest: PathBuf,
}

impl Places {
    fn new(out: &Path, now: Timestamp) -> Result<Self, Failure> {
        let ledger = if out.is_dir() {
            out.join(format!("ledger-{}{}", now.strftime("%Y%m%dT%H%M%S%.3fZ"), chain::LEDGER))
        } else if out.to_string_lossy().ends_with(chain::LEDGER) {
            if out.exists() {
                return Err(exists(out));
            }
            out.to_owned()
        } else {
            return Err(Failure::usage(format!(
                "--out: {} is neither a directory nor a file *{}: create the directory first",
                out.display(),
                chain::LEDGER
            )));
        };
        let name = ledger.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self { manifest: ledger.with_file_name(format!("{name}{SUFFIX}")), ledger })
    }
}

/// Runs `export`.
///
/// # Errors
/// When the ledger cannot be read, or a file cannot be written. There is no new file then.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    target.refuse_namespace("this command is about the records of the whole cluster")?;
    let cluster = Cluster::connect(target).await?;
    tokio::select! {
        done = export(&options, &cluster, Timestamp::now()) => done,
        () = interrupted() => {
            remark!("interrupted; nothing was exported");
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
    let places = Places::new(&options.out, now)?;
    let directory = Directory::of(&places.ledger)?;
    let cluster_id = identify(cluster).await?;
    let before = before(options, &directory, &cluster_id)?;
    let part = part(options.since, before.as_ref())?;
    let mut contents = Contents::new(&places)?;
    let take = |entry: Entry| {
        if part.has(&entry) {
            contents.add(&entry)?;
        }
        Ok(())
    };
    let resource_version = ledger::each(cluster, None, take).await?;
    let has_uid = cluster_id.uid.is_some();
    let (sha256, numbers) = contents.publish(&directory, &places, |ledger, numbers| Header {
        format: FORMAT.to_owned(),
        cluster: cluster_id,
        plugin_version: env!("CARGO_PKG_VERSION").to_owned(),
        time: now,
        since: part.since,
        since_resource_version: part.since_resource_version.clone(),
        resource_version,
        ledger,
        effects: numbers.effects.clone(),
        unreadable: numbers.unreadable.clone(),
        previous: before.as_ref().map(Link::previous),
    })?;
    report(&numbers, &part, before.as_ref(), &places);
    if !has_uid {
        remark!("the manifest has no uid of the cluster: you may not get the namespace kube-system, which has it");
    }
    line(&format!("{sha256}  {}", places.manifest.display()))?;
    Ok(Exit::Succeeded)
}

/// Returns the export before, after the remains of exports that were killed are removed.
fn before(options: &Options, directory: &Directory, cluster: &ClusterId) -> Result<Option<Link>, Failure> {
    let drafts = directory.clean()?;
    if drafts > 0 {
        remark!("{} left by interrupted exports removed", counted(drafts, "draft"));
    }
    chain::continued(directory, options.previous.as_deref(), options.out.is_dir(), cluster)
}

fn part(since: Option<Since>, before: Option<&Link>) -> Result<Part, Failure> {
    Part::new(since, before.map(Link::end)).map_err(|gap| {
        Failure::usage(format!(
            "--since: records written {gap} would be in no export of the chain: use `--since previous`, or leave --since out"
        ))
    })
}

fn report(numbers: &Numbers, part: &Part, before: Option<&Link>, places: &Places) {
    let effects: Vec<String> = numbers.effects.iter().map(|(effect, count)| format!("{count} {effect}")).collect();
    let effects = if effects.is_empty() { String::new() } else { format!(": {}", effects.join(", ")) };
    let shown = places.ledger.display();
    remark!("{} ({}){effects} in {shown}", counted(numbers.records, "record"), part.range());
    remark!(
        "{}",
        match before {
            Some(link) => format!("the export before is {}", link.file),
            None if part.since.is_some() =>
                "this is the first export of a chain, which never has the records written earlier".to_owned(),
            None => "this is the first export of a chain".to_owned(),
        }
    );
    if !numbers.unreadable.is_empty() {
        remark!(
            "{} of them cannot be read by this plugin, and were exported as they are stored: {}",
            numbers.unreadable.len(),
            numbers.unreadable.join(" ")
        );
    }
}

/// Returns the identity of the cluster, as far as the user may read it.
pub(crate) async fn identify(cluster: &Cluster) -> Result<ClusterId, Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let uid = match namespaces.get("kube-system").await {
        Ok(namespace) => namespace.uid(),
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        Err(error) => {
            return Err(Failure::of_api(&error, "get the namespace kube-system, whose uid names the cluster"));
        }
    };
    Ok(ClusterId { uid, server: cluster.server.clone() })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_named_after_the_time_in_a_directory() {
        let now = "2030-01-02T03:04:05Z".parse().unwrap();
        let places = Places::new(&std::env::temp_dir(), now).unwrap();
        assert!(places.ledger.ends_with("ledger-20300102T030405.000Z.ndjson"), "{places:?}");
        assert!(places.manifest.ends_with("ledger-20300102T030405.000Z.manifest.json"), "{places:?}");
        let places = Places::new(Path::new("no/such.ndjson"), now).unwrap();
        assert_eq!(places.manifest, Path::new("no/such.manifest.json"));
        for missing in ["no/such", "no/such/", "ledger.json"] {
            let error = Places::new(Path::new(missing), now).unwrap_err();
            assert!(error.message.contains("create the directory first"), "{error}");
        }
    }
}
