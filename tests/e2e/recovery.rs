//! The state after a crash or a lost reply, with the real binary: there is never a second call, and
//! no status says more than is known.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Reply, eventually};

const RECORDS: &str = "/passwordresetrecords";

/// Matches a write of a record's effect.
fn effect_write() -> Matcher {
    Matcher::path(Method::PUT, RECORDS)
}

#[tokio::test]
async fn an_operator_killed_at_any_point_makes_one_call_at_most() -> Result<()> {
    let env = Environment::start().await?;
    // The name, the point at which the operator is killed, the end, and the calls.
    let status = || Matcher::path(Method::PUT, "/status").and(|seen| seen.path.contains("passwordresetrequests"));
    let claim = || Matcher::path(Method::POST, RECORDS);
    let cases: Vec<(&str, Matcher, Fault, &str, usize)> = vec![
        ("before-the-claim", claim(), Fault::Hold, "Succeeded/ResetAccepted", 1),
        ("between-claim-and-call", claim(), Fault::HoldReply, "Unknown/OutcomeUnknown", 0),
        ("between-reply-and-record", effect_write(), Fault::Hold, "Succeeded/ConfirmedByProbe", 1),
        ("between-record-and-status", status(), Fault::Hold, "Succeeded/ResetAccepted", 1),
    ];
    for (name, matcher, fault, end, calls) in cases {
        let rule = env.api.once(matcher, fault);
        let mut operator = env.run().await?;
        env.ask(name).await?;
        let held = rule.held(LIMIT).await?;
        operator.sigkill().await?;
        rule.remove();
        held.lose();
        let after = env.run().await?;
        assert_eq!(env.ended(name).await?, end, "{name}: {}", after.logs());
        assert_eq!(env.calls(name), calls, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn lost_replies_of_the_api_server_cause_no_second_call() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
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
        let rule = env.api.once(matcher.and(|seen| !seen.path.contains("userpoolgrants")), fault);
        env.ask(name).await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
        assert_eq!((env.calls(name), rule.hits()), (1, 1), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_that_takes_too_long_is_never_sent_and_settled_so() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let slow = env.api.times(1, Matcher::path(Method::POST, RECORDS), Fault::Late(Duration::from_secs(5)));
    env.ask("slow-claim").await?;
    assert_eq!(env.ended("slow-claim").await?, "Succeeded/ResetAccepted");
    assert_eq!(slow.hits(), 1);
    assert_eq!(env.calls("slow-claim"), 1);
    let record = env.record("slow-claim").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["evidence"], "NeverSent", "{record}");
    Ok(())
}

#[tokio::test]
async fn an_invalid_open_record_delays_no_other_one() -> Result<()> {
    let env = Environment::start().await?;
    let claim = env.api.once(Matcher::path(Method::POST, RECORDS), Fault::HoldReply);
    let mut operator = env.run().await?;
    env.ask("orphan").await?;
    let held = claim.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    env.kubectl(&["delete", "prr", "orphan"]).await?;
    // A looser CRD, as a newer release may have it, and a state that this operator does not know.
    let crd = env.get("crd", "passwordresetrecords.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""ARCHIVED","#, r#""ARCHIVED","zq-marked","#);
    assert_ne!(crd, looser);
    env.apply(&looser).await?;
    let mut foreign = env.record("orphan").await?.unwrap_or_default();
    foreign["metadata"] = serde_json::json!({ "name": "r0-before-the-other" });
    foreign["request"]["name"] = "foreign".into();
    foreign["attempts"][0]["userStatusBefore"] = "zq-marked".into();
    eventually(LIMIT, "the looser definition", async || env.apply(&foreign.to_string()).await).await?;
    let operator = env.run().await?;
    eventually(LIMIT, "the other record's effect", async || {
        let record = env.record("orphan").await?.unwrap_or_default();
        ensure!(record["effect"] == "Unknown", "{record}");
        anyhow::Ok(())
    })
    .await?;
    assert!(operator.logs().contains("unable to parse an object"), "{}", operator.logs());
    assert!(!operator.logs().contains("zq-marked"), "{}", operator.logs());
    assert!(env.record("foreign").await?.unwrap_or_default()["effect"].is_null());
    Ok(())
}

#[tokio::test]
async fn an_open_claim_beside_a_request_that_has_ended_is_settled() -> Result<()> {
    let env = Environment::start().await?;
    let claim = env.api.once(Matcher::path(Method::POST, RECORDS), Fault::HoldReply);
    let mut operator = env.run().await?;
    env.ask("restored").await?;
    let held = claim.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    // The state after an etcd restore with an older ledger, whose request has failed meanwhile.
    let failed = r#"{"status":{"outcome":"Failed"}}"#;
    env.kubectl(&["patch", "prr", "restored", "--subresource=status", "--type=merge", "-p", failed]).await?;
    let _operator = env.run().await?;
    eventually(LIMIT, "the claim to be settled", async || {
        let record = env.record("restored").await?.unwrap_or_default();
        ensure!(record["effect"] == "Unknown", "{record}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(
        (env.calls("restored"), env.get("prr", "restored").await?["status"]["outcome"].as_str()),
        (0, Some("Failed"))
    );
    Ok(())
}

#[tokio::test]
async fn endless_conflicts_end_the_reconcile_and_it_is_retried() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let status = Matcher::path(Method::PUT, "passwordresetrequests/contended/status");
    let conflict = env.api.always(status, Fault::Respond(Reply::kubernetes_error(409, "Conflict")));
    env.ask("contended").await?;
    eventually(LIMIT, "the pass to give up", async || {
        operator.logs().contains("has changed 10 times while it was worked on").then_some(())
    })
    .await?;
    assert!(conflict.hits() >= 10, "{}", conflict.hits());
    conflict.remove();
    assert_eq!(env.ended("contended").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("contended"), 1);
    Ok(())
}
