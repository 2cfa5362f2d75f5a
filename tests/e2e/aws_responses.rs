//! Every row of the table of Cognito's errors, on the wire: HTTP through the real SDK, to the
//! record's effect, the conditions, and what happens next. See `docs/reasons.md` for what the
//! reasons mean.

mod malicious;

use std::{
    net::Ipv4Addr,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cognito_reset_api::Exception;
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Reply};
use tokio::net::{TcpSocket, TcpStream};

/// The meaning of an exception for the reset, as the documentation of the service and experience
/// have it.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// Nothing happened, and never will.
    No,
    /// Nothing happened; the operator has to slow down.
    Slower,
    /// Nothing happened; an administrator has to fix the cause.
    Mend,
    /// It may have happened.
    Perhaps,
    /// It may have happened, and something has certainly failed.
    PerhapsFailed,
}
use Says::{Mend, No, Perhaps, PerhapsFailed, Slower};

const EXCEPTIONS: &[(&str, u16, Says)] = &[
    ("InternalErrorException", 500, Perhaps),
    ("InvalidEmailRoleAccessPolicyException", 400, PerhapsFailed),
    ("InvalidLambdaResponseException", 400, PerhapsFailed),
    ("InvalidParameterException", 400, No),
    ("InvalidSmsRoleAccessPolicyException", 400, PerhapsFailed),
    ("InvalidSmsRoleTrustRelationshipException", 400, PerhapsFailed),
    ("LimitExceededException", 400, PerhapsFailed),
    ("NotAuthorizedException", 400, No),
    ("ResourceNotFoundException", 400, No),
    ("TooManyRequestsException", 400, Slower),
    ("UnexpectedLambdaException", 400, PerhapsFailed),
    ("UserLambdaValidationException", 400, PerhapsFailed),
    ("UserNotFoundException", 400, No),
    ("OperationNotEnabledException", 400, No),
    ("CodeDeliveryFailureException", 400, PerhapsFailed),
    ("ThrottlingException", 400, Slower),
    ("RequestLimitExceeded", 503, Slower),
    ("ServiceUnavailable", 503, Perhaps),
    ("AccessDeniedException", 400, Mend),
    ("ExpiredToken", 403, Mend),
    ("ExpiredTokenException", 400, Mend),
    ("UnrecognizedClientException", 400, Mend),
    ("InvalidSignatureException", 400, Mend),
    ("IncompleteSignature", 400, Mend),
    ("MissingAuthenticationToken", 403, Mend),
    ("OptInRequired", 403, Mend),
    ("RequestExpired", 400, Mend),
    ("BrandNewException", 400, PerhapsFailed),
];

/// A request, what meets its calls, and how it has to end.
struct Row {
    name: String,
    /// Further lines of its spec.
    spec: &'static str,
    /// The number of calls that meet the fault.
    times: usize,
    fault: Fault,
    ends: Ends,
}

/// The end of a request: all that its status and its record say, and the calls that arrived.
#[derive(Debug, PartialEq)]
struct Ends {
    outcome: String,
    invalidated: &'static str,
    effect: &'static str,
    evidence: &'static str,
    code: Option<String>,
    calls: usize,
    attempts: usize,
}

/// Ends after one call.
fn ends(
    outcome: &str,
    invalidated: &'static str,
    effect: &'static str,
    evidence: &'static str,
    code: Option<&str>,
) -> Ends {
    Ends { outcome: outcome.into(), invalidated, effect, evidence, code: code.map(Into::into), calls: 1, attempts: 1 }
}

fn accepted(calls: usize, attempts: usize) -> Ends {
    Ends { calls, attempts, ..ends("Succeeded/ResetAccepted", "True", "Performed", "CognitoResponse", None) }
}

fn confirmed(code: Option<&str>) -> Ends {
    ends("Succeeded/ConfirmedByProbe", "True", "Performed", "UserStatusCheck", code)
}

fn unknown(reason: &str, code: Option<&str>) -> Ends {
    ends(&format!("Unknown/{reason}"), "Unknown", "Unknown", "Inconclusive", code)
}

/// The rows of the table for one exception.
fn rows_of(code: &'static str, status: u16, says: Says) -> Vec<Row> {
    let reason = if Exception::from_code(code).is_some() { code } else { "UnrecognizedError" };
    let row = |what: &str, times, fault, ends| Row {
        name: format!("{what}.{}", code.to_lowercase()),
        spec: "",
        times,
        fault,
        ends,
    };
    let exception = Reply::aws_error(status, code);
    let alone = Fault::Respond(exception.clone());
    let after_reset = Fault::ForwardThenRespond(exception);
    match says {
        No => {
            let refused = ends(&format!("Failed/{reason}"), "False", "NotPerformed", "CognitoResponse", Some(code));
            vec![row("refused", usize::MAX, alone, refused)]
        }
        Slower => vec![row("throttled", 2, alone, accepted(3, 3))],
        Mend => vec![
            row("mended", 2, alone.clone(), accepted(3, 3)),
            Row {
                spec: "deadlineSeconds: 20",
                ..row(
                    "not-mended",
                    usize::MAX,
                    alone,
                    // The number of calls is open: there are as many as the deadline allows.
                    ends("Failed/DeadlineExceeded", "False", "NotPerformed", "CognitoResponse", Some(code)),
                )
            },
        ],
        Perhaps => vec![
            row("nothing", 1, alone, unknown(reason, Some(code))),
            row("performed", 1, after_reset, confirmed(Some(code))),
        ],
        PerhapsFailed => {
            let failed = ends(&format!("Failed/{reason}"), "True", "Performed", "UserStatusCheck", Some(code));
            vec![row("nothing", 1, alone, unknown(reason, Some(code))), row("performed", 1, after_reset, failed)]
        }
    }
}

/// Common errors by the names that the other protocol has for them: blocked, so that the call is
/// made again.
fn renamed_rows() -> Vec<Row> {
    let names = ["IncompleteSignatureException", "MissingAuthenticationTokenException", "AccessDenied"];
    let row = |name: &str| Row {
        name: format!("renamed.{}", name.to_lowercase()),
        spec: "",
        times: 2,
        fault: Fault::Respond(Reply::aws_error(400, name)),
        ends: accepted(3, 3),
    };
    names.map(row).into()
}

/// Responses that are no exception, or that name their exception in another form.
fn other_rows() -> Vec<Row> {
    let html = |status| Reply::new(status, "<html>by a proxy</html>").header("content-type", "text/html");
    let json = |status, body: Value| Reply::new(status, body.to_string());
    let not_found = |name, reply| {
        let refused = ends(
            "Failed/UserNotFoundException",
            "False",
            "NotPerformed",
            "CognitoResponse",
            Some("UserNotFoundException"),
        );
        (name, Fault::Respond(reply), refused)
    };
    let unsure = |name, fault| (name, fault, unknown("OutcomeUnknown", None));
    let performed = |name, fault| (name, fault, confirmed(None));
    let rows = [
        ("accepted", Fault::Delay(Duration::ZERO), accepted(1, 1)),
        not_found("code-in-type", json(400, json!({ "__type": "UserNotFoundException" }))),
        not_found(
            "code-in-namespace",
            json(400, json!({ "__type": "com.amazonaws.cognito.idp#UserNotFoundException" })),
        ),
        not_found("code-in-header", json(400, json!({})).header("x-amzn-errortype", "UserNotFoundException")),
        not_found(
            "code-with-url",
            json(400, json!({})).header("x-amzn-errortype", "UserNotFoundException:http://internal.amazon.com/coral/"),
        ),
        unsure("no-code-400", Fault::Respond(json(400, json!({ "message": "UserNotFoundException" })))),
        unsure("refusal-502", Fault::Respond(Reply::aws_error(502, "UserNotFoundException"))),
        unsure("denial-500", Fault::Respond(Reply::aws_error(500, "AccessDeniedException"))),
        unsure("no-code-500", Fault::Respond(json(500, json!({})))),
        unsure("code-of-signs", Fault::Respond(json(400, json!({ "__type": "\u{202e}\n" })))),
        unsure("html-200", Fault::Respond(html(200))),
        unsure("html-400", Fault::Respond(html(400))),
        unsure("html-502", Fault::Respond(html(502))),
        unsure("redirect", Fault::Respond(Reply::new(307, "").header("location", "/elsewhere"))),
        unsure("garbage", Fault::Garbage("\u{0}nonsense".into())),
        unsure("lost-before", Fault::LoseBefore),
        unsure("late", Fault::Late(Duration::from_secs(4))),
        performed("html-after", Fault::ForwardThenRespond(html(502))),
        performed("lost-after", Fault::ForwardThenLose),
        performed("truncated", Fault::Truncate),
    ];
    rows.map(|(name, fault, ends)| Row { name: name.into(), spec: "", times: 1, fault, ends }).into()
}

async fn end_of(env: &Environment, name: &str) -> Result<Ends> {
    let outcome = env.ended(name).await?;
    let request = env.get("prr", name).await?;
    let record = env.record(name).await?.context("no record")?;
    // The deadline may pass between the last claim and its call, or a response to another call may
    // stop it.
    let sent = |attempt: &&Value| attempt["evidence"] != "NeverSent";
    let all = record["attempts"].as_array().context("no attempts")?;
    let last = all.iter().rfind(sent).context("no attempts that were sent")?.clone();
    let never_sent = all.len() - all.iter().filter(sent).count();
    let text = |value: &Value| -> &'static str { value.as_str().unwrap_or("-").to_owned().leak() };
    Ok(Ends {
        outcome,
        invalidated: text(&condition(&request, "PasswordInvalidated")["status"]),
        effect: text(&record["effect"]),
        evidence: text(&last["evidence"]),
        code: last["exceptionCode"].as_str().map(Into::into),
        calls: env.cognito.resets_of_user(name),
        attempts: usize::try_from(request["status"]["attempts"].as_u64().context("no attempts")?)? - never_sent,
    })
}

/// Regions for pools, so many that the calls of none are stopped by lost responses.
const REGIONS: [&str; 24] = [
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ca-central-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "sa-east-1",
    "us-east-1",
    "us-west-2",
];

/// Applies these requests at once, and compares how each ends. Each is for a pool of its own,
/// because a failed delivery stops its pool.
async fn all_end(env: &Environment, rows: Vec<Row>) -> Result<()> {
    let pool_with = async |region: &str, name: &str| {
        let pool = env.another_pool(region, name).await?;
        env.users.create_user(&pool, name).await?;
        anyhow::Ok(pool)
    };
    let mut manifests = String::new();
    for (row, region) in rows.iter().zip(REGIONS.iter().cycle()) {
        let pool = pool_with(region, &row.name).await?;
        env.cognito.times(row.times, Matcher::reset_of(&row.name), row.fault.clone());
        manifests += &format!("---\n{}\n", env.request(&row.name, &row.name, row.spec).replace(&env.pool, &pool));
    }
    env.apply(&manifests).await?;
    let mut wrong = Vec::new();
    for row in rows {
        let mut ended = end_of(env, &row.name).await?;
        let repeated = ended.calls > 1 && ended.calls == ended.attempts;
        if row.ends.outcome == "Failed/DeadlineExceeded" && repeated {
            (ended.calls, ended.attempts) = (row.ends.calls, row.ends.attempts);
        }
        if ended != row.ends {
            wrong.push(format!("{}:\n  wanted {:?}\n  got    {ended:?}", row.name, row.ends));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_exception_that_is_known_has_a_row() {
    for exception in Exception::ALL {
        assert!(
            EXCEPTIONS.iter().any(|(code, ..)| *code == exception.code()),
            "EXCEPTIONS has no {}",
            exception.code()
        );
    }
}

#[tokio::test]
async fn every_response_of_cognito_is_handled_as_the_table_says() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.operator().args(["--rate=100"])).await?;
    let rows = |throttling| {
        let exceptions = EXCEPTIONS.iter().filter(move |(.., says)| (*says == Slower) == throttling);
        exceptions.flat_map(|&(code, status, says)| rows_of(code, status, says))
    };
    all_end(&env, rows(false).chain(renamed_rows()).chain(other_rows()).collect()).await?;
    // After the others, for they slow the Region down.
    all_end(&env, rows(true).collect()).await
}

/// The reads of this user whose number, counted from 0, is one of these. The first is the snapshot
/// before the claim.
fn reads(user: &'static str, numbers: Range<usize>) -> Matcher {
    let seen = AtomicUsize::new(0);
    Matcher::operation("AdminGetUser")
        .and(move |request| request.user().is_some_and(|(_, name)| name == user))
        .and(move |_| numbers.contains(&seen.fetch_add(1, Ordering::SeqCst)))
}

#[tokio::test]
async fn a_probe_proves_a_reset_only_by_a_changed_user_status() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let unknown = |invalidated| Ends { invalidated, ..unknown("OutcomeUnknown", None) };
    // The user is quicker than the probe, or somebody else resets the user while a call is lost.
    for (name, fault, wanted) in
        [("completed", Fault::HoldReply, unknown("Unknown")), ("by-another", Fault::Hold, confirmed(None))]
    {
        let rule = env.cognito.once(Matcher::reset_of(name), fault);
        env.ask(name).await?;
        let held = rule.held(LIMIT).await?;
        match name {
            "completed" => env.users.confirm(&env.pool, name).await?,
            _ => env.users.reset(&env.pool, name).await?,
        }
        held.lose();
        assert_eq!(end_of(&env, name).await?, wanted, "{name}");
    }

    // The reply is lost after the reset; these reads are refused. A user who is not read before the
    // claim has a record without `sub`, so that no probe is believed for a while, and comes last.
    let cases = [
        ("all-read", 0..0, confirmed(None)),
        ("read-at-last", 1..3, confirmed(None)),
        ("reset-before", 0..0, unknown("True")),
        ("not-read-before", 0..1, unknown("True")),
        ("not-read-after", 1..9, unknown("Unknown")),
        ("never-read", 0..9, unknown("Unknown")),
    ];
    for (name, refused, wanted) in cases {
        env.users.create_user(&env.pool, name).await?;
        if name == "reset-before" {
            env.users.reset(&env.pool, name).await?;
        }
        let refuse = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
        env.cognito.always(reads(name, refused), refuse);
        env.cognito.once(Matcher::reset_of(name), Fault::ForwardThenLose);
        env.apply(&env.request(name, name, "")).await?;
        assert_eq!(end_of(&env, name).await?, wanted, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn request_waits_without_an_attempt_while_no_connection_is_made() -> Result<()> {
    let env = Environment::start().await?;
    let here = Ipv4Addr::LOCALHOST;
    // A port that is bound but does not listen refuses connections. A port whose queue is full does
    // not respond to them.
    let refusing = TcpSocket::new_v4()?;
    refusing.bind((here, 0).into())?;
    let full = TcpSocket::new_v4()?;
    full.bind((here, 0).into())?;
    let full = full.listen(1)?;
    let silent = full.local_addr()?;
    let crowd: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(silent))).collect();
    let endpoints = [
        ("refused", format!("http://{}", refusing.local_addr()?), "Refused", "connection refused"),
        ("unresolved", "http://cognito.invalid".to_owned(), "Dns", "DNS does not resolve the server's name"),
        ("silent", format!("http://{silent}"), "TimedOut", "timed out"),
        // The proxy before the emulator does not use TLS.
        ("plain", env.cognito.url().replace("http://", "https://"), "Tls", "TLS handshake failed"),
    ];
    for (name, endpoint, cause, in_words) in &endpoints {
        let slow = ["--retry-initial=20s", "--retry-max=20s", "--connect-timeout=500ms"];
        let operator = env.run_with(env.operator().cognito(endpoint).args(slow)).await?;
        env.ask(name).await?;
        let wanted = format!("AdminGetUser failed ({in_words}); nothing was sent, retrying");
        env.says(name, &wanted).await?;
        assert_eq!(env.state(name).await?, "Pending/CognitoUnreachable");
        ensure!(env.record(name).await?.is_none(), "{name} has a record");
        assert!(operator.logs().contains(in_words), "{}", operator.logs());
        let (_, metrics) = operator.page("/metrics").await?;
        let counted = format!("cognito_reset_aws_failures_total{{step=\"read\",cause=\"{cause}\"}} ");
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
    }
    drop(crowd);
    let _operator = env.run().await?;
    for (name, ..) in &endpoints {
        assert_eq!(end_of(&env, name).await?, accepted(1, 1), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_call_without_a_connection_is_not_sent_and_is_retried() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run_with(env.operator().args(["--retry-initial=20s", "--retry-max=20s"])).await?;
    // The user is read, and then, while the claim is written, connections begin to be refused.
    let claim = env.api.once(Matcher::path(Method::POST, "/passwordresetrecords"), Fault::HoldReply);
    env.ask("refused").await?;
    let claimed = claim.held(LIMIT).await?;
    env.cognito.close().await;
    claimed.release();
    env.says("refused", "cannot connect to Cognito (connection refused); nothing was sent, retrying").await?;
    let record = env.record("refused").await?.context("no record")?;
    let last = record["attempts"].as_array().and_then(|attempts| attempts.last()).context("no attempts")?;
    assert_eq!((&record["effect"], &last["evidence"]), (&json!("NotPerformed"), &json!("Unreachable")));
    assert_eq!((&last["cause"], &last["sentAt"]), (&json!("Refused"), &Value::Null));
    let (_, metrics) = operator.page("/metrics").await?;
    let counted = "cognito_reset_aws_failures_total{step=\"reset\",cause=\"Refused\"} ";
    assert!(metrics.contains(counted), "{counted}: {metrics}");
    env.cognito.open().await?;
    assert_eq!(end_of(&env, "refused").await?, accepted(1, 2));
    Ok(())
}
