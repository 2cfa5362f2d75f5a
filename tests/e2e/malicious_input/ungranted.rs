//! A tenant without a grant: creates requests, lets them expire and deletes them, to fill etcd with
//! the records that the operator writes.

use std::time::{Duration, Instant};

use super::*;

const NAMESPACE: &str = "noisy";
const REQUESTS: &str = "/apis/cognito-reset.dev/v1alpha1/namespaces/noisy/passwordresetrequests";
const RECORDS: &str = "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords";
/// The number of requests in the burst, besides those with a far expiry.
const BURST: usize = 50;
/// The number of requests whose records are kept for a day.
const FAR: usize = 2;
/// The times between two closings, without and with a far expiry.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_millis(19_200);

/// Returns a request of the namespace with the longest texts, which is over after a second.
fn request(env: &Environment, name: &str, expiry: &str) -> String {
    let [reason, long] = [1024, 256].map(|length| "\u{1F511}".repeat(length));
    let texts = format!("deadlineSeconds: 1\nreason: {reason}\nticket: {long}\nonBehalfOf: {long}\n{expiry}");
    env.request(name, name, &texts).replace("namespace: default", &format!("namespace: {NAMESPACE}"))
}

/// Returns the moments at which records were closed: those that remember an expiry, or those that
/// do not.
fn closings(env: &Environment, far: bool) -> Vec<Instant> {
    let closes = |it: &testbed::Recorded| {
        let record: Value = serde_json::from_slice(&it.seen.body).unwrap_or_default();
        let created = it.seen.method == Method::POST && it.status.is_some_and(|status| status.is_success());
        created && record["closed"]["ungranted"] == true && record["notAfter"].is_null() != far
    };
    env.api.requests().into_iter().filter(closes).map(|it| it.at).collect()
}

/// Returns the moments at which records were deleted.
fn deletions(env: &Environment) -> Vec<Instant> {
    let deletes = |it: &testbed::Recorded| {
        let deleted = it.seen.method == Method::DELETE && it.status.is_some_and(|status| status.is_success());
        deleted && it.seen.path.starts_with(RECORDS)
    };
    env.api.requests().into_iter().filter(deletes).map(|it| it.at).collect()
}

/// Returns the time from the first of these moments to the last one.
fn lasted(moments: &[Instant]) -> Duration {
    moments.last().zip(moments.first()).map(|(last, first)| last.duration_since(*first)).unwrap_or_default()
}

/// Returns the records of the namespace, as the API server stores them.
async fn records(env: &Environment) -> Result<Vec<Value>> {
    let list = env.cluster.read(RECORDS).await?;
    let all = list["items"].as_array().cloned().context("no items")?;
    Ok(all.into_iter().filter(|record| record["request"]["namespace"] == NAMESPACE).collect())
}

async fn ended(env: &Environment, name: &str) -> Result<String> {
    eventually(LIMIT, format!("{name} to end"), async || {
        let request = env.cluster.read(&format!("{REQUESTS}/{name}")).await?;
        let outcome = request["status"]["outcome"].as_str().unwrap_or("Pending").to_owned();
        ensure!(outcome != "Pending", "{request}");
        Ok(outcome)
    })
    .await
}

/// Checks that record number `n` was closed `n` periods after the start or later.
fn assert_spaced(closings: &[Instant], start: Instant, period: Duration) {
    for (number, closing) in closings.iter().enumerate() {
        let earliest = period * u32::try_from(number).unwrap();
        let after = closing.duration_since(start);
        assert!(after >= earliest, "closing {number} came after {after:?}, not {earliest:?}");
    }
}

/// Checks that the records are small and contain nothing that the requester wrote.
fn assert_small(records: &[Value]) {
    let sizes: Vec<usize> = records.iter().map(|record| record.to_string().len()).collect();
    println!("{} records of {:?} to {:?} bytes", sizes.len(), sizes.iter().min(), sizes.iter().max());
    assert!(sizes.iter().all(|size| *size < 2048), "{sizes:?} bytes");
    for record in records {
        let closed = &record["closed"];
        for text in ["reason", "ticket", "onBehalfOf", "approvedBy"] {
            assert!(closed[text].is_null(), "{text} in {record}");
        }
        assert!(!record.to_string().contains('\u{1F511}'), "{record}");
    }
}

#[tokio::test]
async fn burst_without_a_grant_leaves_small_records_at_a_bounded_rate() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("support", "namespaces: [default]").await?;
    env.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let burst = (0..BURST).map(|number| request(&env, &format!("burst-{number}"), ""));
    let far = (0..FAR).map(|number| request(&env, &format!("far-{number}"), "notAfter: \"2100-01-01T00:00:00Z\""));
    env.apply(&burst.chain(far).collect::<Vec<_>>().join("\n---\n")).await?;
    env.ask("granted").await?;

    let start = Instant::now();
    let operator = env.run_with(env.operator().args(["--record-retention=5s"])).await?;
    let granted = env.ended("granted").await?;
    assert!(granted.starts_with("Succeeded/"), "{granted}");
    eventually(LIMIT, "every record to be closed", async || {
        let closed = (closings(&env, false).len(), closings(&env, true).len());
        ensure!(closed == (BURST, FAR), "{closed:?}");
        anyhow::Ok(())
    })
    .await?;
    let (short, long) = (closings(&env, false), closings(&env, true));
    assert_spaced(&short, start, SHORT);
    assert_spaced(&long, start, LONG);
    let reset =
        env.api.requests().into_iter().find(|it| it.seen.path.contains("/passwordresetrequests/granted/status"));
    let reset = reset.context("no status of the granted request")?.at;
    assert!(short.last().is_some_and(|last| reset < *last), "the granted request waited for the closings");

    // While its requests exist, nothing is deleted.
    let stored = records(&env).await?;
    assert_eq!(stored.len(), BURST + FAR);
    assert_small(&stored);
    for name in ["burst-0", "far-0"] {
        assert_eq!(ended(&env, name).await?, "Failed");
    }
    env.kubectl(&["delete", "prr", "--all", "--namespace", NAMESPACE]).await?;
    eventually(LIMIT, "the records to be deleted", async || {
        let left = records(&env).await?;
        ensure!(left.len() == FAR && left.iter().all(|record| !record["notAfter"].is_null()), "{} left", left.len());
        anyhow::Ok(())
    })
    .await?;

    let deletions = deletions(&env);
    assert_eq!(deletions.len(), BURST);
    assert!(lasted(&deletions) < lasted(&short), "{:?}, and {:?} to close them", lasted(&deletions), lasted(&short));

    // The name counts as new, unless its record remembers an expiry.
    env.grant("late", &format!("namespaces: [{NAMESPACE}]")).await?;
    env.users.create_user(&env.pool, "burst-0").await?;
    let expiring = "notAfter: \"2100-01-01T00:00:00Z\"\ndeadlineSeconds: 600";
    for (name, spec, outcome, calls) in [("burst-0", "", "Succeeded", 1), ("far-0", expiring, "Failed", 0)] {
        env.apply(&env.request(name, name, spec).replace("namespace: default", "namespace: noisy")).await?;
        assert_eq!((ended(&env, name).await?.as_str(), env.calls(name)), (outcome, calls), "{name}");
    }
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn ungranted_record_goes_beside_a_request_for_another_user() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let of = |name: &str, user: &str, spec: &str| {
        env.request(name, user, spec).replace("namespace: default", &format!("namespace: {NAMESPACE}"))
    };
    for name in ["reused", "kept"] {
        env.apply(&of(name, name, "deadlineSeconds: 1")).await?;
    }
    let operator = env.run_with(env.operator().args(["--record-retention=5s"])).await?;
    for name in ["reused", "kept"] {
        assert_eq!(ended(&env, name).await?, "Failed");
    }
    // The name is used again for another user, whose request has a record of its own.
    env.kubectl(&["delete", "prr", "reused", "--namespace", NAMESPACE]).await?;
    env.apply(&of("reused", "somebody-else", "suspend: true")).await?;
    eventually(LIMIT, "the record of the first user to be deleted", async || {
        let left = records(&env).await?;
        ensure!(left.len() == 1 && left[0]["username"] == "kept", "{left:?}");
        anyhow::Ok(())
    })
    .await?;
    let request = env.cluster.read(&format!("{REQUESTS}/reused")).await?;
    assert_eq!(
        (&request["spec"]["username"], &request["status"]["outcome"]),
        (&"somebody-else".into(), &"Pending".into())
    );
    logs::is_sound(&operator.logs())
}
