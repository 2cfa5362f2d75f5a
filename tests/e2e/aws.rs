//! Faults of the environment, of files, of STS and of the network on the way to AWS. None of them
//! ends the process, none is taken for an unknown outcome if nothing was sent, and each is
//! reported.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::logs;
use anyhow::{Context, Result, ensure};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Operator, OperatorBuilder, Reply, Seen, TlsFront, eventually};

const ROLE: &str = "arn:aws:iam::123456789012:role/password-reset";

fn body(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.body).into_owned()
}

fn assumes_a_role() -> Matcher {
    Matcher::new(|seen| body(seen).contains("Action=AssumeRole"))
}

async fn message(env: &Environment, name: &str) -> Result<String> {
    let request = env.get("prr", name).await?;
    Ok(condition(&request, "Ready")["message"].as_str().unwrap_or_default().to_owned())
}

/// Returns the notes of the Events of this reason about requests.
async fn notes(env: &Environment, reason: &str) -> Result<Vec<String>> {
    let events = env.list("events").await?;
    let of_reason = events.iter().filter(|event| event["reason"] == reason);
    Ok(of_reason.filter_map(|event| event["note"].as_str().map(str::to_owned)).collect())
}

/// Starts with waits that are long enough to be shown in a status.
fn patient(env: &Environment) -> OperatorBuilder {
    env.operator().args(["--retry-initial=5s", "--retry-max=5s"])
}

/// Starts as in a Pod: the environment contains no credentials.
fn without_credentials(env: &Environment) -> OperatorBuilder {
    patient(env).without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY")
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
async fn unusable_credentials_keep_requests_pending_and_are_reported() -> Result<()> {
    let env = Environment::start().await?;
    let names: Vec<String> = (0..20).map(|number| format!("waits-{number}")).collect();
    {
        let broken = patient(&env).env("AWS_ACCESS_KEY_ID", "AKIATEST\n ");
        let mut operator = env.run_with(broken).await?;
        for name in &names {
            env.ask(name).await?;
        }
        for name in &names {
            env.becomes(name, "Pending/AwsCredentialsUnavailable").await?;
        }
        env.says("waits-0", "line break").await?;
        counts(&operator, "credentials", "Malformed", 20).await?;
        eventually(LIMIT, "an Event about a wait that lasts", async || {
            let notes = notes(&env, "AwsCredentialsUnavailable").await?;
            ensure!(!notes.is_empty(), "none");
            anyhow::Ok(())
        })
        .await?;
        // There is still one Event after all of them have failed again and again.
        counts(&operator, "credentials", "Malformed", 60).await?;
        assert_eq!(notes(&env, "AwsCredentialsUnavailable").await?.len(), 1);
        assert!(operator.is_running());
        let logs = operator.logs();
        logs::is_sound(&logs)?;
        assert!(logs.contains("character 9 of 10 of the access key id") && !logs.contains("AKIATEST"), "{logs}");
    }
    assert!(env.record("waits-0").await?.is_none(), "nothing is claimed without credentials");
    let _operator = env.run().await?;
    for name in &names {
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        assert_eq!(env.calls(name), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_in_the_sdk_ends_one_call_and_is_logged_in_one_line() -> Result<()> {
    let env = Environment::start().await?;
    let folder = tempfile::tempdir()?;
    // The SDK itself calls STS with these, before anybody else sees them.
    let profiles = folder.path().join("config");
    let chain = format!("[default]\nrole_arn = {ROLE}\nsource_profile = base\n");
    fs::write(
        &profiles,
        format!("{chain}[profile base]\naws_access_key_id = AKIA\u{1}TEST\naws_secret_access_key = secret\n"),
    )?;
    let mut operator = env.run_with(without_credentials(&env).env("AWS_CONFIG_FILE", &profiles)).await?;
    env.ask("waits").await?;
    env.becomes("waits", "Pending/AwsCredentialsUnavailable").await?;
    counts(&operator, "credentials", "Other", 1).await?;
    assert!(operator.is_running());
    let logs = operator.logs();
    logs::is_sound(&logs)?;
    let caught: Vec<_> = logs.lines().filter(|line| line.contains("\"message\":\"caught a panic\"")).collect();
    assert!(!caught.is_empty() && caught.iter().all(|line| line.contains("\"place\":")), "{logs}");
    assert!(!logs.contains("AKIA"), "{logs}");
    fs::write(
        &profiles,
        format!("{chain}[profile base]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n"),
    )?;
    assert_eq!(env.ended("waits").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn refused_credentials_are_reloaded_from_the_whole_chain() -> Result<()> {
    let env = Environment::start().await?;
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
    let from_file = without_credentials(&env).env("AWS_SHARED_CREDENTIALS_FILE", &file);
    write("OLD0")?;
    let operator = env.run_with(from_file).await?;
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, "Succeeded/ResetAccepted");

    let codes = ["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"];
    for (number, code) in codes.into_iter().enumerate() {
        let (old, new): (&'static str, &'static str) =
            [("OLD0", "NEW0"), ("NEW0", "NEW1"), ("NEW1", "NEW2")].into_iter().nth(number).context("no keys")?;
        let refuse = Fault::Respond(Reply::aws_error(400, code));
        let refusals = env.cognito.always(Matcher::any().and(signed_with(old)), refuse);
        let name = format!("after-{number}");
        env.ask(&name).await?;
        env.becomes(&name, &format!("Pending/{code}")).await?;
        write(new)?;
        assert_eq!(env.ended(&name).await?, "Succeeded/ResetAccepted");
        refusals.remove();
    }

    // If better credentials are available already, no attempt is made with those that are refused.
    write("NEW3")?;
    let refuse = || Fault::Respond(Reply::aws_error(400, "UnrecognizedClientException"));
    let refusals = env.cognito.always(Matcher::any().and(signed_with("NEW2")), refuse());
    env.ask("at-once").await?;
    assert_eq!(env.ended("at-once").await?, "Succeeded/ResetAccepted");
    refusals.remove();
    let record = env.record("at-once").await?.context("no record")?;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(record["attempts"][0]["userStatusBefore"], "CONFIRMED");

    // A probe does not end with them either: other credentials find out what happened to the lost
    // call.
    write("NEW4")?;
    let reads = AtomicUsize::new(0);
    let probes = Matcher::operation("AdminGetUser")
        .and(|seen| seen.user().is_some_and(|(_, name)| name == "probed"))
        .and(move |_| reads.fetch_add(1, Ordering::SeqCst) > 0)
        .and(signed_with("NEW3"));
    let refusals = env.cognito.always(probes, refuse());
    env.cognito.once(Matcher::reset_of("probed"), Fault::ForwardThenLose);
    env.ask("probed").await?;
    assert_eq!(env.ended("probed").await?, "Succeeded/ConfirmedByProbe");
    assert_eq!((refusals.hits(), env.calls("probed")), (1, 1));
    refusals.remove();

    // STS refuses the operator's own credentials as well as Cognito does.
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-role", &format!("namespaces: [default]\nroleARN: {ROLE}")).await?;
    let error = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>";
    let refuse = Fault::Respond(Reply::new(403, error).header("content-type", "text/xml"));
    env.cognito.always(assumes_a_role().and(signed_with("NEW4")), refuse);
    env.ask("by-role").await?;
    env.becomes("by-role", "Pending/AwsCredentialsUnavailable").await?;
    env.says("by-role", "STS refuses the operator's own credentials").await?;
    counts(&operator, "role", "CredentialsRefused", 1).await?;
    write("NEW5")?;
    assert_eq!(env.ended("by-role").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_request_that_needs_the_user_status_ends_when_it_is_refused() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(patient(&env)).await?;
    let skip = "ifResetRequired: Skip";
    // There is no user of that name, and nothing is sent to find out.
    env.apply(&env.request("nobody", "nobody", skip)).await?;
    assert_eq!(env.ended("nobody").await?, "Failed/UserNotFoundException");
    assert_eq!(
        message(&env, "nobody").await?,
        "Cognito returned UserNotFoundException for AdminGetUser; nothing was sent"
    );
    let record = env.record("nobody").await?.context("no record")?;
    assert_eq!((&record["effect"], &record["closed"]["cause"]), (&"NotPerformed".into(), &"UserReadRefused".into()));
    assert_eq!(record["closed"]["exceptionCode"], "UserNotFoundException");
    assert_eq!(env.get("prr", "nobody").await?["status"]["attempts"], 0);
    // There is no pool of that name.
    let elsewhere = env.request("no-pool", "nobody", skip).replace(&env.pool, "eu-west-1_NoSuchPool");
    let grant = "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {name: no-pool}\nspec: {userPoolID: eu-west-1_NoSuchPool, namespaces: ['*']}\n";
    env.apply(&format!("{grant}---\n{elsewhere}")).await?;
    assert_eq!(env.ended("no-pool").await?, "Failed/ResourceNotFoundException");
    // A state that only suggests a refusal is left to the call.
    env.users.create_disabled_user(&env.pool, "disabled").await?;
    env.users.create_unconfirmed_user(&env.pool, "unconfirmed").await?;
    for name in ["disabled", "unconfirmed"] {
        env.apply(&env.request(name, name, skip)).await?;
        assert_eq!(env.ended(name).await?, "Failed/NotAuthorizedException");
    }
    for (name, calls) in [("nobody", 0), ("disabled", 1), ("unconfirmed", 1)] {
        assert_eq!(env.calls(name), calls, "{name}");
    }
    // The operator waits for what an administrator can fix.
    let denied = env.cognito.always(
        Matcher::operation("AdminGetUser").and(|seen| seen.user().is_some_and(|(_, name)| name == "denied")),
        Fault::Respond(Reply::aws_error(400, "AccessDeniedException")),
    );
    env.users.create_user(&env.pool, "denied").await?;
    env.apply(&env.request("denied", "denied", skip)).await?;
    env.becomes("denied", "Pending/UserStateUnreadable").await?;
    env.says("denied", "(AccessDeniedException)").await?;
    denied.remove();
    assert_eq!(env.ended("denied").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_read_on_a_closed_connection_is_repeated_and_a_reset_never() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let reads = |name: &'static str| {
        Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name))
    };
    env.cognito.once(reads("swallowed"), Fault::LoseBefore);
    env.ask("swallowed").await?;
    assert_eq!(env.ended("swallowed").await?, "Succeeded/ResetAccepted");
    let record = env.record("swallowed").await?.context("no record")?;
    assert_eq!(record["attempts"][0]["userStatusBefore"], "CONFIRMED");
    assert!(record["userSub"].is_string(), "{record}");

    let twice = env.cognito.times(2, reads("twice"), Fault::LoseBefore);
    env.cognito.once(Matcher::reset_of("twice"), Fault::LoseBefore);
    env.ask("twice").await?;
    assert_eq!(env.ended("twice").await?, "Unknown/OutcomeUnknown");
    let record = env.record("twice").await?.context("no record")?;
    assert_eq!(record["attempts"][0]["userStatusBefore"], "CONFIRMED", "it was claimed only after it was read");
    assert_eq!((twice.hits(), env.calls("twice")), (2, 1));
    Ok(())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_aws_ca_bundle_names_it() -> Result<()> {
    let env = Environment::start().await?;
    let front = TlsFront::start(&env.cognito.url()).await?;
    let behind_tls = || patient(&env).cognito(front.url()).sts(front.url());
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-role", &format!("namespaces: [default]\nroleARN: {ROLE}")).await?;
    env.ask("private").await?;
    {
        let operator = env.run_with(behind_tls()).await?;
        env.becomes("private", "Pending/AwsCredentialsUnavailable").await?;
        env.says("private", "(TLS handshake failed)").await?;
        counts(&operator, "role", "Tls", 1).await?;
        eventually(LIMIT, "the cause in the log", async || operator.logs().contains("UnknownIssuer").then_some(()))
            .await?;
    }
    let _operator = env.run_with(behind_tls().env("AWS_CA_BUNDLE", front.authority())).await?;
    assert_eq!(env.ended("private").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_grant_sets_session_tags_and_reports_those_too_large() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let too_large =
        "<ErrorResponse><Error><Code>PackedPolicyTooLarge</Code><Message>no</Message></Error></ErrorResponse>";
    let refuse = Fault::Respond(Reply::new(400, too_large).header("content-type", "text/xml"));
    env.cognito.always(assumes_a_role().and(|seen| body(seen).contains("Tags.member.2")), refuse);
    let grant = |tags: &str| {
        let spec = format!("namespaces: [default]\nroleARN: {ROLE}\n{tags}");
        let env = &env;
        async move { env.grant("by-role", &spec).await }
    };
    let operator = env.run_with(patient(&env).args(["--role-check-interval=2s"])).await?;
    grant("").await?;
    let long = format!("tagged-{}", "x".repeat(200));
    env.users.create_user(&env.pool, "tagged").await?;
    env.apply(&env.request(&long, "tagged", "")).await?;
    env.becomes(&long, "Pending/AwsCredentialsUnavailable").await?;
    env.says(&long, "sessionTags: UID or None").await?;
    // The trial used tags of the same size, and its result is in the status of the grant.
    eventually(LIMIT, "the grant to say so", async || {
        let assumable = condition(&env.get("poolgrant", "by-role").await?, "RoleAssumable");
        let output = assumable["message"].as_str().unwrap_or_default().to_owned();
        ensure!(assumable["status"] == "False" && output.contains("too large"), "{assumable}");
        anyhow::Ok(())
    })
    .await?;
    counts(&operator, "role", "TagsTooLarge", 1).await?;
    grant("sessionTags: UID").await?;
    assert_eq!(env.ended(&long).await?, "Succeeded/ResetAccepted");
    assert_eq!(env.record(&long).await?.context("no record")?["attempts"][0]["sessionTags"], "UID");
    env.cognito.forget();
    grant("sessionTags: None").await?;
    env.ask("untagged").await?;
    assert_eq!(env.ended("untagged").await?, "Succeeded/ResetAccepted");
    let assumed = env.cognito.requests().into_iter().map(|request| body(&request.seen));
    let of_the_reset: Vec<_> = assumed.filter(|body| body.contains("RoleSessionName=prr-")).collect();
    assert!(
        !of_the_reset.is_empty() && of_the_reset.iter().all(|body| !body.contains("Tags.member")),
        "{of_the_reset:?}"
    );
    let without_role = format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: no-role}}\nspec: {{userPoolID: {}, namespaces: ['*'], sessionTags: UID}}",
        env.pool
    );
    assert!(env.refused(&without_role).await?.contains("sessionTags are only used to assume a role"));
    Ok(())
}

#[tokio::test]
async fn web_identity_needs_no_region_and_endpoints_serve_their_own() -> Result<()> {
    let env = Environment::start().await?;
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    fs::write(&token, "header.payload.signature")?;
    {
        // An empty variable counts as an absent one.
        let web_identity = without_credentials(&env).env("AWS_REGION", "");
        let web_identity = web_identity.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", ROLE);
        let _operator = env.run_with(web_identity).await?;
        env.ask("irsa").await?;
        assert_eq!(env.ended("irsa").await?, "Succeeded/ResetAccepted");
        let agents: Vec<String> = env
            .cognito
            .requests()
            .iter()
            .filter_map(|request| request.seen.headers.get("user-agent")?.to_str().ok().map(str::to_owned))
            .collect();
        let named = format!("app/cognito-reset-operator-{}", env!("CARGO_PKG_VERSION"));
        assert!(!agents.is_empty() && agents.iter().all(|agent| agent.contains(&named)), "{agents:?}");
    }
    let endpoint = ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito-idp.eu-west-1.amazonaws.com");
    let operator = env.run_with(patient(&env).env(endpoint.0, endpoint.1)).await?;
    let pool = "us-east-1_Example01";
    let grant = format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: elsewhere}}\nspec: {{userPoolID: {pool}, namespaces: ['*']}}\n"
    );
    let request = env.request("elsewhere", "elsewhere", "").replace(&env.pool, pool);
    env.apply(&format!("{grant}---\n{request}")).await?;
    env.becomes("elsewhere", "Pending/RegionNotServed").await?;
    counts(&operator, "endpoint", "RegionNotServed", 1).await?;
    assert!(env.record("elsewhere").await?.is_none(), "nothing is claimed");
    Ok(())
}

#[tokio::test]
async fn nothing_is_sent_while_reads_get_no_response() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.operator().args(["--read-timeout=1s", "--retry-initial=1s", "--retry-max=10s"]);
    let _operator = env.run_with(operator).await?;
    let reads = |name: &'static str| {
        Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name))
    };
    let failing = Fault::Respond(Reply::aws_error(500, "InternalErrorException"));
    let unknown = Fault::Respond(Reply::aws_error(503, "BrandNewException"));
    let throttled = Fault::Respond(Reply::aws_error(400, "TooManyRequestsException"));
    for (name, fault, reason, says) in [
        ("never", Fault::Hold, "CognitoUnreachable", "(no readable response)"),
        ("failing", failing, "CognitoUnreachable", "(InternalErrorException)"),
        ("unknown", unknown, "CognitoUnreachable", "(BrandNewException)"),
        ("throttled", throttled, "Throttled", "throttles"),
    ] {
        let rule = env.cognito.always(reads(name), fault);
        env.ask(name).await?;
        env.becomes(name, &format!("Pending/{reason}")).await?;
        env.says(name, says).await?;
        assert!(env.record(name).await?.is_none(), "{name} is claimed");
        assert_eq!(env.calls(name), 0, "{name}");
        rule.remove();
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
    }
    Ok(())
}
