//! The start and the stop of the operator: if it cannot start, it prints one clear line and returns
//! a non-zero exit status.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::Result;
use http::Method;
use testbed::environment::{Environment, LIMIT, binary};
use testbed::{Fault, Matcher, Operator, Options, Pool, eventually};

/// A kubeconfig with a server at which nothing listens.
const UNREACHABLE: &str = r#"{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
        "clusters":[{"name":"x","cluster":{"server":"http://127.0.0.1:9"}}],"users":[{"name":"x","user":{}}]}"#;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    // Without HOME it is looked up in the system's list of users: somebody's own kubeconfig would
    // be taken.
    let home = tempfile::tempdir()?;
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().env("HOME", home.path());
    // Other programs on this machine, and other tests, may use the default port.
    command.env("COGNITO_RESET_LISTEN", "127.0.0.1:0");
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(environment.iter().copied());
    Ok(command.output()?)
}

/// Writes a file into the folder, and gives its path.
fn write_file(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Returns the one line on standard error of a start that fails.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_bad_flag_is_named() -> Result<()> {
    for (flag, value) in [
        ("--listen", "nowhere"),
        ("--concurrency", "0"),
        ("--concurrency", "1"),
        ("--rate", "0"),
        ("--call-timeout", "soon"),
        ("--call-timeout", "-5s"),
        ("--probes", "11"),
        ("--identity", "has space"),
        ("--log-format", "xml"),
        ("--user-state-source", "none"),
        ("--watch-namespaces", "Support"),
        ("--watch-namespaces", "support,"),
        ("--watch-namespaces", "support,support"),
    ] {
        let output = run(&["run", &format!("{flag}={value}")], &[])?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(flag), "{flag}={value}: {text}");
    }
    let output = run(&["run"], &[("COGNITO_RESET_RATE", "fast")])?;
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--rate"));
    assert!(complaint(&run(&["run", "--log=a=b=c"], &[])?).contains("logging"));
    Ok(())
}

#[test]
fn every_flag_of_run_has_an_environment_variable() -> Result<()> {
    let help = String::from_utf8(run(&["run", "--help"], &[])?.stdout)?;
    let flags = help.lines().filter(|line| line.trim_start().starts_with("--")).filter(|line| !line.contains("--help"));
    let names: Vec<_> = flags.filter_map(|line| line.trim_start().split([' ', '=', '[']).next()).collect();
    assert!(names.len() >= 17, "{names:?}");
    // A long name is wrapped.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in names {
        let variable = name.trim_start_matches('-').replace('-', "_").to_uppercase();
        assert!(words.contains(&format!("[env: COGNITO_RESET_{variable}=")), "{name}: {help}");
    }
    Ok(())
}

#[test]
fn without_a_cluster_it_says_so() -> Result<()> {
    assert!(complaint(&run(&["run"], &[])?).contains("KUBECONFIG"));
    let missing = complaint(&run(&["run"], &[("KUBECONFIG", "/does/not/exist")])?);
    assert!(missing.contains("KUBECONFIG"), "{missing}");
    Ok(())
}

#[tokio::test]
async fn each_missing_prerequisite_is_reported_in_one_line() -> Result<()> {
    let cluster = Pool::of_this_process().lease(Options::default()).await?;
    cluster.kubectl(&["create", "serviceaccount", "nobody"]).await?.success()?;
    let token = cluster.service_account_token("default", "nobody").await?;
    let start = async |kubeconfig: &std::path::Path| {
        let mut operator =
            Operator::builder(binary()).kubeconfig(kubeconfig).args(["run", "--api-timeout=3s"]).start()?;
        let status = operator.wait_exit(LIMIT).await?;
        let logs = operator.logs();
        assert!(!status.success(), "{logs}");
        anyhow::Ok(logs)
    };
    let unreachable = start(&cluster.kubeconfig_for(&token, Some("http://127.0.0.1:9"))?).await?;
    assert!(unreachable.contains("127.0.0.1:9") && unreachable.contains("failed to reach"), "{unreachable}");
    let rights = start(&cluster.kubeconfig_for(&token, None)?).await?;
    for right in ["create passwordresetrecords", "update passwordresetrequests/status", "watch namespaces"] {
        assert!(rights.contains(right), "{right}: {rights}");
    }
    let definitions = start(cluster.kubeconfig()).await?;
    assert!(
        definitions.contains("passwordresetrequests.cognito-reset.dev") && definitions.contains("apply -k"),
        "{definitions}"
    );
    for logs in [unreachable, rights, definitions] {
        assert_eq!(logs.trim_end().lines().count(), 1, "{logs}");
    }
    Ok(())
}

#[test]
fn settings_that_cannot_work_with_aws_end_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| write_file(folder.path(), name, text);
    // Nothing listens at this server: a start that gets as far as the cluster says so.
    let kubeconfig = file("kubeconfig", UNREACHABLE)?;
    let start = |environment: &[(&str, &str)]| {
        let always = [("KUBECONFIG", kubeconfig.as_str()), ("AWS_REGION", "eu-west-1")];
        let all: Vec<_> = always.iter().chain(environment).copied().collect();
        run(&["run", "--api-timeout=3s", "--log=error", "--allow-test-endpoints"], &all)
    };
    let cognito = ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito-idp.eu-west-1.amazonaws.com");
    let sts = ("AWS_ENDPOINT_URL_STS", "https://sts.eu-west-1.amazonaws.com");
    let profile = file("fips", "[default]\nuse_fips_endpoint = true\n")?;
    let (text, empty) = (file("text.pem", "no certificate")?, file("empty.pem", "")?);
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
    let in_profile = file("bundle", "[default]\nca_bundle = /nowhere/ca.pem\n")?;
    for (environment, named) in [
        (vec![("AWS_USE_FIPS_ENDPOINT", "true"), cognito], "AWS_USE_FIPS_ENDPOINT"),
        (vec![("AWS_USE_DUALSTACK_ENDPOINT", "true"), cognito], "AWS_USE_DUALSTACK_ENDPOINT"),
        (vec![("AWS_USE_FIPS_ENDPOINT", "true"), sts], "AWS_ENDPOINT_URL_STS"),
        (vec![("AWS_CONFIG_FILE", profile.as_str()), cognito], "AWS_USE_FIPS_ENDPOINT"),
        (vec![("AWS_REGION", "eu-west-1\n")], "AWS_REGION"),
        (vec![("AWS_REGION", "us-east-1"), sts], "AWS_ENDPOINT_URL_STS"),
        (vec![("AWS_CA_BUNDLE", "/nowhere/ca.pem")], "AWS_CA_BUNDLE"),
        (vec![("AWS_CA_BUNDLE", text.as_str())], "AWS_CA_BUNDLE"),
        (vec![("AWS_CA_BUNDLE", empty.as_str())], "AWS_CA_BUNDLE"),
        (vec![("AWS_CA_BUNDLE", broken.as_str())], "AWS_CA_BUNDLE"),
        (vec![("AWS_CONFIG_FILE", in_profile.as_str())], "ca_bundle"),
    ] {
        let shown = complaint(&start(&environment)?);
        assert!(shown.starts_with("error: failed to start") && shown.contains(named), "{environment:?}: {shown}");
    }
    // These have no effect on this operator, or their effect shows only in a call.
    for environment in [
        vec![("AWS_RETRY_MODE", "legacy")],
        vec![("AWS_RETRY_MODE", "adaptive")],
        vec![("AWS_MAX_ATTEMPTS", "0")],
        vec![("AWS_MAX_ATTEMPTS", "many")],
        vec![("AWS_USE_FIPS_ENDPOINT", "true")],
        vec![("AWS_REGION", ""), sts],
        vec![("AWS_ACCESS_KEY_ID", "AKIATEST\n "), ("AWS_SECRET_ACCESS_KEY", "secret")],
        vec![("AWS_SDK_UA_APP_ID", "not a name\n")],
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", "::\n")],
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "::\n")],
        vec![("AWS_CONFIG_FILE", "/nowhere")],
        vec![("AWS_CONFIG_FILE", text.as_str())],
        vec![("AWS_DEFAULTS_MODE", "odd"), ("AWS_STS_REGIONAL_ENDPOINTS", "odd")],
    ] {
        let shown = complaint(&start(&environment)?);
        assert!(shown.contains("failed to reach the Kubernetes API server"), "{environment:?}: {shown}");
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_with_success() -> Result<()> {
    let env = Environment::start().await?;
    let mut operator = env.run_with(env.operator().args(["--call-timeout=30s"])).await?;
    let call = env.cognito.once(Matcher::reset_of("last"), Fault::HoldReply);
    env.ask("last").await?;
    let held = call.held(LIMIT).await?;
    operator.sigterm()?;
    eventually(LIMIT, "it to stop taking work", async || {
        operator.page("/readyz").await.ok().filter(|(status, _)| *status == http::StatusCode::SERVICE_UNAVAILABLE)
    })
    .await?;
    held.release();
    let status = operator.wait_exit(LIMIT).await?;
    assert!(status.success(), "{status}: {}", operator.logs());
    assert_eq!(env.state("last").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("last"), 1);
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_named() -> Result<()> {
    let env = Environment::start().await?;
    let mut first = env.run().await?;
    let address = first.url().trim_start_matches("http://").to_owned();
    let kubeconfig = env.cluster.kubeconfig().display().to_string();
    let output = run(&["run", "--listen", &address], &[("KUBECONFIG", &kubeconfig)])?;
    let shown = complaint(&output);
    assert!(shown.contains(&address) && shown.contains("--listen"), "{shown}");
    assert!(first.is_running());
    Ok(())
}

#[tokio::test]
async fn sigterm_before_the_first_list_does_not_wait_for_it() -> Result<()> {
    let env = Environment::start().await?;
    let first = env.api.once(
        Matcher::path(Method::GET, "/passwordresetrequests?&fieldSelector=status.outcome%3DPending"),
        Fault::Hold,
    );
    let mut operator = env.run().await?;
    let _held = first.held(LIMIT).await?;
    operator.sigterm()?;
    let status = operator.wait_exit(LIMIT).await?;
    assert!(status.success(), "{status}: {}", operator.logs());
    Ok(())
}

#[test]
fn an_endpoint_outside_aws_ends_the_start_unless_allowed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| write_file(folder.path(), name, text);
    let kubeconfig = file("kubeconfig", UNREACHABLE)?;
    let profile = file("global", "[default]\nendpoint_url = http://127.0.0.1:1\n")?;
    let section = "[default]\nservices = here\n[services here]\nsts =\n  endpoint_url = https://sts.example.com\n";
    let services = file("services", section)?;
    let start = |flags: &[&str], environment: &[(&str, &str)]| {
        let always = [("KUBECONFIG", kubeconfig.as_str()), ("AWS_REGION", "eu-west-1")];
        let all: Vec<_> = always.iter().chain(environment).copied().collect();
        run(&[&["run", "--api-timeout=3s", "--log=error"], flags].concat(), &all)
    };
    for environment in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL", "https://cognito-idp.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://example.com"),
        ("AWS_ENDPOINT_URL_STS", "http://sts.eu-west-1.amazonaws.com"),
        ("AWS_CONFIG_FILE", &profile),
        ("AWS_CONFIG_FILE", &services),
    ] {
        let shown = complaint(&start(&[], &[environment])?);
        assert!(shown.contains("--allow-test-endpoints"), "{environment:?}: {shown}");
        for (flags, variables) in [
            (&["--allow-test-endpoints"][..], vec![environment]),
            (&[], vec![environment, ("COGNITO_RESET_ALLOW_TEST_ENDPOINTS", "true")]),
            (&[], vec![environment, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]),
        ] {
            let shown = complaint(&start(flags, &variables)?);
            assert!(shown.contains("failed to reach the Kubernetes API server"), "{environment:?}: {shown}");
        }
    }
    let own = ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito-idp-fips.us-east-1.amazonaws.com");
    for environment in [&[][..], &[own]] {
        let shown = complaint(&start(&[], environment)?);
        assert!(shown.contains("failed to reach the Kubernetes API server"), "{shown}");
    }
    Ok(())
}
