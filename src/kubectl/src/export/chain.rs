//! The chain of exports in a directory: each manifest names the one before.

use std::path::Path;

use super::{
    directory::Directory,
    file_name,
    manifest::{self, ClusterId, Header, Previous, SUFFIX},
    part::End,
};
use crate::{failure::Failure, terminal::remark};

/// The end of the name of a ledger file that an export names itself.
pub const LEDGER: &str = ".ndjson";

/// An export of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name of the manifest.
    pub file: String,
    /// The SHA-256 of the manifest.
    pub sha256: String,
    /// The manifest without its records.
    pub header: Header,
}

impl Link {
    /// Returns the end of the export.
    #[must_use]
    pub fn end(&self) -> End<'_> {
        End { time: self.header.time, resource_version: &self.header.resource_version }
    }

    /// Returns the link to it.
    #[must_use]
    pub fn previous(&self) -> Previous {
        Previous { file: self.file.clone(), sha256: self.sha256.clone() }
    }

    fn is_before(&self, other: &Self) -> bool {
        other.header.previous.as_ref().is_some_and(|previous| previous.file == self.file)
    }
}

/// Returns the newest export of the only chain, or the one with this name if it is the newest of
/// its chain; `None` if there is no export yet.
///
/// # Errors
/// When it is not clear which one to continue. The reason begins with the flag to change.
pub fn newest(links: Vec<Link>, named: Option<&str>) -> Result<Option<Link>, String> {
    if let Some(named) = named
        && let Some(link) = links.iter().find(|link| link.file == named)
        && let Some(next) = links.iter().find(|next| link.is_before(next))
    {
        return Err(format!(
            "--previous: {} continues {named} already: name the newest export of the chain",
            next.file
        ));
    }
    let is_newest = |link: &Link| links.iter().all(|other| !link.is_before(other));
    let is_wanted = |link: &Link| named.is_none_or(|named| link.file == named);
    let mut ends: Vec<Link> = links.iter().filter(|link| is_newest(link) && is_wanted(link)).cloned().collect();
    match (ends.pop(), ends.as_slice()) {
        (None, _) if links.is_empty() => Ok(None),
        (None, _) => Err("--out: each export of the directory is continued by another one, so a manifest was altered: use another directory, and `verify` the manifests of this one".to_owned()),
        (end, []) => Ok(end),
        (Some(last), others) => {
            let names: Vec<&str> = others.iter().chain([&last]).map(|link| link.file.as_str()).collect();
            Err(format!(
                "--out: the directory has {} chains of exports, which end with {}: name the one to continue with --previous, or use another directory",
                names.len(),
                names.join(", ")
            ))
        }
    }
}

/// The content of a directory, as far as exports are concerned.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The exports.
    pub links: Vec<Link>,
    /// The files of exports that have not been completed.
    pub unfinished: Vec<String>,
}

/// Reads the exports of a directory.
///
/// # Errors
/// When it cannot be read, or a manifest is none.
pub fn find(directory: &Directory) -> Result<Found, Failure> {
    let mut found = Found::default();
    let names = directory.names()?;
    let visible = || names.iter().filter(|name| !name.starts_with('.'));
    for name in visible().filter(|name| name.ends_with(SUFFIX)) {
        let path = directory.path().join(name);
        if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // A name that was given before its content, where a file system has no hard links.
            found.unfinished.push(name.clone());
            continue;
        }
        let (header, sha256) = manifest::read_header(&path).map_err(|reason| {
            Failure::usage(format!("--out: {name} is no manifest ({reason}): move it to another directory"))
        })?;
        found.links.push(Link { file: name.clone(), sha256, header });
    }
    let is_complete = |name: &&String| found.links.iter().any(|link| link.header.ledger.file == **name);
    found.unfinished.extend(visible().filter(|name| name.ends_with(LEDGER)).filter(|name| !is_complete(name)).cloned());
    Ok(found)
}

/// Returns the export that the next one continues: the named one, or the newest of the directory if
/// `searched`. Otherwise the next one begins a chain, which only a directory without exports
/// allows.
///
/// # Errors
/// When it is not clear which one, or it is of another cluster.
pub fn continued(
    directory: &Directory,
    named: Option<&Path>,
    searched: bool,
    cluster: &ClusterId,
) -> Result<Option<Link>, Failure> {
    let begins = named.is_none() && !searched;
    let Found { links, unfinished } = find(directory)?;
    if !unfinished.is_empty() && !begins {
        remark!(
            "not part of the chain, since they have no complete manifest: {}; an interrupted export left them, or somebody else",
            unfinished.join(" ")
        );
    }
    let named = named.map(|path| in_directory(path, directory)).transpose()?;
    match newest(links, named.as_deref()).map_err(Failure::usage)? {
        Some(link) if link.header.cluster.is_other_than(cluster) => {
            let flag = if named.is_some() { "--previous" } else { "--out" };
            let server = &link.header.cluster.server;
            Err(Failure::usage(format!(
                "{flag}: {} is of another cluster ({server}), or one of the two exports has no uid of the cluster, and the servers differ: use another directory, choose its context with --context, or let the account get the namespace kube-system",
                link.file
            )))
        }
        Some(link) if begins => Err(Failure::usage(format!(
            "--out: {} has exports, and a second chain beside them would stop each later export into the directory: continue them with --previous {}, or use another directory",
            directory.path().display(),
            directory.path().join(&link.file).display()
        ))),
        link => Ok(link),
    }
}

/// Returns the name of a manifest of the directory.
fn in_directory(path: &Path, directory: &Directory) -> Result<String, Failure> {
    // Names the file if it cannot be read.
    manifest::read_header(path)
        .map_err(|reason| Failure::usage(format!("--previous: {} is no manifest: {reason}", path.display())))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file_name(path);
    let is_here = parent.canonicalize().ok() == directory.path().canonicalize().ok();
    if !is_here || !name.ends_with(SUFFIX) {
        return Err(Failure::usage(format!(
            "--previous: {} is not a file *{SUFFIX} in the directory of --out, where `verify` looks for it",
            path.display()
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::compare::tests::manifest as of_records;

    fn link(file: &str, before: Option<&str>) -> Link {
        let mut header = of_records(&[]).header;
        header.previous = before.map(|file| Previous { file: file.into(), sha256: "x".into() });
        Link { file: file.into(), sha256: file.into(), header }
    }

    #[test]
    fn the_newest_export_is_the_one_that_none_continues() {
        let chain = || vec![link("a", None), link("c", Some("b")), link("b", Some("a"))];
        let two = || vec![link("a", None), link("b", Some("a")), link("x", None)];
        let circle = || vec![link("a", Some("b")), link("b", Some("a"))];
        for (links, named, wanted) in [
            (vec![], None, Ok(None)),
            (vec![link("a", None)], None, Ok(Some("a"))),
            (chain(), None, Ok(Some("c"))),
            // The first ones may have been moved to an archive.
            (vec![link("c", Some("b"))], None, Ok(Some("c"))),
            (two(), Some("b"), Ok(Some("b"))),
            (two(), Some("x"), Ok(Some("x"))),
            (two(), None, Err("2 chains of exports, which end with b, x: name the one to continue with --previous")),
            (chain(), Some("b"), Err("--previous: c continues b already")),
            (circle(), None, Err("a manifest was altered")),
        ] {
            let found = newest(links, named);
            match wanted {
                Ok(wanted) => assert_eq!(found.unwrap().map(|link| link.file), wanted.map(str::to_owned), "{named:?}"),
                Err(wanted) => assert!(found.as_ref().is_err_and(|it| it.contains(wanted)), "{found:?}"),
            }
        }
    }

    #[test]
    fn a_file_does_not_begin_a_second_chain_in_a_directory() {
        let path = crate::export::draft::tests::directory("second-chain");
        let header = of_records(&[]).header;
        let directory = Directory::of(&path.join("x")).unwrap();
        let before = |named: Option<&Path>, searched| {
            let link = continued(&directory, named, searched, &header.cluster);
            link.map(|link| link.map(|link| link.file)).map_err(|error| error.message)
        };
        assert_eq!((before(None, false), before(None, true)), (Ok(None), Ok(None)));
        let first = path.join("a.manifest.json");
        std::fs::write(&first, serde_json::to_string(&header).unwrap()).unwrap();
        let error = before(None, false).unwrap_err();
        assert!(error.contains("second chain") && error.contains("a.manifest.json, or use"), "{error}");
        for (named, searched) in [(Some(&*first), false), (None, true)] {
            assert_eq!(before(named, searched), Ok(Some("a.manifest.json".to_owned())), "{named:?}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn files_without_a_complete_manifest_are_no_exports() {
        let path = crate::export::draft::tests::directory("chain");
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        let header = serde_json::to_string(&of_records(&[]).header).unwrap();
        write("ledger.ndjson", "");
        write("a.manifest.json", &header);
        write("b.ndjson", "{}\n");
        write("c.manifest.json", "");
        write(".d.manifest.json", &header);
        let directory = Directory::of(&path.join("x")).unwrap();
        let found = find(&directory).unwrap();
        assert_eq!(found.links.iter().map(|link| link.file.as_str()).collect::<Vec<_>>(), ["a.manifest.json"]);
        assert_eq!(found.links[0].sha256, manifest::sha256(header.as_bytes()));
        assert_eq!(found.unfinished, ["c.manifest.json", "b.ndjson"]);
        write("d.manifest.json", "{\"format\": \"half");
        assert!(find(&directory).unwrap_err().message.contains("d.manifest.json is no manifest"));
        std::fs::remove_dir_all(path).unwrap();
    }
}
