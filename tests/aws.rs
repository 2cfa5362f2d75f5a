//! What the environment, files, STS and the network on the way to AWS may do: nothing of it ends the process, is taken for
//! an unknown outcome where nothing was sent, or stays without a word.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use common::{Bench, LIMIT, condition};
use serde_json::Value;
use testbed::{Fault, Matcher, Operator, OperatorBuilder, Reply, Seen, TlsFront, eventually};

const ROLE: &str = "arn:aws:iam::123456789012:role/password-reset";

fn body(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.body).into_owned()
}

fn assumes_a_role() -> Matcher {
    Matcher::new(|seen| body(seen).contains("Action=AssumeRole"))
}

impl Bench {
    /// Waits until the message of a waiting request holds these words: on a busy machine an earlier try may have run out of
    /// time, and said that.
    async fn says(&self, name: &str, words: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} to say {words:?}"), async || {
            let message = self.message(name).await?;
            ensure!(message.contains(words), "{message}");
            anyhow::Ok(())
        })
        .await
    }

    async fn message(&self, name: &str) -> Result<String> {
        let request = self.get("prr", name).await?;
        Ok(condition(&request, "Ready")["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The notes of the Events of this reason about requests.
    async fn notes(&self, reason: &str) -> Result<Vec<String>> {
        let json = self.kubectl(&["get", "events.v1.events.k8s.io", "-n", "default", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&json)?;
        let of_reason = list["items"].as_array().into_iter().flatten().filter(|event| event["reason"] == reason);
        Ok(of_reason.filter_map(|event| event["note"].as_str().map(str::to_owned)).collect())
    }

    /// Waits are long enough to be shown in a status.
    fn patient(&self) -> OperatorBuilder {
        self.operator().args(["--retry-initial=5s", "--retry-max=5s"])
    }

    /// As in a pod: credentials are nowhere in the environment.
    fn without_credentials(&self) -> OperatorBuilder {
        self.patient().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY")
    }
}

async fn counts(operator: &Operator, step: &str, cause: &str, at_least: usize) -> Result<()> {
    let series = format!("cognito_reset_aws_failures_total{{step=\"{step}\",cause=\"{cause}\"}} ");
    eventually(LIMIT, format!("{series}to be {at_least} at least"), async || {
        let (_, metrics) = operator.page("/metrics").await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series)).context("it is not there")?;
        ensure!(value.parse::<usize>()? >= at_least, "{value}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn credentials_that_no_request_can_carry_keep_requests_waiting_and_say_so_in_every_place() -> Result<()> {
    let bench = Bench::start().await?;
    let names: Vec<String> = (0..20).map(|number| format!("waits-{number}")).collect();
    {
        let broken = bench.patient().env("AWS_ACCESS_KEY_ID", "AKIATEST\n ");
        let mut operator = bench.run_with(broken).await?;
        for name in &names {
            bench.ask(name).await?;
        }
        for name in &names {
            bench.becomes(name, "Pending/AwsCredentialsUnavailable").await?;
        }
        bench.says("waits-0", "line break").await?;
        counts(&operator, "credentials", "Malformed", 20).await?;
        eventually(LIMIT, "an Event about a wait that lasts", async || {
            let notes = bench.notes("AwsCredentialsUnavailable").await?;
            ensure!(!notes.is_empty(), "none");
            anyhow::Ok(())
        })
        .await?;
        // However often all of them have failed again since.
        counts(&operator, "credentials", "Malformed", 60).await?;
        assert_eq!(bench.notes("AwsCredentialsUnavailable").await?.len(), 1);
        assert!(operator.is_running());
        let logs = operator.logs();
        common::is_sound(&logs)?;
        assert!(logs.contains("character 9 of 10 of the access key id") && !logs.contains("AKIATEST"), "{logs}");
    }
    assert!(bench.record("waits-0").await?.is_none(), "nothing is claimed without credentials");
    let _operator = bench.run().await?;
    for name in &names {
        assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted");
        assert_eq!(bench.calls(name), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_within_the_sdk_ends_one_call_and_is_one_line_of_the_log() -> Result<()> {
    let bench = Bench::start().await?;
    let folder = tempfile::tempdir()?;
    // The SDK itself calls STS with these, before anybody else sees them.
    let profiles = folder.path().join("config");
    let chain = format!("[default]\nrole_arn = {ROLE}\nsource_profile = base\n");
    fs::write(
        &profiles,
        format!("{chain}[profile base]\naws_access_key_id = AKIA\u{1}TEST\naws_secret_access_key = secret\n"),
    )?;
    let mut operator = bench.run_with(bench.without_credentials().env("AWS_CONFIG_FILE", &profiles)).await?;
    bench.ask("waits").await?;
    bench.becomes("waits", "Pending/AwsCredentialsUnavailable").await?;
    counts(&operator, "credentials", "Other", 1).await?;
    assert!(operator.is_running());
    let logs = operator.logs();
    common::is_sound(&logs)?;
    let caught: Vec<_> = logs.lines().filter(|line| line.contains("\"message\":\"a panic\"")).collect();
    assert!(!caught.is_empty() && caught.iter().all(|line| line.contains("\"place\":")), "{logs}");
    assert!(!logs.contains("AKIA"), "{logs}");
    fs::write(
        &profiles,
        format!("{chain}[profile base]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n"),
    )?;
    assert_eq!(bench.ended("waits").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn credentials_that_aws_refuses_are_loaded_anew_from_the_whole_chain() -> Result<()> {
    let bench = Bench::start().await?;
    let folder = tempfile::tempdir()?;
    let file: PathBuf = folder.path().join("credentials");
    let write =
        |key: &str| fs::write(&file, format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"));
    let signed_with = |key: &'static str| {
        move |seen: &Seen| {
            let header = seen.headers.get("authorization").and_then(|header| header.to_str().ok());
            header.is_some_and(|header| header.contains(&format!("Credential={key}/")))
        }
    };
    let from_file = bench.without_credentials().env("AWS_SHARED_CREDENTIALS_FILE", &file);
    write("OLD0")?;
    let operator = bench.run_with(from_file).await?;
    bench.ask("before").await?;
    assert_eq!(bench.ended("before").await?, "Succeeded/ResetAccepted");

    let codes = ["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"];
    for (number, code) in codes.into_iter().enumerate() {
        let (old, new): (&'static str, &'static str) =
            [("OLD0", "NEW0"), ("NEW0", "NEW1"), ("NEW1", "NEW2")].into_iter().nth(number).context("no keys")?;
        let refuse = Fault::Respond(Reply::aws_error(400, code));
        let refusals = bench.cognito.always(Matcher::any().and(signed_with(old)), refuse);
        let name = format!("after-{number}");
        bench.ask(&name).await?;
        bench.becomes(&name, &format!("Pending/{code}")).await?;
        write(new)?;
        assert_eq!(bench.ended(&name).await?, "Succeeded/ResetAccepted");
        refusals.remove();
    }

    // Where better ones are there already, no attempt is made with those that are refused.
    write("NEW3")?;
    let refuse = || Fault::Respond(Reply::aws_error(400, "UnrecognizedClientException"));
    let refusals = bench.cognito.always(Matcher::any().and(signed_with("NEW2")), refuse());
    bench.ask("at-once").await?;
    assert_eq!(bench.ended("at-once").await?, "Succeeded/ResetAccepted");
    refusals.remove();
    let record = bench.record("at-once").await?.context("no record")?;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(record["attempts"][0]["userStatusBefore"], "CONFIRMED");

    // Nor does a probe end with them: what was lost is found out by others.
    write("NEW4")?;
    let reads = AtomicUsize::new(0);
    let probes = Matcher::operation("AdminGetUser")
        .and(|seen| seen.user().is_some_and(|(_, name)| name == "probed"))
        .and(move |_| reads.fetch_add(1, Ordering::SeqCst) > 0)
        .and(signed_with("NEW3"));
    let refusals = bench.cognito.always(probes, refuse());
    bench.cognito.once(Matcher::reset_of("probed"), Fault::ForwardThenLose);
    bench.ask("probed").await?;
    assert_eq!(bench.ended("probed").await?, "Succeeded/ConfirmedByProbe");
    assert_eq!((refusals.hits(), bench.calls("probed")), (1, 1));
    refusals.remove();

    // STS refuses the operator's own credentials as well as Cognito does.
    bench.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    bench.grant("by-role", &format!("namespaces: [default]\nroleARN: {ROLE}")).await?;
    let error = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>";
    let refuse = Fault::Respond(Reply::new(403, error).header("content-type", "text/xml"));
    bench.cognito.always(assumes_a_role().and(signed_with("NEW4")), refuse);
    bench.ask("by-role").await?;
    bench.becomes("by-role", "Pending/AwsCredentialsUnavailable").await?;
    bench.says("by-role", "STS refuses the operator's own credentials").await?;
    counts(&operator, "role", "CredentialsRefused", 1).await?;
    write("NEW5")?;
    assert_eq!(bench.ended("by-role").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_request_that_needs_the_users_state_ends_by_what_cognito_answers_to_reading_it() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run_with(bench.patient()).await?;
    let skip = "ifResetRequired: Skip";
    // Nobody of that name; and nothing is sent to find out.
    bench.apply(&bench.request("nobody", "nobody", skip)).await?;
    assert_eq!(bench.ended("nobody").await?, "Failed/UserNotFoundException");
    assert_eq!(
        bench.message("nobody").await?,
        "Cognito answered AdminGetUser with UserNotFoundException; nothing was sent"
    );
    let record = bench.record("nobody").await?.context("no record")?;
    assert_eq!(
        (&record["effect"], &record["attempts"][0]["evidence"]),
        (&"NotPerformed".into(), &"UserReadResponse".into())
    );
    assert_eq!(record["attempts"][0]["exceptionCode"], "UserNotFoundException");
    assert_eq!(bench.get("prr", "nobody").await?["status"]["attempts"], 0);
    // No pool of that name.
    let elsewhere = bench.request("no-pool", "nobody", skip).replace(&bench.pool, "eu-west-1_NoSuchPool");
    let grant = "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {name: no-pool}\nspec: {userPoolID: eu-west-1_NoSuchPool, namespaces: ['*']}\n";
    bench.apply(&format!("{grant}---\n{elsewhere}")).await?;
    assert_eq!(bench.ended("no-pool").await?, "Failed/ResourceNotFoundException");
    // A state that only suggests a refusal is left to the call.
    bench.users.create_disabled_user(&bench.pool, "disabled").await?;
    bench.users.create_unconfirmed_user(&bench.pool, "unconfirmed").await?;
    for name in ["disabled", "unconfirmed"] {
        bench.apply(&bench.request(name, name, skip)).await?;
        assert_eq!(bench.ended(name).await?, "Failed/NotAuthorizedException");
    }
    for (name, calls) in [("nobody", 0), ("disabled", 1), ("unconfirmed", 1)] {
        assert_eq!(bench.calls(name), calls, "{name}");
    }
    // What somebody can mend is waited for.
    let denied = bench.cognito.always(
        Matcher::operation("AdminGetUser").and(|seen| seen.user().is_some_and(|(_, name)| name == "denied")),
        Fault::Respond(Reply::aws_error(400, "AccessDeniedException")),
    );
    bench.users.create_user(&bench.pool, "denied").await?;
    bench.apply(&bench.request("denied", "denied", skip)).await?;
    bench.becomes("denied", "Pending/UserStateUnreadable").await?;
    bench.says("denied", "(AccessDeniedException)").await?;
    denied.remove();
    assert_eq!(bench.ended("denied").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_read_that_a_closed_connection_swallows_is_repeated_once_and_a_reset_never() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    let reads = |name: &'static str| {
        Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name))
    };
    bench.cognito.once(reads("swallowed"), Fault::LoseBefore);
    bench.ask("swallowed").await?;
    assert_eq!(bench.ended("swallowed").await?, "Succeeded/ResetAccepted");
    let record = bench.record("swallowed").await?.context("no record")?;
    assert_eq!(record["attempts"][0]["userStatusBefore"], "CONFIRMED");
    assert!(record["userSub"].is_string(), "{record}");

    let twice = bench.cognito.times(2, reads("twice"), Fault::LoseBefore);
    bench.cognito.once(Matcher::reset_of("twice"), Fault::LoseBefore);
    bench.ask("twice").await?;
    assert_eq!(bench.ended("twice").await?, "Unknown/OutcomeUnknown");
    assert_eq!((twice.hits(), bench.calls("twice")), (2, 1));
    Ok(())
}

#[tokio::test]
async fn a_private_certificate_authority_is_trusted_where_aws_ca_bundle_names_it() -> Result<()> {
    let bench = Bench::start().await?;
    let front = TlsFront::start(&bench.cognito.url()).await?;
    let behind_tls = || bench.patient().cognito(front.url()).sts(front.url());
    bench.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    bench.grant("by-role", &format!("namespaces: [default]\nroleARN: {ROLE}")).await?;
    bench.ask("private").await?;
    {
        let operator = bench.run_with(behind_tls()).await?;
        bench.becomes("private", "Pending/AwsCredentialsUnavailable").await?;
        bench.says("private", "(TLS handshake failed)").await?;
        counts(&operator, "role", "Tls", 1).await?;
        eventually(LIMIT, "the cause in the log", async || operator.logs().contains("UnknownIssuer").then_some(()))
            .await?;
    }
    let _operator = bench.run_with(behind_tls().env("AWS_CA_BUNDLE", front.authority())).await?;
    assert_eq!(bench.ended("private").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_grant_says_how_its_role_is_tagged_and_hears_where_sts_finds_that_too_large() -> Result<()> {
    let bench = Bench::start().await?;
    bench.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let too_large =
        "<ErrorResponse><Error><Code>PackedPolicyTooLarge</Code><Message>no</Message></Error></ErrorResponse>";
    let refuse = Fault::Respond(Reply::new(400, too_large).header("content-type", "text/xml"));
    bench.cognito.always(assumes_a_role().and(|seen| body(seen).contains("Tags.member.2")), refuse);
    let grant = |tags: &str| {
        let spec = format!("namespaces: [default]\nroleARN: {ROLE}\n{tags}");
        let bench = &bench;
        async move { bench.grant("by-role", &spec).await }
    };
    let operator = bench.run_with(bench.patient().args(["--role-check-interval=2s"])).await?;
    grant("").await?;
    let long = format!("tagged-{}", "x".repeat(200));
    bench.users.create_user(&bench.pool, "tagged").await?;
    bench.apply(&bench.request(&long, "tagged", "")).await?;
    bench.becomes(&long, "Pending/AwsCredentialsUnavailable").await?;
    bench.says(&long, "sessionTags: UID or None").await?;
    // The trial was made with tags of the same size, and tells whoever wrote the grant.
    eventually(LIMIT, "the grant to say so", async || {
        let assumable = condition(&bench.get("poolgrant", "by-role").await?, "RoleAssumable");
        let said = assumable["message"].as_str().unwrap_or_default().to_owned();
        ensure!(assumable["status"] == "False" && said.contains("too large"), "{assumable}");
        anyhow::Ok(())
    })
    .await?;
    counts(&operator, "role", "TagsTooLarge", 1).await?;
    grant("sessionTags: UID").await?;
    assert_eq!(bench.ended(&long).await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.record(&long).await?.context("no record")?["attempts"][0]["sessionTags"], "UID");
    bench.cognito.forget();
    grant("sessionTags: None").await?;
    bench.ask("untagged").await?;
    assert_eq!(bench.ended("untagged").await?, "Succeeded/ResetAccepted");
    let assumed = bench.cognito.requests().into_iter().map(|request| body(&request.seen));
    let of_the_reset: Vec<_> = assumed.filter(|body| body.contains("RoleSessionName=prr-")).collect();
    assert!(
        !of_the_reset.is_empty() && of_the_reset.iter().all(|body| !body.contains("Tags.member")),
        "{of_the_reset:?}"
    );
    let without_role = format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: no-role}}\nspec: {{userPoolID: {}, namespaces: ['*'], sessionTags: UID}}",
        bench.pool
    );
    assert!(bench.refused(&without_role).await?.contains("sessionTags are only used to assume a role"));
    Ok(())
}

#[tokio::test]
async fn web_identity_needs_no_region_and_an_endpoint_is_for_the_pools_of_its_region() -> Result<()> {
    let bench = Bench::start().await?;
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    fs::write(&token, "header.payload.signature")?;
    {
        // Empty is as good as absent.
        let web_identity = bench.without_credentials().env("AWS_REGION", "");
        let web_identity = web_identity.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", ROLE);
        let _operator = bench.run_with(web_identity).await?;
        bench.ask("irsa").await?;
        assert_eq!(bench.ended("irsa").await?, "Succeeded/ResetAccepted");
        let agents: Vec<String> = bench
            .cognito
            .requests()
            .iter()
            .filter_map(|request| request.seen.headers.get("user-agent")?.to_str().ok().map(str::to_owned))
            .collect();
        let named = format!("app/cognito-reset-operator-{}", env!("CARGO_PKG_VERSION"));
        assert!(!agents.is_empty() && agents.iter().all(|agent| agent.contains(&named)), "{agents:?}");
    }
    let endpoint = ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito-idp.eu-west-1.amazonaws.com");
    let operator = bench.run_with(bench.patient().env(endpoint.0, endpoint.1)).await?;
    let pool = "us-east-1_Example01";
    let grant = format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: elsewhere}}\nspec: {{userPoolID: {pool}, namespaces: ['*']}}\n"
    );
    let request = bench.request("elsewhere", "elsewhere", "").replace(&bench.pool, pool);
    bench.apply(&format!("{grant}---\n{request}")).await?;
    bench.becomes("elsewhere", "Pending/RegionNotServed").await?;
    counts(&operator, "endpoint", "RegionNotServed", 1).await?;
    assert!(bench.record("elsewhere").await?.is_none(), "nothing is claimed");
    Ok(())
}
