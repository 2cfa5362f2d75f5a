//! How each fault is injected into what runs, and undone.
//!
//! The named points at which a replica is killed or stopped are bounded by what a proxy holds: the very request, or the
//! reply to it. That needs no code for it in the operator: what is killed is the release binary as it is.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use tokio::time::{Instant, sleep};

use super::{
    faults::{Break, Fault, Jump, Point, Stream, Trouble, Verb},
    random::Random,
    replica::Replica,
    stage::Stage,
};
use crate::{Fault as Broken, FaultProxy, Held, Matcher, Reply, Rule, Seen};

/// For how long a fault waits for what it is to meet.
const HIT: Duration = Duration::from_secs(10);
/// Longer than every time limit: another's open claim is waited for 7 s, a frozen watch 8 s, a lease 2 s.
const STOPPED: Duration = Duration::from_millis(8500);
/// Beyond the time limit of a second, and within the 7 s after which an open claim is resolved, or beyond them.
const LATE: [Duration; 3] = [Duration::from_millis(1300), Duration::from_secs(3), Duration::from_secs(9)];

const RESET: &str = "AdminResetUserPassword";
const RECORDS: &str = "/passwordresetrecords";

/// Injects a fault, and undoes it. False when it has met nothing: then it was none.
pub(super) async fn inject(stage: &Stage, fault: Fault, random: &mut Random) -> Result<bool> {
    match fault {
        Fault::KillAt(point) => at(stage, point, random, false).await,
        Fault::StopAt(point) => at(stage, point, random, true).await,
        Fault::Kill => kill(stage, random).await,
        Fault::Stop => stop(stage, random).await,
        Fault::KillApiServer => kill_api_server(stage, random).await,
        Fault::KillEtcd => kill_etcd(stage, random).await,
        Fault::CutConnections => cut(stage.worker(random).await?, random).await,
        Fault::Watch(stream) => watch(stage.worker(random).await?, stream, random).await,
        Fault::Api(verb, how) => api(stage, verb, how, random).await,
        Fault::Reset(trouble) => {
            let proxy = &stage.worker(random).await?.cognito;
            some(proxy, || Matcher::operation(RESET), trouble_for_reset(trouble, random), random).await
        }
        Fault::Probe(trouble) => {
            let proxy = &stage.worker(random).await?.cognito;
            some(proxy, || Matcher::operation("AdminGetUser"), trouble_for_reset(trouble, random), random).await
        }
        Fault::AssumeRole(trouble) => {
            let proxy = &stage.worker(random).await?.cognito;
            some(proxy, assume_role, trouble_for_role(trouble, random), random).await
        }
        Fault::Clock(jump) => clock(stage.worker(random).await?, jump, random).await,
    }
}

/// Waits until the rule has met something, a little longer, and takes it away.
async fn met(rule: &Rule, random: &mut Random) -> bool {
    let end = Instant::now() + HIT;
    while rule.hits() == 0 && Instant::now() < end {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(random.up_to(Duration::from_millis(200))).await;
    rule.remove();
    rule.hits() > 0
}

/// Breaks one to three requests.
async fn some(proxy: &FaultProxy, matcher: impl Fn() -> Matcher, broken: Broken, random: &mut Random) -> Result<bool> {
    let rule = proxy.times(1 + random.below(3), matcher(), broken);
    Ok(met(&rule, random).await)
}

fn matcher(verb: Verb) -> Matcher {
    let path = |method, path: &'static str| Matcher::path(method, path);
    let watch = |path: &'static str| {
        Matcher::path(Method::GET, path).and(|seen| seen.path.contains("watch=true") || seen.path.contains("watch=1"))
    };
    match verb {
        Verb::GetRequest => path(Method::GET, "/passwordresetrequests/"),
        Verb::ListRequests => path(Method::GET, "/passwordresetrequests?")
            .and(|seen| seen.path.contains("status.outcome") && !seen.path.contains("watch=")),
        Verb::WatchRequests => watch("/passwordresetrequests?"),
        Verb::UpdateStatus => path(Method::PUT, "/passwordresetrequests/"),
        Verb::GetRecord => path(Method::GET, "/passwordresetrecords/"),
        Verb::ListRecords => path(Method::GET, "/passwordresetrecords?").and(|seen| seen.path.contains("effect")),
        Verb::CreateRecord => path(Method::POST, RECORDS),
        Verb::UpdateRecord => path(Method::PUT, RECORDS),
        Verb::WatchGrants => watch("/userpoolgrants?"),
        Verb::WatchNamespaces => watch("/namespaces?"),
        Verb::CreateEvent => path(Method::POST, "/events"),
        Verb::GetLease => path(Method::GET, "/leases/"),
        Verb::UpdateLease => path(Method::PUT, "/leases/"),
    }
}

async fn api(stage: &Stage, verb: Verb, how: Break, random: &mut Random) -> Result<bool> {
    let broken = match how {
        Break::Answer(status) => Broken::Respond(Reply::kubernetes_error(status, reason(status))),
        Break::AnswerAfter(status) => Broken::ForwardThenRespond(Reply::kubernetes_error(status, reason(status))),
        Break::LostBefore => Broken::LoseBefore,
        Break::LostAfter => Broken::ForwardThenLose,
        Break::Late => Broken::Late(*random.pick(&LATE)),
    };
    // A reply of a watch that is to be seen whole would be waited for until the watch ends.
    let broken = match (verb, broken) {
        (Verb::WatchRequests | Verb::WatchGrants | Verb::WatchNamespaces, Broken::ForwardThenLose) => {
            Broken::Cut(Duration::ZERO)
        }
        (Verb::WatchRequests | Verb::WatchGrants | Verb::WatchNamespaces, Broken::ForwardThenRespond(reply)) => {
            Broken::Respond(reply)
        }
        (_, broken) => broken,
    };
    match verb {
        // Only one that stands by looks at the lease; a leader renews it.
        Verb::GetLease => {
            let leader = stage.worker(random).await?;
            let other = stage.replicas.iter().find(|replica| replica.name != leader.name).unwrap_or(leader);
            some(&other.api, || matcher(verb), broken, random).await
        }
        // Read when a replica begins to work: one that has just been killed.
        Verb::ListRequests => {
            let rules = stage.replicas.each_ref().map(|it| it.api.times(2, matcher(verb), broken.clone()));
            let replica = stage.worker(random).await?;
            {
                let _alone = replica.process.lock().await;
                replica.kill().await?;
                replica.ensure_running().await?;
            }
            let end = Instant::now() + HIT;
            while rules.iter().all(|rule| rule.hits() == 0) && Instant::now() < end {
                sleep(Duration::from_millis(5)).await;
            }
            rules.iter().for_each(Rule::remove);
            Ok(rules.iter().any(|rule| rule.hits() > 0))
        }
        _ => some(&stage.worker(random).await?.api, || matcher(verb), broken, random).await,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "Timeout",
    }
}

async fn watch(replica: &Replica, stream: Stream, random: &mut Random) -> Result<bool> {
    let broken = match stream {
        Stream::Cut => Broken::Cut(random.up_to(Duration::from_millis(500))),
        Stream::Frozen => Broken::Freeze(random.up_to(Duration::from_millis(500))),
        Stream::Lagging => Broken::Lag(Duration::from_millis(200 + random.below(1300) as u64)),
    };
    let verb = *random.pick(&[Verb::WatchRequests, Verb::WatchRequests, Verb::WatchGrants, Verb::WatchNamespaces]);
    some(&replica.api, || matcher(verb), broken, random).await
}

async fn cut(replica: &Replica, random: &mut Random) -> Result<bool> {
    replica.api.close().await?;
    sleep(random.up_to(Duration::from_millis(2500))).await;
    replica.api.open().await?;
    Ok(true)
}

/// The error's code is one of those that say the same.
fn exception(codes: &[(u16, &str)], random: &mut Random) -> Reply {
    let (status, code) = *random.pick(codes);
    Reply::aws_error(status, code)
}

fn trouble_for_reset(trouble: Trouble, random: &mut Random) -> Broken {
    let internal = &[(500, "InternalErrorException"), (503, "ServiceUnavailable")];
    let failed = &[
        (400, "CodeDeliveryFailureException"),
        (400, "UserLambdaValidationException"),
        (400, "UnexpectedLambdaException"),
        (400, "InvalidLambdaResponseException"),
        (400, "InvalidEmailRoleAccessPolicyException"),
        (400, "InvalidSmsRoleAccessPolicyException"),
        (400, "InvalidSmsRoleTrustRelationshipException"),
        (400, "LimitExceededException"),
    ];
    let page = || {
        let status = 200;
        Reply::new(status, "<html><body>Please sign in to the network</body></html>")
            .header("content-type", "text/html")
    };
    match trouble {
        Trouble::Refused => Broken::Respond(exception(
            &[
                (400, "UserNotFoundException"),
                (400, "NotAuthorizedException"),
                (400, "InvalidParameterException"),
                (400, "ResourceNotFoundException"),
                (400, "OperationNotEnabledException"),
            ],
            random,
        )),
        Trouble::Throttled => Broken::Respond(exception(
            &[(400, "TooManyRequestsException"), (400, "ThrottlingException"), (503, "RequestLimitExceeded")],
            random,
        )),
        Trouble::Denied => Broken::Respond(exception(
            &[
                (400, "AccessDeniedException"),
                (403, "InvalidSignatureException"),
                (400, "UnrecognizedClientException"),
                (403, "OptInRequired"),
            ],
            random,
        )),
        Trouble::ExpiredCredentials => Broken::Respond(exception(
            &[(400, "ExpiredTokenException"), (403, "ExpiredToken"), (400, "RequestExpired")],
            random,
        )),
        Trouble::InternalError => Broken::Respond(exception(internal, random)),
        Trouble::InternalErrorAfter => Broken::ForwardThenRespond(exception(internal, random)),
        Trouble::Failed => Broken::Respond(exception(failed, random)),
        Trouble::FailedAfter => Broken::ForwardThenRespond(exception(failed, random)),
        Trouble::Unrecognized => Broken::Respond(Reply::aws_error(400, "BrandNewException")),
        Trouble::UnrecognizedAfter => Broken::ForwardThenRespond(Reply::aws_error(400, "BrandNewException")),
        Trouble::Slow => Broken::Delay(random.up_to(Duration::from_millis(1500))),
        Trouble::Late => Broken::Late(*random.pick(&LATE)),
        Trouble::LostBefore => Broken::LoseBefore,
        Trouble::LostAfter => Broken::ForwardThenLose,
        Trouble::Garbage => Broken::Garbage(b"\x16\x03\x01\x00\x05hello\r\n\r\n".as_slice().into()),
        Trouble::Html => Broken::Respond(page()),
        Trouble::HtmlAfter => Broken::ForwardThenRespond(page()),
        Trouble::Truncated => Broken::Truncate,
    }
}

fn assume_role() -> Matcher {
    Matcher::new(|seen: &Seen| {
        let action = b"Action=AssumeRole".as_slice();
        seen.body.windows(action.len()).any(|part| part == action)
    })
}

fn trouble_for_role(trouble: Trouble, random: &mut Random) -> Broken {
    let error = |code: &str| {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>made up by the test</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        Broken::Respond(Reply::new(403, body).header("content-type", "text/xml"))
    };
    match trouble {
        Trouble::Denied => error("AccessDenied"),
        Trouble::ExpiredCredentials => error("ExpiredToken"),
        other => trouble_for_reset(other, random),
    }
}

/// What holds the request, or the reply, that bounds a point.
fn hold(replica: &Replica, point: Point) -> Rule {
    let claims_again = |seen: &Seen| seen.json().get("effect").is_none();
    let again = || matcher(Verb::UpdateRecord).and(claims_again);
    let effect = || matcher(Verb::UpdateRecord).and(move |seen| !claims_again(seen));
    let call = || Matcher::operation(RESET);
    let ends = || matcher(Verb::UpdateStatus).and(|seen| seen.json().pointer("/status/completionTime").is_some());
    match point {
        Point::BeforeClaim => replica.api.once(matcher(Verb::CreateRecord), Broken::Hold),
        Point::AfterClaim => replica.api.once(matcher(Verb::CreateRecord), Broken::HoldReply),
        Point::BeforeClaimAgain => replica.api.once(again(), Broken::Hold),
        Point::AfterClaimAgain => replica.api.once(again(), Broken::HoldReply),
        Point::BeforeCall => replica.cognito.once(call(), Broken::Hold),
        Point::AfterCall => replica.cognito.once(call(), Broken::HoldReply),
        Point::BeforeEffect => replica.api.once(effect(), Broken::Hold),
        Point::AfterEffect => replica.api.once(effect(), Broken::HoldReply),
        Point::BeforeStatus => replica.api.once(ends(), Broken::Hold),
        Point::AfterStatus => replica.api.once(ends(), Broken::HoldReply),
    }
}

/// Kills, or stops, a replica at a point.
async fn at(stage: &Stage, point: Point, random: &mut Random, only_stop: bool) -> Result<bool> {
    let replica = stage.worker(random).await?;
    let rule = hold(replica, point);
    // Further claims are rare: they follow an answer that proves that nothing happened.
    let before = matches!(point, Point::BeforeClaimAgain | Point::AfterClaimAgain).then(|| {
        let broken = trouble_for_reset(Trouble::Throttled, random);
        replica.cognito.times(2, Matcher::operation(RESET), broken)
    });
    let held = rule.held(HIT).await;
    before.iter().for_each(Rule::remove);
    let Ok(held) = held else {
        rule.release_all().await;
        return Ok(false);
    };
    let _alone = replica.process.lock().await;
    if only_stop { stop_held(replica, held).await } else { kill_held(replica, held, random).await }
}

async fn kill_held(replica: &Replica, held: Held, random: &mut Random) -> Result<bool> {
    // Whoever has given up by now is past the point.
    let in_time = !held.is_abandoned();
    let killed = replica.kill().await?;
    held.lose();
    sleep(random.up_to(Duration::from_millis(300))).await;
    replica.ensure_running().await?;
    Ok(in_time && killed)
}

async fn stop_held(replica: &Replica, held: Held) -> Result<bool> {
    let in_time = !held.is_abandoned();
    let stopped = freeze(replica, async || held.release()).await?;
    Ok(in_time && stopped)
}

/// Stops the replica's process for longer than every time limit, and says whether it was so for all that time.
async fn freeze(replica: &Replica, then: impl AsyncFnOnce()) -> Result<bool> {
    if let Some(operator) = replica.operator().await.as_ref() {
        operator.sigstop()?;
    }
    then().await;
    let begun = replica.state().await;
    sleep(STOPPED).await;
    let ended = replica.state().await;
    if let Some(operator) = replica.operator().await.as_ref() {
        operator.sigcont()?;
    }
    Ok(begun.is_some_and(|(_, state)| state == 'T') && begun == ended)
}

async fn kill(stage: &Stage, random: &mut Random) -> Result<bool> {
    let replica = stage.any(random);
    let _alone = replica.process.lock().await;
    let killed = replica.kill().await?;
    sleep(random.up_to(Duration::from_millis(500))).await;
    replica.ensure_running().await?;
    Ok(killed)
}

async fn stop(stage: &Stage, random: &mut Random) -> Result<bool> {
    let replica = stage.worker(random).await?;
    let _alone = replica.process.lock().await;
    freeze(replica, async || {}).await
}

async fn kill_api_server(stage: &Stage, random: &mut Random) -> Result<bool> {
    let mut cluster = stage.cluster.lock().await;
    cluster.kill_api_server().await?;
    sleep(random.up_to(Duration::from_secs(1))).await;
    cluster.restart_api_server().await?;
    Ok(true)
}

async fn kill_etcd(stage: &Stage, random: &mut Random) -> Result<bool> {
    let mut cluster = stage.cluster.lock().await;
    cluster.kill_etcd().await?;
    sleep(random.up_to(Duration::from_secs(1))).await;
    cluster.restart_etcd().await?;
    Ok(true)
}

async fn clock(replica: &Replica, jump: Jump, random: &mut Random) -> Result<bool> {
    let _alone = replica.process.lock().await;
    let before = replica.clock.told()?;
    replica.clock.set(jump.seconds())?;
    sleep(Duration::from_millis(300) + random.up_to(Duration::from_secs(2))).await;
    replica.clock.set(0)?;
    Ok(replica.clock.told()? > before)
}
