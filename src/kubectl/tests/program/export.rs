//! The notes of `export`.

use super::standin::{EMPTY, StandIn, kubeconfig, run};

const NO_UID: &str = "the manifest has no uid of the cluster";

#[test]
fn a_missing_uid_is_noted_beside_a_manifest_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let refuses = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":403,"message":"no"}"#;
    let server = StandIn::start(|_, head| match head.starts_with("GET /api/v1/namespaces/kube-system") {
        true => (403, String::new(), refuses.to_owned()),
        false => (200, String::new(), EMPTY.to_owned()),
    });
    let file = kubeconfig(&format!("server: 'http://{}'", server.address), "");
    let export = |name: &str| {
        let out = directory.path().join(name).display().to_string();
        run(directory.path(), &file, &[], &["export", "--out", &out])
    };
    let first = export("first.ndjson");
    assert!(first.code == Some(0) && first.stderr.contains(NO_UID), "{first:?}");
    let beside = export("second.ndjson");
    assert!(beside.code == Some(2) && beside.stderr.contains("second chain"), "{beside:?}");
    assert!(!beside.stderr.contains(NO_UID), "{beside:?}");
}
