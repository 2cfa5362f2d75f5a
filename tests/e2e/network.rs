//! The addresses on which the operator listens, and its ways to the API server and AWS: with IPv6
//! and without, and through proxies.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, binary, condition, root};
use testbed::{ConnectProxy, Deployment, Kubectl, OperatorBuilder, Tools, eventually};

/// Runs the operator in a network of its own, in which the only server accepts connections and
/// never responds.
async fn in_its_own_network(tools: &Tools, kernel: &str, folder: &Path) -> Result<Value> {
    let kubeconfig = folder.join("kubeconfig");
    let silent = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "silent",
        "contexts": [{ "name": "silent", "context": { "cluster": "silent", "user": "nobody" } }],
        "clusters": [{ "name": "silent", "cluster": { "server": "http://127.0.0.1:6443" } }],
        "users": [{ "name": "nobody", "user": {} }],
    });
    std::fs::write(&kubeconfig, silent.to_string())?;
    let base = Path::new(&root("deploy/kustomize/base")).to_owned();
    let deployment = Deployment::render(&Kubectl::alone(tools, folder), &base).await?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(tools.python())
        .args([root("tests/testbed/own-network"), kernel.to_owned()])
        .arg(binary())
        .args(&deployment.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .envs(deployment.environment.iter().map(|(name, value)| (name, value)))
        .env("KUBECONFIG", kubeconfig)
        .env("AWS_REGION", "eu-west-1")
        .output()
        .context("unshare cannot be run: it is a part of util-linux")?;
    let shown = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no network of its own (see CONTRIBUTING.md): {shown}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn probes_are_served_on_ipv4_and_on_ipv6_if_there_is_one() -> Result<()> {
    let tools = Tools::locate().await?;
    for (kernel, addresses) in [
        ("both", &["127.0.0.1", "::1"][..]),
        ("apart", &["127.0.0.1", "::1"]),
        ("unassigned", &["127.0.0.1"]),
        ("ipv4", &["127.0.0.1"]),
    ] {
        let folder = tempfile::tempdir()?;
        let seen = in_its_own_network(&tools, kernel, folder.path()).await?;
        for address in addresses {
            let (live, ready) = (&seen["responses"][address][0], &seen["responses"][address][1]);
            assert_eq!(live, &json!([200, "ok\n"]), "{kernel} {address}: {seen}");
            assert_eq!(ready[0], 503, "{kernel} {address}: {seen}");
            let why = ready[1].as_str().unwrap_or_default();
            assert!(why.contains("checking that the cluster has what it needs"), "{kernel} {address}: {seen}");
        }
    }
    Ok(())
}

const API: &str = "cognito-reset.dev/v1alpha1";

#[tokio::test]
async fn every_request_says_who_calls_and_every_object_who_wrote() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.operator().args(["--lease=true"])).await?;
    env.ask("alice").await?;
    env.ended("alice").await?;
    let system = ["-n", "cognito-reset-system"];
    for (kind, arguments) in [
        ("prr", &[][..]),
        ("prrec", &[]),
        ("poolgrant", &[]),
        ("leases.coordination.k8s.io", &system),
        ("events.events.k8s.io", &[]),
    ] {
        eventually(LIMIT, format!("{kind} to name who wrote"), async || {
            let get = [&["get", kind, "-o", "json", "--show-managed-fields"], arguments].concat();
            let list: Value = serde_json::from_str(&env.kubectl(&get).await?)?;
            let fields = |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let managers: BTreeSet<_> = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                // Other components publish Events, too: those about the operator's objects count.
                .filter(|object| object["regarding"].is_null() || object["regarding"]["apiVersion"] == API)
                .flat_map(fields)
                .collect::<Vec<_>>()
                .iter()
                .map(|entry| entry["manager"].to_string())
                .collect();
            // Users own the fields that they apply.
            let ours = managers.iter().filter(|manager| !manager.contains("kubectl")).collect::<Vec<_>>();
            ensure!(ours == ["\"cognito-reset-operator\""], "{managers:?}");
            anyhow::Ok(())
        })
        .await?;
    }
    let requests = env.api.requests();
    for method in ["GET", "POST", "PUT"] {
        assert!(requests.iter().any(|request| request.seen.method == method), "{method}");
    }
    assert!(requests.iter().any(|request| request.seen.path.contains("watch=true")));
    for request in requests {
        let caller = request.seen.headers.get("user-agent").and_then(|caller| caller.to_str().ok());
        assert_eq!(caller, Some(concat!("cognito-reset-operator/", env!("CARGO_PKG_VERSION"))), "{:?}", request.seen);
    }
    Ok(())
}

/// Cognito's own address, which no test reaches: a proxy refuses what is a name.
const COGNITO: &str = "CONNECT cognito-idp.eu-west-1.amazonaws.com:443 403";
const USER: &str = "alice:s3cr3t-of-the-proxy";

/// Returns a name of the API server that no tool takes for a loopback address. On Linux it means
/// this machine.
fn server(env: &Environment) -> String {
    env.cluster.url().replace("127.0.0.1", "0.0.0.0").replace("https://", "")
}

/// Writes a kubeconfig that bypasses every fault proxy, with a proxy of its own or without.
async fn kubeconfig(env: &Environment, folder: &Path, proxy_url: Option<&str>) -> Result<PathBuf> {
    let token = env.cluster.service_account_token("cognito-reset-system", "cognito-reset-operator").await?;
    let text = std::fs::read_to_string(env.cluster.kubeconfig_for(&token, None)?)?;
    let mut config: Value = serde_json::from_str(&text)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = format!("https://{}", server(env)).into();
    cluster["tls-server-name"] = "127.0.0.1".into();
    if let Some(url) = proxy_url {
        cluster["proxy-url"] = url.into();
    }
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Checks that nothing was claimed for a call through a proxy that refuses, and that the status
/// gives the cause.
async fn was_not_sent(env: &Environment, name: &str) -> Result<()> {
    eventually(LIMIT, format!("the status of {name} to give the cause"), async || {
        let record = env.record(name).await?;
        ensure!(record.is_none(), "{record:?}");
        let ready = condition(&env.get("prr", name).await?, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        ensure!(message.contains("the proxy opened no tunnel"), "{ready}");
        anyhow::Ok(())
    })
    .await
}

/// Sends the calls of AWS to their own addresses. The waits after a failure are long enough to be
/// shown in the status.
fn to_aws(operator: OperatorBuilder) -> OperatorBuilder {
    let emulated = ["COGNITO_IDENTITY_PROVIDER", "STS"].map(|service| format!("AWS_ENDPOINT_URL_{service}"));
    let operator = operator.args(["--retry-initial=20s", "--retry-max=20s"]);
    emulated.iter().fold(operator, |operator, name| operator.without_env(name))
}

#[tokio::test]
async fn the_environment_proxy_is_used_except_as_no_proxy_says() -> Result<()> {
    let env = Environment::start().await?;
    let tools = Tools::locate().await?;
    let port = env.cluster.url().rsplit(':').next().context("no port")?.to_owned();
    let excepted = [
        ("by-address", "10.0.0.0/8,0.0.0.0"),
        ("by-network", " 0.0.0.0/8 ,, example.com,"),
        ("by-port", &format!("0.0.0.0:{port}")),
        ("by-star", "*"),
    ];
    let proxied = [("without-a-list", ""), ("by-another-address", "0.0.0.1,no/host"), ("by-another-port", "0.0.0.0:1")];
    let direct = excepted.map(|(name, list)| (name, list, false));
    for (name, list, through) in direct.into_iter().chain(proxied.map(|(name, list)| (name, list, true))) {
        let folder = tempfile::tempdir()?;
        let proxy = ConnectProxy::start(&tools, &["--user", USER]).await?;
        let mut operator = to_aws(env.operator())
            .kubeconfig(&kubeconfig(&env, folder.path(), None).await?)
            .env("HTTPS_PROXY", format!("http://{USER}@{}", proxy.address()))
            .env("NO_PROXY", list);
        if list == "*" {
            // Nothing goes through the proxy, and these tests reach no AWS.
            operator = operator.cognito(&env.cognito.url());
        }
        let operator = env.run_with(operator).await?;
        env.ask(name).await?;
        if list == "*" {
            assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        } else {
            eventually(LIMIT, format!("AWS to be asked for, {name}"), async || {
                ensure!(proxy.asked().iter().any(|line| line == COGNITO), "{:?}\n{}", proxy.asked(), operator.logs());
                anyhow::Ok(())
            })
            .await?;
            was_not_sent(&env, name).await?;
        }
        let asked = proxy.asked();
        let api = format!("CONNECT {} 200", server(&env));
        assert_eq!(asked.contains(&api), through, "{name}: {asked:?}");
        assert!(asked.iter().all(|line| line == COGNITO || *line == api), "{name}: {asked:?}");
        let logs = operator.logs();
        assert!(!logs.contains("s3cr3t") && logs.contains(&proxy.address()) == through, "{name}: {logs}");
        env.kubectl(&["delete", "prr", name]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_kubeconfig_proxy_is_used_for_the_api_server_alone() -> Result<()> {
    let env = Environment::start().await?;
    let tools = Tools::locate().await?;
    let api = format!("{} 200", server(&env));
    let (certificate, key) = (env.cluster.file("serving.crt"), env.cluster.file("serving.key"));
    let tls = ["--tls".to_owned(), certificate.display().to_string(), key.display().to_string()];
    for (scheme, method, tls) in [("http", "CONNECT", &[][..]), ("https", "CONNECT", &tls), ("socks5", "SOCKS", &[])] {
        let folder = tempfile::tempdir()?;
        let arguments: Vec<_> = ["--user", USER].into_iter().chain(tls.iter().map(String::as_str)).collect();
        let own = ConnectProxy::start(&tools, &arguments).await?;
        let others = ConnectProxy::start(&tools, &[]).await?;
        let url = format!("{scheme}://{USER}@{}", own.address());
        let path = kubeconfig(&env, folder.path(), Some(&url)).await?;
        let builder = env.operator().kubeconfig(&path).env("SSL_CERT_FILE", env.cluster.file("ca.crt"));
        // Cognito is the emulator here, and has no proxy.
        let operator = env.run_with(builder.clone()).await?;
        let name = format!("{scheme}-alone");
        env.ask(&name).await?;
        assert_eq!(env.ended(&name).await?, "Succeeded/ResetAccepted");
        assert!(operator.logs().contains(&format!("through the proxy {scheme}://{}", own.address())));
        assert!(!operator.logs().contains("s3cr3t"), "{}", operator.logs());
        drop(operator);
        let _operator =
            env.run_with(to_aws(builder).env("HTTPS_PROXY", others.address()).env("NO_PROXY", "0.0.0.0")).await?;
        let name = format!("{scheme}-beside");
        env.ask(&name).await?;
        eventually(LIMIT, "AWS to be asked for", async || {
            ensure!(others.asked().iter().any(|line| line == COGNITO), "{:?}", others.asked());
            anyhow::Ok(())
        })
        .await?;
        assert!(others.asked().iter().all(|line| line == COGNITO), "{:?}", others.asked());
        was_not_sent(&env, &name).await?;
        let asked = own.asked();
        assert!(!asked.is_empty() && asked.iter().all(|line| *line == format!("{method} {api}")), "{asked:?}");
        env.kubectl(&["delete", "prr", "--all"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_unusable_proxy_ends_the_start_without_its_password() -> Result<()> {
    let env = Environment::start().await?;
    let proxy = ConnectProxy::start(&Tools::locate().await?, &["--user", "somebody:else"]).await?;
    let folder = tempfile::tempdir()?;
    let path = kubeconfig(&env, folder.path(), None).await?;
    for (name, value, says) in [
        ("HTTPS_PROXY", format!("http://{USER}@{}", proxy.address()), "proxy authorization required"),
        ("HTTPS_PROXY", format!("ftp://{USER}@{}", proxy.address()), "HTTPS_PROXY"),
        ("https_proxy", format!("http://{USER} @{}", proxy.address()), "https_proxy"),
        // The API server could be reached through these, and AWS never.
        ("HTTPS_PROXY", format!("socks5://{USER}@{}", proxy.address()), "HTTPS_PROXY names: give an address"),
        ("all_proxy", format!("socks5h://{USER}@{}", proxy.address()), "all_proxy names: give an address"),
        // This proxy is for neither of them, as both use https.
        ("HTTP_PROXY", format!("socks5://{USER}@{}", proxy.address()), "HTTP_PROXY names: give an address"),
    ] {
        let mut operator = env.operator().kubeconfig(&path).env(name, &value).args(["--log=error"]).start()?;
        let status = operator.wait_exit(LIMIT).await?;
        let logs = operator.logs();
        assert!(!status.success() && logs.trim_end().lines().count() == 1, "{logs}");
        assert!(logs.contains(says) && logs.contains("proxy") && !logs.contains("s3cr3t"), "{logs}");
    }
    Ok(())
}
