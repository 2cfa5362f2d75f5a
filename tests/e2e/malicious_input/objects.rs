//! Objects that other writers inflate: their metadata has no bound but etcd's, and a status has to
//! fit beside it.

use super::*;

const RESET: &str = "Succeeded/ResetAccepted";

/// Returns labels with the longest keys and values: about 700 bytes each, with the API server's own
/// notes of them.
fn labels(numbers: std::ops::Range<usize>, value: Value) -> Value {
    let key = |number| format!("{}{number:05}/{}", "a".repeat(240), "b".repeat(63));
    numbers.map(|number| (key(number), value.clone())).collect::<Map<_, _>>().into()
}

fn with(labels: &Value) -> Value {
    json!({ "metadata": { "labels": labels } })
}

async fn patched(env: &Environment, name: &str, patch: &Value) -> Result<bool> {
    let path = format!("/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests/{name}");
    Ok(env.cluster.request(Method::PATCH, &path, Some(patch)).await?.0.is_success())
}

/// Adds labels until no further one fits, and returns their number.
async fn fill(env: &Environment, name: &str) -> Result<usize> {
    let (mut number, mut step) = (0, 1024);
    while step > 0 {
        if patched(env, name, &with(&labels(number..number + step, json!("c".repeat(63))))).await? {
            number += step;
        } else {
            step /= 2;
        }
    }
    ensure!(number > 1024, "only {number} labels fit");
    Ok(number)
}

async fn empty(env: &Environment, name: &str, number: usize) -> Result<()> {
    ensure!(patched(env, name, &with(&labels(0..number, Value::Null))).await?, "the labels stay");
    Ok(())
}

/// Returns the moments at which the operator tried to write the status.
fn status_writes(env: &Environment, name: &str) -> Vec<std::time::Instant> {
    let path = format!("/passwordresetrequests/{name}/status");
    let requests = env.api.requests().into_iter();
    requests.filter(|it| it.seen.method == Method::PUT && it.seen.path.contains(&path)).map(|it| it.at).collect()
}

#[tokio::test]
async fn a_request_with_much_attached_is_settled_and_keeps_it() -> Result<()> {
    let env = Environment::start().await?;
    env.users.create_user(&env.pool, "large").await?;
    env.apply(&env.request("large", "large", "suspend: true")).await?;
    let annotations = json!({ "metadata": { "annotations": { "a/b": "a".repeat(250 << 10) } } });
    ensure!(
        patched(&env, "large", &annotations).await?
            && patched(&env, "large", &with(&labels(0..300, json!("c")))).await?,
        "it does not fit"
    );
    let managed = format!(
        r#"{{"apiVersion":"cognito-reset.dev/v1alpha1","kind":"PasswordResetRequest","metadata":{{"name":"large","namespace":"default","labels":{}}}}}"#,
        labels(0..40, json!("c"))
    );
    for manager in 0..10 {
        let arguments = ["apply", "--server-side", &format!("--field-manager=m{manager}"), "-f", "-"];
        env.cluster.as_admin().run_with_input(&arguments, &managed).await?.success()?;
    }
    let operator = env.run().await?;
    ensure!(patched(&env, "large", &json!({ "spec": { "suspend": false } })).await?, "it stays suspended");
    assert_eq!(env.ended("large").await?, RESET);
    let kept = env.get("prr", "large").await?;
    assert_eq!(kept["metadata"]["labels"].as_object().map(Map::len), Some(300));
    assert_eq!(kept["metadata"]["annotations"]["a/b"].as_str().map(str::len), Some(250 << 10));
    let size = |request: &testbed::Recorded| request.seen.body.len();
    let sent = env.api.requests().into_iter().filter(|it| it.seen.method != Method::GET).map(|it| size(&it)).max();
    assert!(sent < Some(16 << 10), "what is attached is not sent back: {sent:?} bytes");
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn a_request_without_room_for_a_status_is_not_performed() -> Result<()> {
    let env = Environment::start().await?;
    env.users.create_user(&env.pool, "full").await?;
    env.apply(&env.request("full", "full", "suspend: true\ndeadlineSeconds: 600")).await?;
    ensure!(patched(&env, "full", &with(&labels(0..1700, json!("c".repeat(63))))).await?, "it does not fit");
    let _operator = env.run().await?;
    ensure!(patched(&env, "full", &json!({ "spec": { "suspend": false } })).await?, "it stays suspended");
    env.becomes("full", "Pending/ObjectTooLarge").await?;
    env.ask("other").await?;
    assert_eq!(env.ended("other").await?, RESET, "others are not held up");
    assert_eq!((env.calls("full"), env.record("full").await?), (0, None));
    empty(&env, "full", 1700).await?;
    assert_eq!(env.ended("full").await?, RESET);
    Ok(())
}

#[tokio::test]
async fn a_request_that_outgrows_its_status_is_reported_by_an_event() -> Result<()> {
    let env = Environment::start().await?;
    // The call is held up while the request is filled, however long that takes.
    let operator = env.run_with(env.operator().args(["--call-timeout=1h"])).await?;
    let call = env.cognito.once(Matcher::reset_of("grown"), Fault::HoldReply);
    env.ask("grown").await?;
    let held = call.held(LIMIT).await?;
    let number = fill(&env, "grown").await?;
    held.release();
    eventually(LIMIT, "the event", async || {
        let events = env.list("events").await?;
        let text = json!(events).to_string();
        ensure!(text.contains("ObjectTooLarge") && text.contains("password invalidated"), "{text}");
        anyhow::Ok(())
    })
    .await?;
    eventually(LIMIT, "several tries", async || (status_writes(&env, "grown").len() >= 4).then_some(())).await?;
    let tries = status_writes(&env, "grown");
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| pause.as_millis() >= 90), "a hot loop: {pauses:?}");
    assert!(pauses.last().is_some_and(|last| last.as_millis() >= 350), "no back-off: {pauses:?}");
    assert!(operator.logs().contains("unable to reconcile a request"), "{}", operator.logs());
    assert_eq!(env.state("grown").await?, "Pending/Pending");
    assert_eq!(env.record("grown").await?.context("no record")?["effect"], "Performed");
    empty(&env, "grown", number).await?;
    assert_eq!(env.ended("grown").await?, RESET);
    assert_eq!(env.calls("grown"), 1);
    Ok(())
}

/// Starts an operator without the proxy, which would keep every large request that it passes on.
async fn direct(env: &Environment) -> Result<Operator> {
    env.run_with(env.operator().kubeconfig(&env.direct_kubeconfig().await?)).await
}

/// Returns the peak memory of an operator that scans the history, and then makes a reset.
async fn peak_of_a_look(env: &Environment, name: &str) -> Result<usize> {
    let operator = direct(env).await?;
    eventually(LIMIT, "the whole look", async || {
        ensure!(operator.has_scanned("request").await?, "not yet");
        anyhow::Ok(())
    })
    .await?;
    env.ask(name).await?;
    assert_eq!(env.ended(name).await?, RESET);
    operator.peak_memory()
}

#[tokio::test]
async fn large_finished_requests_are_scanned_a_few_at_a_time() -> Result<()> {
    const LARGE: usize = 100;
    let mut env = Environment::start().await?;
    env.cluster.is_used_up();
    let before = peak_of_a_look(&env, "before").await?;
    let spec = "notAfter: \"2020-01-01T00:00:00Z\"\nttlSecondsAfterFinished: 86400";
    env.apply(&env.request("large-0", "large", spec)).await?;
    ensure!(patched(&env, "large-0", &with(&labels(0..900, json!("c".repeat(63))))).await?, "it does not fit");
    let key = "/registry/cognito-reset.dev/passwordresetrequests/default/large-0";
    env.cluster.store_copies(key, (1..LARGE).map(|number| format!("large-{number}"))).await?;
    let operator = direct(&env).await?;
    // A hundred objects of half a megabyte, written twice each: a busy machine takes its time.
    eventually(LIMIT * 3, "all to fail", async || {
        let failed = ["get", "prr", "--field-selector=status.outcome=Failed", "-o", "name"];
        let failed = env.kubectl(&failed).await?.lines().filter(|name| name.contains("large-")).count();
        ensure!(failed == LARGE, "{failed}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(env.ended("large-0").await?, "Failed/Expired");
    drop(operator);
    let shown = env.kubectl(&["get", "prr", "large-0", "-o", "json", "--show-managed-fields"]).await?;
    let bytes = LARGE * serde_json::from_str::<Value>(&shown)?["metadata"].to_string().len();
    let grown = peak_of_a_look(&env, "after").await?.saturating_sub(before);
    println!("{bytes} bytes of metadata; {grown} bytes more than without");
    // Held as text alone, the metadata of all would be twice this much. A page is a tenth of it.
    assert!(grown < bytes / 2, "grown by {grown} bytes, with {bytes} bytes of metadata to look through");
    Ok(())
}
