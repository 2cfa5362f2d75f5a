//! Live completion, as kubectl asks the program for it.

use super::standin::{StandIn, kubeconfig, run};

/// Returns a list with an object of each kind. Of each there is one that cannot be parsed, too.
fn objects(head: &str) -> String {
    let spec = |fields: &str| format!(r#""spec": {{{fields}}}, "status": {{"outcome": "Failed"}}"#);
    let (name, fields) = match head.lines().next().unwrap_or_default() {
        line if line.contains("/namespaces/support/passwordresetrequests") => ("inc-1", spec(r#""userPoolID": "p""#)),
        line if line.contains("/userpoolgrants") => {
            ("grant", spec(r#""userPoolID": "eu-west-1_A", "namespaces": ["a"]"#))
        }
        line if line.contains("/userpoolholds") => ("stop", spec(r#""userPoolID": "eu-west-1_B", "reason": "secret""#)),
        line if line.contains("/api/v1/namespaces") => ("support", String::from(r#""spec": {}"#)),
        _ => ("unexpected", String::from(r#""spec": {}"#)),
    };
    format!(
        r#"{{"kind": "List", "apiVersion": "v1", "metadata": {{}}, "items": [
            {{"apiVersion": "v1", "kind": "X", "metadata": {{"name": "{name}"}}, {fields}}},
            {{"apiVersion": "v1", "kind": "X", "metadata": {{"name": "odd"}}, "spec": {{"userPoolID": 1}}}}]}}"#
    )
}

#[test]
fn each_kind_of_live_value_is_completed() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = StandIn::start(|_, head| (200, String::new(), objects(head)));
    let file = kubeconfig(&format!("server: 'http://{}'", server.address), "");
    for (words, wanted) in [
        (&["explain", ""][..], "inc-1\tFailed"),
        (&["watch", "i"], "inc-1\tFailed"),
        (&["approve", ""], "inc-1\tFailed"),
        (&["release", ""], "stop\teu-west-1_B"),
        (&["release", "--pool", ""], "eu-west-1_A"),
        (&["create", "alice", "--pool", "eu"], "eu-west-1_A"),
        (&["hold", "eu"], "eu-west-1_A"),
        (&["list", "-n", "sup"], "support"),
        (&["doctor", "--operator-namespace", ""], "support"),
        (&["list", "--context", ""], "a"),
        (&["list", "--color", "n"], "never"),
        (&["rel"], "release\tDeletes"),
    ] {
        let shown = run(directory.path(), &file, &[], &[&["__complete", "--"], words].concat());
        assert!(shown.stdout.lines().any(|line| line.starts_with(wanted)), "{words:?}: {shown:?}");
        assert!(shown.code == Some(0) && shown.stdout.ends_with(":4\n") && shown.stderr.is_empty(), "{shown:?}");
        assert!(!shown.stdout.contains("secret"), "{shown:?}");
    }
}

#[test]
fn contexts_are_completed_from_the_files_that_are_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("there");
    std::fs::write(&file, kubeconfig("server: 'http://127.0.0.1:1'", "")).expect("a file");
    let files = std::env::join_paths([directory.path().join("missing"), file]).expect("a list");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-cognito_reset"));
    let output = command.args(["__complete", "--", "list", "--context", ""]).env("KUBECONFIG", files).output();
    let output = output.expect("the program");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.starts_with("a"), "{output:?}");
}

#[test]
fn output_that_cannot_be_written_is_reported() {
    for words in [&["kubectl"][..], &["bash"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-cognito_reset"));
        let output = command.arg("completion").args(words).stdout(full).output().expect("the program");
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(5) && shown.contains("cannot be written"), "{words:?}: {shown}");
    }
}

#[test]
fn a_cluster_that_does_not_respond_completes_nothing_silently() {
    let directory = tempfile::tempdir().expect("a directory");
    let busy = StandIn::start(|_, _| (429, "retry-after: 1\r\n".to_owned(), "{}".to_owned()));
    for file in
        [kubeconfig(&format!("server: 'http://{}'", busy.address), ""), kubeconfig("server: 'http://127.0.0.1:1'", "")]
    {
        let shown = run(directory.path(), &file, &[], &["__complete", "--", "release", "x"]);
        assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (Some(0), ":4\n", ""), "{shown:?}");
    }
}
