//! Responses that are made to exhaust or to mislead their reader: endless, slow, broken,
//! contradictory, or redirecting. Each is bounded in memory and time, and proves no more than it
//! says.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use testbed::Pour;
use tokio::net::TcpListener;

use super::*;
use crate::logs;

/// The memory that the Deployment allows the operator, in bytes.
const MEMORY: usize = 256 << 20;
const PIECE: usize = 1 << 16;
/// 64 MiB.
const MANY: usize = 1 << 10;
/// The connection is closed, so that the next call does not meet its remaining bytes.
const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
const BAD: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n";

fn pour(first: impl Into<Bytes>, again: impl Into<Bytes>, times: usize, pause: Duration) -> Fault {
    Fault::Pour(Pour { first: first.into(), again: again.into(), times, pause })
}

fn flood(first: &str, again: impl Into<Bytes>, times: usize) -> Fault {
    pour(first.to_owned(), again, times, Duration::ZERO)
}

fn drip(first: &str, again: &'static str) -> Fault {
    pour(first.to_owned(), again, usize::MAX, Duration::from_millis(200))
}

/// Sends this text and no more, and keeps the connection.
fn raw(text: impl Into<Bytes>) -> Fault {
    pour(text, "", 1, LIMIT)
}

fn piece() -> String {
    "a".repeat(PIECE)
}

fn declared(status: &str) -> Fault {
    flood(&format!("{status}content-length: {}\r\n\r\n", PIECE * MANY), piece(), MANY)
}

fn chunked() -> Fault {
    flood(&format!("{OK}transfer-encoding: chunked\r\n\r\n"), format!("{PIECE:x}\r\n{}\r\n", piece()), MANY)
}

/// Responses that come as fast as they are read.
fn floods() -> Vec<(&'static str, Fault)> {
    let coded = format!("{BAD}x-amzn-errortype: UserNotFoundException\r\n");
    vec![
        ("giant-declared", declared(OK)),
        ("giant-error", declared(&coded)),
        ("giant-chunked", chunked()),
        ("giant-gzip", flood(&format!("{OK}content-encoding: gzip\r\n\r\n\u{1f}"), piece(), MANY)),
        ("endless-body", flood(&format!("{OK}\r\n"), piece(), usize::MAX)),
        ("endless-headers", flood(OK, "x-more: a\r\n", usize::MAX)),
        ("endless-header", flood(&format!("{OK}x-more: "), piece(), usize::MAX)),
        ("endless-status", flood("HTTP/1.1 200 ", piece(), usize::MAX)),
        ("endless-information", flood("", "HTTP/1.1 103 Early Hints\r\n\r\n", usize::MAX)),
        (
            "endless-chunk-length",
            flood(&format!("{OK}transfer-encoding: chunked\r\n\r\n"), "0".repeat(PIECE), usize::MAX),
        ),
    ]
}

/// Responses that hardly come, or stop.
fn stalled() -> Vec<(&'static str, Fault)> {
    let coded = format!("{BAD}x-amzn-errortype: UserNotFoundException\r\n");
    vec![
        ("slow-body", drip(&format!("{OK}content-length: 1000\r\n\r\n"), " ")),
        ("slow-error", drip(&format!("{coded}content-length: 1000\r\n\r\n"), " ")),
        ("slow-headers", drip(OK, "x-more: a\r\n")),
        ("slow-status", drip("HTTP/1.1 ", "2")),
        ("silent", raw("")),
        ("silent-body", raw(format!("{OK}content-length: 2\r\n\r\n"))),
    ]
}

fn broken() -> Vec<(&'static str, Fault)> {
    let coded = |name: &str| raw(format!("{BAD}x-amzn-errortype: {name}\r\ncontent-length: 2\r\n\r\n{{}}"));
    let body = |status: &str, body: &str| raw(format!("{status}content-length: {}\r\n\r\n{body}", body.len()));
    let redirect = |status: &str| {
        raw(format!("HTTP/1.1 {status} Moved\r\nconnection: close\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"))
    };
    let nested = |open: &str| format!("{}{}", r#"{"__type":"UserNotFoundException","a":"#, open.repeat(100_000));
    vec![
        ("nested-arrays", body(BAD, &nested("["))),
        ("nested-objects", body(BAD, &nested(r#"{"a":"#))),
        ("nested-success", body(OK, &r#"{"a":"#.repeat(100_000))),
        ("two-types", body(BAD, r#"{"__type":"UserNotFoundException","__type":"InternalErrorException"}"#)),
        (
            "header-and-body-differ",
            raw(format!(
                "{BAD}x-amzn-errortype: UserNotFoundException\r\ncontent-length: 35\r\n\r\n{{\"__type\":\"InternalErrorException\"}}"
            )),
        ),
        ("code-turned-around", body(BAD, "{\"__type\":\"User\u{202e}NotFoundException\"}")),
        ("code-with-nul", body(BAD, r#"{"__type":"UserNotFoundException\u0000"}"#)),
        ("code-with-surrogate", body(BAD, r#"{"__type":"UserNotFoundException\ud800"}"#)),
        ("code-of-bytes", coded("UserNotFoundException\u{e9}")),
        ("folded-header", coded("UserNotFound\r\n Exception")),
        ("nul-in-header", coded("UserNotFoundException\0")),
        ("escape-in-header", coded("UserNotFoundException\u{1b}[2J")),
        ("gzip", raw([format!("{OK}content-encoding: gzip\r\ncontent-length: 22\r\n\r\n").as_bytes(), GZIP].concat())),
        ("switched", raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")),
        ("http-9", raw("HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n")),
        ("two-lengths", raw(format!("{OK}content-length: 0\r\ncontent-length: 5\r\n\r\n"))),
        ("negative-length", raw(format!("{OK}content-length: -1\r\n\r\n"))),
        ("short", raw(format!("{OK}content-length: 9\r\n\r\n{{}}"))),
        ("no-content", raw("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")),
        ("moved-301", redirect("301")),
        ("moved-302", redirect("302")),
        ("moved-307", redirect("307")),
        ("moved-308", redirect("308")),
    ]
}

/// An empty object, compressed.
const GZIP: &[u8] = &[31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 174, 5, 0, 67, 191, 166, 163, 2, 0, 0, 0];

/// Responses that are odd, and understood all the same.
fn understood() -> Vec<Row> {
    let row = |name: &str, fault, ends| Row { name: name.into(), spec: "", times: 1, fault, ends };
    let refused = || {
        ends("Failed/UserNotFoundException", "False", "NotPerformed", "CognitoResponse", Some("UserNotFoundException"))
    };
    let named = |name: &str| raw(format!("{BAD}x-amzn-errortype: {name}\r\ncontent-length: 2\r\n\r\n{{}}"));
    let new = "New".repeat(1000);
    let after_hints = format!(
        "HTTP/1.1 103 Early Hints\r\n\r\n{BAD}x-amzn-errortype: UserNotFoundException\r\ncontent-length: 0\r\n\r\n"
    );
    let page = r#"{"__type":"UserNotFoundException"}"#;
    vec![
        row("after-information", raw(after_hints), refused()),
        row(
            "http-1.0",
            pour(
                "HTTP/1.0 400 Bad Request\r\nx-amzn-errortype: UserNotFoundException\r\n\r\n{}",
                "",
                0,
                Duration::ZERO,
            ),
            refused(),
        ),
        row("as-html", Fault::Respond(Reply::new(400, page).header("content-type", "text/html")), refused()),
        row("code-with-decorations", named("a.b#UserNotFoundException:http://x/#y:z"), refused()),
        row(
            "code-with-namespaces",
            named("a#b#UserNotFoundException"),
            unknown("UnrecognizedError", Some("bUserNotFoundException")),
        ),
        row("code-without-end", named(&new), unknown("UnrecognizedError", Some(&new[..64]))),
        row(
            "id-without-end",
            Fault::Respond(Reply::new(200, "").header("x-amzn-requestid", &"a".repeat(10_000))),
            accepted(1, 1),
        ),
        row("id-of-signs", Fault::Respond(Reply::new(200, "").header("x-amzn-requestid", "<b>%0a'\"")), accepted(1, 1)),
    ]
}

#[tokio::test]
async fn a_malicious_response_is_bounded_and_proves_nothing_more() -> Result<()> {
    let env = Environment::start().await?;
    // Floods keep a small machine busy, so they come first and alone. A claim or a confirmation
    // of grants that is late costs another attempt, and a call whose time is over before it has
    // arrived is not counted.
    let patient = [
        "--rate=100",
        "--concurrency=4",
        "--claim-timeout=30s",
        "--api-timeout=30s",
        "--grant-freshness=60s",
        "--call-timeout=10s",
    ];
    let operator = env.run_with(env.operator().args(patient)).await?;
    let unsure = |faults: Vec<(&'static str, Fault)>| {
        let row = |(name, fault): (&str, Fault)| {
            let ends = unknown("OutcomeUnknown", None);
            Row { name: name.into(), spec: "", times: 1, fault, ends }
        };
        faults.into_iter().map(row).collect::<Vec<_>>()
    };
    let bounded = || {
        let peak = operator.peak_memory()?;
        assert!(peak < MEMORY, "the operator has used {peak} bytes");
        anyhow::Ok(())
    };
    for rows in [unsure(floods()), unsure(stalled()), unsure(broken()), understood()] {
        let ended = all_end(&env, rows).await;
        // An operator that is busy with reading ends requests otherwise, too: what it has read says
        // why.
        bounded()?;
        ended?;
    }
    for id in ["id-without-end", "id-of-signs"] {
        assert!(env.get("prr", id).await?["status"]["awsRequestID"].is_null(), "{id}");
    }
    // The same faults before the claim: nothing is claimed until the user has been read.
    for (name, fault) in [
        ("read-giant", chunked()),
        ("read-slow", drip(OK, "x-more: a\r\n")),
        ("read-endless", flood(&format!("{OK}\r\n"), piece(), usize::MAX)),
    ] {
        env.cognito.once(reads(name, 0..1), fault);
        env.ask(name).await?;
        assert_eq!(end_of(&env, name).await?, accepted(1, 1), "{name}");
    }
    bounded()?;
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn a_response_sent_ahead_is_not_taken_for_the_next_one() -> Result<()> {
    let env = Environment::start().await?;
    // The requests follow each other on one connection, if the client keeps it.
    let _operator = env.run_with(env.operator().args(["--concurrency=2"])).await?;
    let kept = |text: &str| text.replace("connection: close\r\n", "");
    let refusal = kept(&format!("{BAD}x-amzn-errortype: UserNotFoundException\r\ncontent-length: 2\r\n\r\n{{}}"));
    let success = kept(&format!("{OK}content-length: 0\r\n\r\n"));
    for (name, ahead) in [
        ("with-success", success.clone()),
        ("with-two", format!("{success}{success}")),
        ("with-garbage", "\u{0}\u{1}nonsense".into()),
    ] {
        env.cognito.once(Matcher::reset_of(name), raw(format!("{refusal}{ahead}")));
        env.ask(name).await?;
        assert_eq!(env.ended(name).await?, "Failed/UserNotFoundException");
        let next = format!("after-{name}");
        env.ask(&next).await?;
        assert_eq!(end_of(&env, &next).await?, accepted(1, 1), "{next}");
        assert_eq!(env.users.user_status(&env.pool, &next).await?, "RESET_REQUIRED");
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_leads_nowhere() -> Result<()> {
    let env = Environment::start().await?;
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let target = format!("http://{}/", elsewhere.local_addr()?);
    let _operator = env.run().await?;
    let redirect = |status| Fault::Respond(Reply::new(status, "").header("location", &target));
    let mut rows = Vec::new();
    for status in [300, 301, 302, 303, 305, 307, 308] {
        let name = format!("to-another-{status}");
        env.cognito.once(
            Matcher::operation("AdminGetUser").and({
                let name = name.clone();
                move |request| request.user().is_some_and(|(_, user)| user == name)
            }),
            redirect(status),
        );
        rows.push(Row { name, spec: "", times: 1, fault: redirect(status), ends: unknown("OutcomeUnknown", None) });
    }
    all_end(&env, rows).await?;
    let connected = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    ensure!(connected.is_err(), "something was sent elsewhere: {connected:?}");
    Ok(())
}

#[tokio::test]
async fn a_malicious_sts_gives_no_credentials_and_nothing_is_claimed() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-role", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/reset").await?;
    let operator = env.run_with(env.operator().args(["--retry-initial=20s", "--retry-max=20s"])).await?;
    let evil = "\u{1b}[2J\u{202e}\r\n{\"level\":\"ERROR\"}";
    let error = format!("<ErrorResponse><Error><Code>{evil}</Code><Message>{evil}</Message></Error></ErrorResponse>");
    let nested = format!("<AssumeRoleResponse>{}", "<a>".repeat(100_000));
    let cases = [
        ("giant", chunked()),
        ("endless", flood(&format!("{OK}\r\n"), piece(), usize::MAX)),
        ("slow", drip(&format!("{OK}content-length: 1000\r\n\r\n"), " ")),
        ("evil", Fault::Respond(Reply::new(403, error.clone()).header("content-type", "text/xml"))),
        ("wordy", Fault::Respond(Reply::new(403, error.replace(evil, &"\u{202e}".repeat(100_000))))),
        ("nested", Fault::Respond(Reply::new(200, nested))),
        ("empty", Fault::Respond(Reply::new(200, ""))),
        ("moved", Fault::Respond(Reply::new(307, "").header("location", "http://127.0.0.1:1/"))),
    ];
    let cases_made = cases.len();
    let assume = || Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
    for (name, fault) in cases {
        let rule = env.cognito.always(assume(), fault);
        env.ask(name).await?;
        env.becomes(name, "Pending/AwsCredentialsUnavailable").await?;
        assert!(env.record(name).await?.is_none(), "{name}");
        rule.remove();
    }
    let peak = operator.peak_memory()?;
    assert!(peak < MEMORY, "the operator has used {peak} bytes");
    // The log has failures of the same cause once a minute, and the metric counts all of them.
    let logs = operator.logs();
    assert!(logs.contains("no credentials for a reset"), "{logs}");
    let (_, metrics) = operator.page("/metrics").await?;
    let failures = metrics.lines().filter(|line| line.starts_with("cognito_reset_aws_failures_total{step=\"role\""));
    let counts = failures.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    assert!(counts.sum::<usize>() >= cases_made, "{metrics}");
    logs::is_sound(&operator.logs())
}
