//! What a crash or a lost reply leaves behind, with the real binary: never a second call, and never more told than is known.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::time::Duration;

use anyhow::Result;
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
async fn whatever_comes_back_from_cognito_there_is_one_call_unless_it_proves_that_nothing_happened() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    let html = || Reply::new(502, "<html>Bad Gateway</html>").header("content-type", "text/html");
    let page = || Reply::new(200, "<html>Sign in to the network</html>").header("content-type", "text/html");
    let late = Fault::Late(Duration::from_secs(4));
    let cases: Vec<(&str, usize, Fault, &str, usize)> = vec![
        ("reply-lost-after", 1, Fault::ForwardThenLose, "Succeeded/ConfirmedByProbe", 1),
        ("reply-lost-before", 1, Fault::LoseBefore, "Unknown/OutcomeUnknown", 1),
        ("late-call", 1, late, "Unknown/OutcomeUnknown", 1),
        ("html-body", 1, Fault::Respond(html()), "Unknown/OutcomeUnknown", 1),
        ("html-after-reset", 1, Fault::ForwardThenRespond(html()), "Succeeded/ConfirmedByProbe", 1),
        ("html-success", 1, Fault::Respond(page()), "Unknown/OutcomeUnknown", 1),
        ("truncated", 1, Fault::Truncate, "Succeeded/ConfirmedByProbe", 1),
        ("garbage", 1, Fault::Garbage("\u{0}nonsense".into()), "Unknown/OutcomeUnknown", 1),
        ("unknown-code", 1, Fault::Respond(Reply::aws_error(400, "BrandNewException")), "Unknown/UnrecognizedError", 1),
        (
            "unknown-code-after-reset",
            1,
            Fault::ForwardThenRespond(Reply::aws_error(400, "BrandNewException")),
            "Failed/UnrecognizedError",
            1,
        ),
        (
            "throttled",
            2,
            Fault::Respond(Reply::aws_error(400, "TooManyRequestsException")),
            "Succeeded/ResetAccepted",
            3,
        ),
        ("denied", 2, Fault::Respond(Reply::aws_error(400, "AccessDeniedException")), "Succeeded/ResetAccepted", 3),
    ];
    for (name, times, fault, _, _) in &cases {
        bench.cognito.times(*times, Matcher::reset_of(name), fault.clone());
        bench.ask(name).await?;
    }
    for (name, _, _, end, calls) in &cases {
        assert_eq!(bench.ended(name).await?, *end, "{name}");
        assert_eq!(bench.calls(name), *calls, "{name}");
    }
    let attempts = &bench.get("prr", "throttled").await?["status"]["attempts"];
    assert_eq!(attempts, 1, "throttling costs no attempt");
    assert_eq!(bench.get("prr", "denied").await?["status"]["attempts"], 3);
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_is_tried_again() -> Result<()> {
    let bench = Bench::start().await?;
    bench.cognito.close().await?;
    let _operator = bench.run().await?;
    bench.ask("refused").await?;
    eventually(LIMIT, "an attempt that could not connect", async || {
        bench.record("refused").await.ok().flatten().filter(|record| record["effect"] == "NotPerformed")
    })
    .await?;
    assert_eq!(bench.stands("refused").await?.split('/').next(), Some("Pending"));
    bench.cognito.open().await?;
    assert_eq!(bench.ended("refused").await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.calls("refused"), 1);
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
