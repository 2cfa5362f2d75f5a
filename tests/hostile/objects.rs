//! Objects that others blow up: their metadata has no bound but etcd's, and a status has to fit beside it.

use super::*;

const RESET: &str = "Succeeded/ResetAccepted";

/// Labels with the longest keys and values that there may be: about 700 bytes each, with what the API server notes of them.
fn labels(numbers: std::ops::Range<usize>, value: Value) -> Value {
    let key = |number| format!("{}{number:05}/{}", "a".repeat(240), "b".repeat(63));
    numbers.map(|number| (key(number), value.clone())).collect::<Map<_, _>>().into()
}

fn with(labels: &Value) -> Value {
    json!({ "metadata": { "labels": labels } })
}

impl Bench {
    async fn patched(&self, name: &str, patch: &Value) -> Result<bool> {
        let arguments = ["patch", "prr", name, "--type=merge", "--patch-file=/dev/stdin"];
        Ok(self.cluster.as_admin().run_with_input(&arguments, &patch.to_string()).await?.ok)
    }

    /// Adds labels until not one more fits, and gives their number.
    async fn fill(&self, name: &str) -> Result<usize> {
        let (mut number, mut step) = (0, 1024);
        while step > 0 {
            if self.patched(name, &with(&labels(number..number + step, json!("c".repeat(63))))).await? {
                number += step;
            } else {
                step /= 2;
            }
        }
        ensure!(number > 1024, "only {number} labels fit");
        Ok(number)
    }

    async fn empty(&self, name: &str, number: usize) -> Result<()> {
        ensure!(self.patched(name, &with(&labels(0..number, Value::Null))).await?, "the labels stay");
        Ok(())
    }

    /// The moments at which the operator tried to write the status.
    fn tellings(&self, name: &str) -> Vec<std::time::Instant> {
        let path = format!("/passwordresetrequests/{name}/status");
        let requests = self.api.requests().into_iter();
        requests.filter(|it| it.seen.method == Method::PUT && it.seen.path.contains(&path)).map(|it| it.at).collect()
    }
}

#[tokio::test]
async fn a_request_with_much_attached_is_settled_and_keeps_it() -> Result<()> {
    let bench = Bench::start().await?;
    bench.users.create_user(&bench.pool, "large").await?;
    bench.apply(&bench.request("large", "large", "suspend: true")).await?;
    let annotations = json!({ "metadata": { "annotations": { "a/b": "a".repeat(250 << 10) } } });
    ensure!(
        bench.patched("large", &annotations).await?
            && bench.patched("large", &with(&labels(0..300, json!("c")))).await?,
        "it does not fit"
    );
    let managed = format!(
        r#"{{"apiVersion":"cognito-reset.dev/v1alpha1","kind":"PasswordResetRequest","metadata":{{"name":"large","namespace":"default","labels":{}}}}}"#,
        labels(0..40, json!("c"))
    );
    for manager in 0..10 {
        let arguments = ["apply", "--server-side", &format!("--field-manager=m{manager}"), "-f", "-"];
        bench.cluster.as_admin().run_with_input(&arguments, &managed).await?.success()?;
    }
    let operator = bench.run().await?;
    ensure!(bench.patched("large", &json!({ "spec": { "suspend": false } })).await?, "it stays suspended");
    assert_eq!(bench.ended("large").await?, RESET);
    let kept = bench.get("prr", "large").await?;
    assert_eq!(kept["metadata"]["labels"].as_object().map(Map::len), Some(300));
    assert_eq!(kept["metadata"]["annotations"]["a/b"].as_str().map(str::len), Some(250 << 10));
    let size = |request: &testbed::Recorded| request.seen.body.len();
    let sent = bench.api.requests().into_iter().filter(|it| it.seen.method != Method::GET).map(|it| size(&it)).max();
    assert!(sent < Some(16 << 10), "what is attached is not sent back: {sent:?} bytes");
    common::is_sound(&operator.logs())
}

#[tokio::test]
async fn a_request_without_room_for_a_status_is_not_performed_until_there_is() -> Result<()> {
    let bench = Bench::start().await?;
    bench.users.create_user(&bench.pool, "full").await?;
    bench.apply(&bench.request("full", "full", "suspend: true\ndeadlineSeconds: 600")).await?;
    ensure!(bench.patched("full", &with(&labels(0..1700, json!("c".repeat(63))))).await?, "it does not fit");
    let _operator = bench.run().await?;
    ensure!(bench.patched("full", &json!({ "spec": { "suspend": false } })).await?, "it stays suspended");
    bench.becomes("full", "Pending/ObjectTooLarge").await?;
    bench.ask("other").await?;
    assert_eq!(bench.ended("other").await?, RESET, "others are not held up");
    assert_eq!((bench.calls("full"), bench.record("full").await?), (0, None));
    bench.empty("full", 1700).await?;
    assert_eq!(bench.ended("full").await?, RESET);
    Ok(())
}

#[tokio::test]
async fn a_request_that_grows_during_its_call_is_told_by_an_event_slowly_and_at_last_by_its_status() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run_with(bench.operator().args(["--call-timeout=60s"])).await?;
    let call = bench.cognito.once(Matcher::reset_of("grown"), Fault::HoldReply);
    bench.ask("grown").await?;
    let held = call.held(LIMIT).await?;
    let number = bench.fill("grown").await?;
    held.release();
    eventually(LIMIT, "the event", async || {
        let events = bench.kubectl(&["get", "events", "-o", "jsonpath={.items[*]['reason', 'message']}"]).await?;
        ensure!(events.contains("ObjectTooLarge") && events.contains("password invalidated"), "{events}");
        anyhow::Ok(())
    })
    .await?;
    eventually(LIMIT, "several tries", async || (bench.tellings("grown").len() >= 4).then_some(())).await?;
    let tries = bench.tellings("grown");
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| pause.as_millis() >= 90), "a hot loop: {pauses:?}");
    assert!(pauses.last().is_some_and(|last| last.as_millis() >= 350), "no back-off: {pauses:?}");
    assert!(operator.logs().contains("unable to go on with a request"), "{}", operator.logs());
    assert_eq!(bench.stands("grown").await?, "Pending/Pending");
    assert_eq!(bench.record("grown").await?.context("no record")?["effect"], "Performed");
    bench.empty("grown", number).await?;
    assert_eq!(bench.ended("grown").await?, RESET);
    assert_eq!(bench.calls("grown"), 1);
    Ok(())
}

/// The most memory of an operator that looks through the history, and then makes a reset.
async fn peak_of_a_look(bench: &Bench, name: &str) -> Result<usize> {
    let operator = bench.run().await?;
    eventually(LIMIT, "the whole look", async || {
        ensure!(common::has_looked_through(&operator, "request").await?, "not yet");
        anyhow::Ok(())
    })
    .await?;
    bench.ask(name).await?;
    assert_eq!(bench.ended(name).await?, RESET);
    common::peak(&operator)
}

#[tokio::test]
async fn finished_requests_with_much_attached_are_looked_through_a_few_at_a_time() -> Result<()> {
    const LARGE: usize = 100;
    let bench = Bench::start().await?;
    let before = peak_of_a_look(&bench, "before").await?;
    let spec = "notAfter: \"2020-01-01T00:00:00Z\"\nttlSecondsAfterFinished: 86400";
    let names: Vec<String> = (0..LARGE).map(|number| format!("large-{number}")).collect();
    let manifests: Vec<String> = names.iter().map(|name| bench.request(name, name, spec)).collect();
    bench.apply(&manifests.join("\n---\n")).await?;
    for name in &names {
        let patch = with(&labels(0..900, json!("c".repeat(63))));
        ensure!(bench.patched(name, &patch).await?, "it does not fit");
    }
    let operator = bench.run().await?;
    for name in &names {
        assert_eq!(bench.ended(name).await?, "Failed/Expired");
    }
    drop(operator);
    let shown = bench.kubectl(&["get", "prr", "large-0", "-o", "json", "--show-managed-fields"]).await?;
    let bytes = LARGE * serde_json::from_str::<Value>(&shown)?["metadata"].to_string().len();
    let grown = peak_of_a_look(&bench, "after").await?.saturating_sub(before);
    println!("{bytes} bytes of metadata; {grown} bytes more than without");
    // Held as text alone, the metadata of all would be twice this much. A page is a tenth of it.
    assert!(grown < bytes / 2, "grown by {grown} bytes, with {bytes} bytes of metadata to look through");
    Ok(())
}
