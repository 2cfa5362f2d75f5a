//! What a crash or a lost reply leaves behind, with the real binary: never a second call, and never more told than is known.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use common::{Bench, LIMIT};
use http::Method;
use testbed::{Fault, Matcher, Reply, eventually};

const RECORDS: &str = "/passwordresetrecords";

/// A write of a record's effect.
fn effect_write() -> Matcher {
    Matcher::path(Method::PUT, RECORDS)
}

#[tokio::test]
async fn killed_at_each_point_a_request_ends_truly_and_with_one_call_at_the_most() -> Result<()> {
    let bench = Bench::start().await?;
    // Name, where the operator is killed, the end, calls.
    let status = || Matcher::path(Method::PUT, "/status").and(|seen| seen.path.contains("passwordresetrequests"));
    let claim = || Matcher::path(Method::POST, RECORDS);
    let cases: Vec<(&str, Matcher, Fault, &str, usize)> = vec![
        ("before-the-claim", claim(), Fault::Hold, "Succeeded/ResetAccepted", 1),
        ("between-claim-and-call", claim(), Fault::HoldReply, "Unknown/OutcomeUnknown", 0),
        ("between-reply-and-record", effect_write(), Fault::Hold, "Succeeded/ConfirmedByProbe", 1),
        ("between-record-and-status", status(), Fault::Hold, "Succeeded/ResetAccepted", 1),
    ];
    for (name, matcher, fault, end, calls) in cases {
        let rule = bench.api.once(matcher, fault);
        let mut operator = bench.run().await?;
        bench.ask(name).await?;
        let held = rule.held(LIMIT).await?;
        operator.sigkill().await?;
        rule.remove();
        held.lose();
        let after = bench.run().await?;
        assert_eq!(bench.ended(name).await?, end, "{name}: {}", after.logs());
        assert_eq!(bench.calls(name), calls, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn replies_of_the_api_server_that_are_lost_cause_no_second_claim_and_no_second_call() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    let cases: Vec<(&str, Matcher, Fault)> = vec![
        ("claim-reply-lost", Matcher::path(Method::POST, RECORDS), Fault::ForwardThenLose),
        (
            "claim-conflict",
            Matcher::path(Method::POST, RECORDS),
            Fault::ForwardThenRespond(Reply::kubernetes_error(409, "AlreadyExists")),
        ),
        (
            "claim-unavailable",
            Matcher::path(Method::POST, RECORDS),
            Fault::Respond(Reply::kubernetes_error(503, "ServiceUnavailable")),
        ),
        (
            "claim-late-503",
            Matcher::path(Method::POST, RECORDS),
            Fault::ForwardThenRespond(Reply::kubernetes_error(504, "Timeout")),
        ),
        ("effect-reply-lost", effect_write(), Fault::ForwardThenLose),
        ("effect-conflict", effect_write(), Fault::Respond(Reply::kubernetes_error(409, "Conflict"))),
        ("effect-throttled", effect_write(), Fault::Respond(Reply::kubernetes_error(429, "TooManyRequests"))),
        (
            "status-conflict",
            Matcher::path(Method::PUT, "/status"),
            Fault::Respond(Reply::kubernetes_error(409, "Conflict")),
        ),
        ("status-reply-lost", Matcher::path(Method::PUT, "/status"), Fault::ForwardThenLose),
    ];
    for (name, matcher, fault) in cases {
        let rule = bench.api.once(matcher.and(|seen| !seen.path.contains("userpoolgrants")), fault);
        bench.ask(name).await?;
        assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
        assert_eq!((bench.calls(name), rule.hits()), (1, 1), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_that_takes_too_long_is_never_sent_and_settled_so() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    let slow = bench.api.times(1, Matcher::path(Method::POST, RECORDS), Fault::Late(Duration::from_secs(5)));
    bench.ask("slow-claim").await?;
    assert_eq!(bench.ended("slow-claim").await?, "Succeeded/ResetAccepted");
    assert_eq!(slow.hits(), 1);
    assert_eq!(bench.calls("slow-claim"), 1);
    let record = bench.record("slow-claim").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["evidence"], "NeverSent", "{record}");
    Ok(())
}

#[tokio::test]
async fn an_open_record_that_cannot_be_read_keeps_no_other_one_open() -> Result<()> {
    let bench = Bench::start().await?;
    let claim = bench.api.once(Matcher::path(Method::POST, RECORDS), Fault::HoldReply);
    let mut operator = bench.run().await?;
    bench.ask("orphan").await?;
    let held = claim.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    bench.kubectl(&["delete", "prr", "orphan"]).await?;
    // A looser definition, as a newer release may bring it, and a state that this operator does not know.
    let crd = bench.get("crd", "passwordresetrecords.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""ARCHIVED","#, r#""ARCHIVED","zq-marked","#);
    assert_ne!(crd, looser);
    bench.apply(&looser).await?;
    let mut foreign = bench.record("orphan").await?.unwrap_or_default();
    foreign["metadata"] = serde_json::json!({ "name": "r0-before-the-other" });
    foreign["request"]["name"] = "foreign".into();
    foreign["attempts"][0]["userStatusBefore"] = "zq-marked".into();
    eventually(LIMIT, "the looser definition", async || bench.apply(&foreign.to_string()).await).await?;
    let operator = bench.run().await?;
    eventually(LIMIT, "the other record's effect", async || {
        let record = bench.record("orphan").await?.unwrap_or_default();
        ensure!(record["effect"] == "Unknown", "{record}");
        anyhow::Ok(())
    })
    .await?;
    assert!(operator.logs().contains("unable to parse an object"), "{}", operator.logs());
    assert!(!operator.logs().contains("zq-marked"), "{}", operator.logs());
    assert!(bench.record("foreign").await?.unwrap_or_default()["effect"].is_null());
    Ok(())
}

#[tokio::test]
async fn an_open_claim_beside_a_request_that_has_ended_is_settled() -> Result<()> {
    let bench = Bench::start().await?;
    let claim = bench.api.once(Matcher::path(Method::POST, RECORDS), Fault::HoldReply);
    let mut operator = bench.run().await?;
    bench.ask("restored").await?;
    let held = claim.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    // As where the ledger of before an etcd restore is put back, and its request has failed meanwhile.
    let failed = r#"{"status":{"outcome":"Failed"}}"#;
    bench.kubectl(&["patch", "prr", "restored", "--subresource=status", "--type=merge", "-p", failed]).await?;
    let _operator = bench.run().await?;
    eventually(LIMIT, "the claim to be settled", async || {
        let record = bench.record("restored").await?.unwrap_or_default();
        ensure!(record["effect"] == "Unknown", "{record}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(
        (bench.calls("restored"), bench.get("prr", "restored").await?["status"]["outcome"].as_str()),
        (0, Some("Failed"))
    );
    Ok(())
}

#[tokio::test]
async fn conflicts_without_end_end_the_pass_and_the_request_goes_on_when_they_do() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run().await?;
    let told = Matcher::path(Method::PUT, "passwordresetrequests/contended/status");
    let conflict = bench.api.always(told, Fault::Respond(Reply::kubernetes_error(409, "Conflict")));
    bench.ask("contended").await?;
    eventually(LIMIT, "the pass to give up", async || {
        operator.logs().contains("has changed 10 times while it was worked on").then_some(())
    })
    .await?;
    assert!(conflict.hits() >= 10, "{}", conflict.hits());
    conflict.remove();
    assert_eq!(bench.ended("contended").await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.calls("contended"), 1);
    Ok(())
}
