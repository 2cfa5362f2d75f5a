//! The story of the operator, shown with kubectl and checked.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testbed::{ResetCount, eventually};

use crate::{
    environment::{Environment, output, plugin, repository},
    many,
    playground::serves,
    samples::{CONFIRMED, GRANTED, SAMPLES, UNGRANTED},
    terminal::{Terminal, say},
};

/// The time for a change that shows a moment later; `kubectl wait` has waited for everything that
/// takes longer.
const LIMIT: Duration = Duration::from_secs(15);
const WAIT: &str = "--for=jsonpath='{.status.completionTime}' --timeout=60s";

/// Runs the demonstration. Everything it started has ended when it returns.
pub(crate) async fn run(program: &Path) -> Result<()> {
    ensure!(
        !serves()?,
        "`make up` is running, and its files are those of the demonstration: stop it first, by `make down`"
    );
    plugin()?;
    let environment = tokio::select! {
        environment = Environment::start(program) => environment?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    let shown = tokio::select! {
        shown = show(&environment) => shown,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    say("Stopping everything that was started");
    drop(environment);
    let log = output().join("operator.log");
    shown.with_context(|| format!("the demonstration failed (the operator's log: {})", log.display()))?;
    println!("Every outcome was the expected one, and nobody was reset twice.");
    Ok(())
}

async fn show(environment: &Environment) -> Result<()> {
    let terminal = Terminal::new(environment.cluster.as_admin(), &repository());

    say("A grant for the namespace `support`; one request per user there, and one in a namespace without a grant");
    terminal.kubectl("apply -f target/testbed/grant.yaml").await?;
    terminal.kubectl("apply -f target/testbed/requests.yaml -f target/testbed/ungranted.yaml").await?;
    terminal.kubectl(&format!("wait prr --all -n {GRANTED} {WAIT}")).await?;
    expect(environment, "ResetAccepted").await?;
    terminal.kubectl("get prr -A").await?;
    terminal.kubectl(&format!("describe prr reset-{CONFIRMED} -n {GRANTED}")).await?;
    let after_first = show_cognito(environment).await?;

    say("Everything applied again: nothing changes, and Cognito is not called");
    terminal.kubectl("apply -f target/testbed/requests.yaml -f target/testbed/ungranted.yaml").await?;

    say("One request deleted and applied again: its record has the outcome, and Cognito is not called");
    terminal.kubectl(&format!("delete prr reset-{CONFIRMED} -n {GRANTED}")).await?;
    terminal.kubectl("apply -f target/testbed/requests.yaml").await?;
    terminal.kubectl(&format!("wait prr --all -n {GRANTED} {WAIT}")).await?;
    expect(environment, "AlreadyPerformed").await?;
    terminal.kubectl("get prr -A").await?;
    if show_cognito(environment).await? != after_first {
        bail!("Cognito was called again, and nothing had been asked for but what was done");
    }

    say("The whole namespace deleted and created again. Each record has its outcome, and Cognito is not called");
    terminal.kubectl(&format!("delete namespace {GRANTED} --timeout=60s")).await?;
    terminal.kubectl("apply -f target/testbed/requests.yaml").await?;
    terminal.kubectl(&format!("wait prr --all -n {GRANTED} {WAIT}")).await?;
    expect(environment, "AlreadyPerformed").await?;
    terminal.kubectl("get prr -A").await?;
    terminal.kubectl("get prrec").await?;
    if show_cognito(environment).await? != after_first {
        bail!("Cognito was called again, and nothing had been asked for but what was done");
    }
    many::show(environment, &terminal).await
}

/// Checks every request. The confirmed user's reset succeeded, for the reason given; the others
/// ended as expected.
async fn expect(environment: &Environment, success: &str) -> Result<()> {
    let expected = SAMPLES.iter().map(|sample| {
        let reason = if sample.outcome == "Succeeded" { success } else { sample.reason };
        (GRANTED, sample.user, sample.outcome, reason)
    });
    // It never completes, so no `kubectl wait` was for it.
    let waiting = (UNGRANTED, CONFIRMED, "Pending", "NoMatchingGrant");
    for (namespace, user, outcome, reason) in expected.chain([waiting]) {
        let wanted = format!("{outcome}/{reason}");
        eventually(LIMIT, format!("{namespace}/reset-{user} to be {wanted}"), async || {
            let seen = outcome_of(environment, namespace, user).await?;
            if seen == wanted { Ok(()) } else { bail!(seen) }
        })
        .await?;
        println!("  as expected: {namespace}/reset-{user} is {wanted}");
    }
    Ok(())
}

async fn outcome_of(environment: &Environment, namespace: &str, user: &str) -> Result<String> {
    let name = format!("reset-{user}");
    let text = environment.cluster.kubectl(&["get", "prr", &name, "-n", namespace, "-o", "json"]).await?.success()?;
    let request: Value = serde_json::from_str(&text)?;
    let outcome = request.pointer("/status/outcome").and_then(Value::as_str).unwrap_or("none");
    let conditions = request.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let reason = ready.and_then(|ready| ready["reason"].as_str()).unwrap_or("none");
    Ok(format!("{outcome}/{reason}"))
}

/// Shows Cognito's side, and checks that nobody was reset twice. Returns the counts, by user.
async fn show_cognito(environment: &Environment) -> Result<Vec<(&'static str, ResetCount)>> {
    say("Cognito's side: the calls of AdminResetUserPassword that reached it so far");
    println!("{:<12} {:>5} {:>9}  STATUS NOW", "USER", "CALLS", "ACCEPTED");
    let cognito = environment.moto.cognito();
    let mut counts = Vec::new();
    for sample in &SAMPLES {
        let count = environment.proxy.resets_of(&environment.pool, sample.user);
        let status =
            cognito.user_status(&environment.pool, sample.user).await.unwrap_or_else(|_| "(no such user)".to_owned());
        println!("{:<12} {:>5} {:>9}  {status}", sample.user, count.forwarded, count.accepted);
        counts.push((sample.user, count));
        let due = usize::from(sample.user == CONFIRMED);
        if count.accepted != due || (due == 1 && count.forwarded != 1) {
            bail!("{} was to be reset {due} times, and the count is {count:?}", sample.user);
        }
    }
    Ok(counts)
}
