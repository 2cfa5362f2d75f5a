use std::fs;

use serde_json::json;

use super::{
    compare::tests::{line, manifest},
    *,
};
use crate::export::draft::tests::directory;

/// Writes an export that continues another one. Returns the link to it.
fn export(directory: &Path, name: &str, records: &[&str], previous: Option<Previous>) -> Previous {
    let Manifest { records: lines, mut header } = manifest(records);
    header.ledger.file = format!("{name}.ndjson");
    header.since = previous.as_ref().map(|_| header.time);
    header.previous = previous;
    let ledger: String = records.iter().map(|name| line(name) + "\n").collect();
    fs::write(directory.join(&header.ledger.file), ledger).unwrap();
    let mut text = json!(header);
    text["records"] = json!(lines);
    let file = format!("{name}{}", manifest::SUFFIX);
    fs::write(directory.join(&file), text.to_string()).unwrap();
    Previous { file, sha256: manifest::sha256(text.to_string().as_bytes()) }
}

#[test]
fn a_file_that_is_gone_is_a_difference_unless_it_is_archived() {
    for (name, gone, of_chain, of_archived) in [
        ("whole", &[][..], (3, 4, 0), (3, 4, 0)),
        ("no-ledger", &["a.ndjson"], (3, 2, 1), (3, 2, 0)),
        ("no-ledgers", &["a.ndjson", "b.ndjson"], (3, 1, 2), (3, 1, 0)),
        ("no-manifest", &["a.manifest.json"], (2, 2, 1), (2, 2, 0)),
        ("no-export", &["a.ndjson", "a.manifest.json"], (2, 2, 1), (2, 2, 0)),
    ] {
        let path = directory(name);
        let first = export(&path, "a", &["1", "2"], None);
        let second = export(&path, "b", &["3"], Some(first));
        let newest = path.join(export(&path, "c", &["4"], Some(second)).file);
        gone.iter().for_each(|file| fs::remove_file(path.join(file)).unwrap());
        for (is_archived, wanted) in [(false, of_chain), (true, of_archived)] {
            let mut chain = Chain::new(&newest, is_archived);
            chain.follow(Layer::read(manifest::read(&newest).unwrap().0, &path).unwrap());
            assert_eq!((chain.exports, chain.records, chain.differences), wanted, "{name}, archived: {is_archived}");
        }
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_is_not_archived() {
    let path = directory("unreadable");
    let first = export(&path, "a", &["1"], None);
    let newest = path.join(export(&path, "b", &["2"], Some(first)).file);
    fs::remove_file(path.join("a.ndjson")).unwrap();
    fs::create_dir(path.join("a.ndjson")).unwrap();
    let mut chain = Chain::new(&newest, true);
    chain.follow(Layer::read(manifest::read(&newest).unwrap().0, &path).unwrap());
    assert_eq!(chain.differences, 1);
    fs::remove_dir_all(path).unwrap();
}
