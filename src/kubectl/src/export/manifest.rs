//! The manifest of an export: the content of the ledger file, so that a later change is found.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::part::Part;

/// The format of the manifest.
pub const FORMAT: &str = "cognito-reset.dev/ledger-export/v1";

/// The end of the name of a manifest.
pub const SUFFIX: &str = ".manifest.json";

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The records, in the order of the lines.
    pub records: Vec<Line>,
    /// Everything else.
    #[serde(flatten)]
    pub header: Header,
}

/// The parts of a manifest that are not of single records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The version of the plugin.
    pub plugin_version: String,
    /// The time of the export, by the clock of the plugin.
    pub time: Timestamp,
    /// The time since which the records were written; absent for all records.
    ///
    /// These two are not a flattened [`Part`]: serde keeps all fields that it does not know in
    /// memory then, and [`read_header`] leaves out the records, of which there may be many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The resource version of the export before, if the export continues one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_resource_version: Option<String>,
    /// The resource version of the list: the state of the cluster that was exported.
    pub resource_version: String,
    /// The file of the ledger.
    pub ledger: Ledger,
    /// The number of records by effect; `open` for those with an open claim.
    pub effects: BTreeMap<String, u64>,
    /// Records that this plugin could not read. They were exported as they are stored.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// The manifest before; absent in the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
}

/// The cluster of an export.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClusterId {
    /// The uid of the namespace kube-system; absent if the exporter may not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The host of the API server.
    pub server: String,
}

/// The file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Ledger {
    /// The name of the file, in the directory of the manifest.
    pub file: String,
    /// The SHA-256 of the whole file.
    pub sha256: String,
    /// The number of records.
    pub records: u64,
}

/// The manifest before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Previous {
    /// The name of the file, in the same directory.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
}

/// A line of the ledger file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Line {
    /// The name of the record.
    pub name: String,
    /// The SHA-256 of the line, without its end.
    pub sha256: String,
}

impl Header {
    /// Returns the part of the ledger.
    #[must_use]
    pub fn part(&self) -> Part {
        Part { since: self.since, since_resource_version: self.since_resource_version.clone() }
    }
}

impl ClusterId {
    /// Returns true if the uids differ or, where one is not known, the servers.
    #[must_use]
    pub fn is_other_than(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(uid), Some(other)) => uid != other,
            _ => self.server != other.server,
        }
    }
}

/// Returns the SHA-256 of bytes, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Reads a manifest. Returns the SHA-256 of the file, too.
///
/// # Errors
/// When the file cannot be read, or is no manifest.
pub fn read(path: &Path) -> Result<(Manifest, String), String> {
    let (manifest, sha256) = parsed::<Manifest>(path)?;
    check(&manifest.header)?;
    Ok((manifest, sha256))
}

/// Reads a manifest without its records, so that memory does not grow with them. Returns the
/// SHA-256 of the file, too.
///
/// # Errors
/// When the file cannot be read, or is no manifest.
pub fn read_header(path: &Path) -> Result<(Header, String), String> {
    let (header, sha256) = parsed(path)?;
    check(&header)?;
    Ok((header, sha256))
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<(T, String), String> {
    let file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut file = Hashed { file, hash: Sha256::new() };
    let parsed = serde_json::from_reader(BufReader::new(&mut file)).map_err(|error| error.to_string())?;
    Ok((parsed, hex::encode(file.hash.finalize())))
}

/// A file whose content is hashed while it is read.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hash.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

fn check(header: &Header) -> Result<(), String> {
    if header.format != FORMAT {
        return Err(format!("its format is {:?}, and this plugin knows {FORMAT:?}", header.format));
    }
    let files = [Some(&header.ledger.file), header.previous.as_ref().map(|previous| &previous.file)];
    let elsewhere = |file: &&String| Path::new(file).file_name() != Some(file.as_ref());
    match files.into_iter().flatten().find(elsewhere) {
        Some(file) => Err(format!("{file:?} is not the name of a file in the same directory")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        check(&manifest.header).map(|()| manifest)
    }

    #[test]
    fn a_manifest_that_names_another_directory_is_refused() {
        let text = |ledger: &str, previous: &str, format: &str| {
            format!(
                r#"{{"format": "{format}", "cluster": {{"server": "x"}}, "pluginVersion": "0", "resourceVersion": "1",
                "time": "2030-01-01T00:00:00Z", "ledger": {{"file": "{ledger}", "sha256": "", "records": 0}},
                "effects": {{}}, "records": [], "previous": {{"file": "{previous}", "sha256": ""}}}}"#
            )
        };
        assert_eq!(
            parse(text("a.ndjson", "b.json", FORMAT).as_bytes()).map(|it| it.header.ledger.file),
            Ok("a.ndjson".into())
        );
        for (ledger, previous, format) in
            [("../a", "b", FORMAT), ("/a", "b", FORMAT), ("a", "..", FORMAT), ("a", "", FORMAT), ("a", "b", "v9")]
        {
            assert!(parse(text(ledger, previous, format).as_bytes()).is_err(), "{ledger} {previous} {format}");
        }
        assert!(parse(b"{}").unwrap_err().contains("records"));
        assert!(parse(b"{\"records\": []}").unwrap_err().contains("format"));
    }

    #[test]
    fn a_header_is_read_without_the_records() {
        // A number that only a value that is skipped may have.
        let text = format!(
            r#"{{"format": "{FORMAT}", "cluster": {{"server": "x"}}, "pluginVersion": "0", "resourceVersion": "1",
            "time": "2030-01-01T00:00:00Z", "since": "2029-01-01T00:00:00Z", "records": [1e999],
            "ledger": {{"file": "a", "sha256": "", "records": 0}}, "effects": {{}}}}"#
        );
        let header: Header = serde_json::from_str(&text).unwrap();
        assert!(header.part().since.is_some());
    }

    #[test]
    fn clusters_differ_by_uid_or_else_by_server() {
        let id = |uid: Option<&str>, server: &str| ClusterId { uid: uid.map(str::to_owned), server: server.to_owned() };
        for (one, other, differ) in [
            (id(Some("u"), "a"), id(Some("u"), "b"), false),
            (id(Some("u"), "a"), id(Some("v"), "a"), true),
            (id(None, "a"), id(Some("u"), "a"), false),
            (id(None, "a"), id(Some("u"), "b"), true),
            (id(None, "a"), id(None, "b"), true),
        ] {
            assert_eq!(one.is_other_than(&other), differ, "{one:?} {other:?}");
        }
    }
}
