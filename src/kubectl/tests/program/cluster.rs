//! The way to the API server: proxies, credentials, and a server that is busy.

use std::time::{Duration, Instant};

use super::standin::{EMPTY, StandIn, kubeconfig, run};

const LIST: [&str; 1] = ["list"];

fn healthy() -> StandIn {
    StandIn::start(|_, _| (200, String::new(), EMPTY.to_owned()))
}

#[test]
fn the_way_leads_through_the_proxy() {
    let directory = tempfile::tempdir().expect("a directory");
    let proxy = healthy();
    let of_kubeconfig =
        kubeconfig(&format!("server: 'http://api.invalid:80', proxy-url: 'http://{}'", proxy.address), "");
    let without = kubeconfig("server: 'http://api.invalid:80'", "");
    for (number, (file, variables, reaches)) in [
        (of_kubeconfig.as_str(), vec![], true),
        (&of_kubeconfig, vec![("NO_PROXY", "api.invalid")], true),
        (&without, vec![("HTTP_PROXY", proxy.address.as_str())], true),
        (&without, vec![("HTTP_PROXY", proxy.address.as_str()), ("NO_PROXY", ".invalid")], false),
        // Other tools accept such a list as well.
        (&without, vec![("HTTP_PROXY", proxy.address.as_str()), ("NO_PROXY", " 0.0.0.0/8 ,, no/host,")], true),
        (&without, vec![], false),
    ]
    .into_iter()
    .enumerate()
    {
        let before = proxy.received().len();
        let shown = run(directory.path(), file, &variables, &LIST);
        let tunnels =
            proxy.received().iter().skip(before).filter(|it| it.starts_with("CONNECT api.invalid:80")).count();
        assert_eq!(
            (shown.code, tunnels),
            (Some(if reaches { 0 } else { 5 }), usize::from(reaches)),
            "{number}: {shown:?}"
        );
    }
    let socks = kubeconfig("server: 'http://api.invalid:80', proxy-url: 'socks5://127.0.0.1:1'", "");
    let shown = run(directory.path(), &socks, &[], &LIST);
    assert!(shown.code == Some(2) && shown.stderr.contains("its protocol is socks5"), "{shown:?}");
}

#[test]
fn the_command_of_the_kubeconfig_gets_credentials() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = healthy();
    let user = |script: &str| {
        let script = serde_json::to_string(script).expect("JSON");
        let exec =
            format!("exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: sh, args: [-c, {script}]}}");
        kubeconfig(&format!("server: 'http://{}'", server.address), &exec)
    };
    let credential = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"k8s-aws-v1.abc"}}"#;
    let shown =
        run(directory.path(), &user(&format!("test -n \"$KUBERNETES_EXEC_INFO\" && echo '{credential}'")), &[], &LIST);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        server.received().iter().all(|it| it.contains("authorization: Bearer k8s-aws-v1.abc\n")),
        "{:?}",
        server.received()
    );

    let script = "echo k8s-aws-v1.secret; echo The SSO session has expired. >&2; exit 255";
    let shown = run(directory.path(), &user(script), &[], &LIST);
    assert!(shown.code == Some(5) && shown.stderr.contains("The SSO session has expired.; log in again"), "{shown:?}");
    assert!(!shown.stderr.contains("secret"), "{shown:?}");
    let shown = run(directory.path(), &user("").replace("command: sh", "command: not-there"), &[], &LIST);
    assert!(shown.code == Some(5) && shown.stderr.contains("log in again"), "{shown:?}");
}

#[test]
fn a_busy_server_is_waited_for_and_people_hear_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let status = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":429,"reason":"TooManyRequests","message":"too many"}"#;
    let busy = |times, after| {
        move |number, _: &str| match number <= times {
            true => (429, format!("retry-after: {after}\r\n"), status.to_owned()),
            false => (200, String::new(), EMPTY.to_owned()),
        }
    };
    let server = StandIn::start(busy(3, 1));
    let to = |server: &StandIn| kubeconfig(&format!("server: 'http://{}'", server.address), "");
    let shown = run(directory.path(), &to(&server), &[], &LIST);
    assert_eq!((shown.code, server.received().len()), (Some(0), 4), "{shown:?}");
    assert!(shown.stdout.is_empty() || !shown.stdout.contains("busy"), "remarks are no data: {shown:?}");
    assert_eq!(shown.stderr.matches("the API server is busy (HTTP 429)").count(), 1, "{shown:?}");

    let server = StandIn::start(busy(usize::MAX, 9));
    let begin = Instant::now();
    let shown = run(directory.path(), &to(&server), &[], &["list", "--request-timeout", "2s"]);
    assert!(begin.elapsed() < Duration::from_secs(9), "it waits no longer than --request-timeout");
    assert!(shown.code == Some(5) && shown.stderr.contains("busy") && shown.stderr.contains("later"), "{shown:?}");
}

#[test]
fn a_broken_kubeconfig_never_leads_to_the_cluster_of_the_pod() {
    let directory = tempfile::tempdir().expect("a directory");
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "1")];
    let of_pod = "there is no kubeconfig, and the service account of this Pod";
    for (file, more, wanted) in [
        ("current-context: gone\n", None, "the kubeconfig cannot be used: failed to load current context: gone"),
        ("current-context: [", None, "the kubeconfig cannot be used: failed to parse"),
        ("", Some("/nowhere/kubeconfig"), of_pod),
        ("", None, of_pod),
    ] {
        let variables: Vec<_> = pod.into_iter().chain(more.map(|path| ("KUBECONFIG", path))).collect();
        let shown = run(directory.path(), file, &variables, &LIST);
        assert!(shown.code == Some(2) && shown.stderr.contains(wanted), "{file:?}: {shown:?}");
    }
}
