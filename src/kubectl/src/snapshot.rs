//! Snapshots: files with the output that a test expects.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p cognito-reset-kubectl --lib` writes all of them.

/// Compares a text with a file of `src`, which `UPDATE_SNAPSHOTS=1` writes.
pub(crate) fn snapshot(file: &str, text: &str) {
    let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).expect("a snapshot is written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored, text, "{path} differs: run this test with UPDATE_SNAPSHOTS=1, and read the difference");
}
