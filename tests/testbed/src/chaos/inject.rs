//! Injects each fault into the running processes, and undoes it.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use tokio::time::{Instant, sleep};

use super::{
    environment::Environment,
    faults::{Fault, Stream},
    processes,
    random::Random,
    replica::Replica,
    responses::{late, to_assume_role, to_cognito},
    verbs::{Break, Verb},
};
use crate::{Fault as Broken, FaultProxy, Matcher, Reply, Rule, Seen};

/// The time for which a fault waits for a request to meet.
pub(super) const HIT: Duration = Duration::from_secs(6);
/// The same for rare requests: it includes a while in which no replica is ended.
const RARELY_HIT: Duration = Duration::from_secs(25);
pub(super) const RESET: &str = "AdminResetUserPassword";

/// Injects a fault, and undoes it. Returns false if it has met nothing: then there was no fault.
pub(super) async fn inject(environment: &Environment, fault: Fault, random: &mut Random) -> Result<bool> {
    match fault {
        Fault::KillAt(point) => processes::at(environment, point, random, false).await,
        Fault::StopAt(point) => processes::at(environment, point, random, true).await,
        Fault::Kill => processes::kill(environment, random).await,
        Fault::Stop => processes::stop(environment, random).await,
        Fault::KillApiServer => processes::kill_api_server(environment, random).await,
        Fault::KillEtcd => processes::kill_etcd(environment, random).await,
        Fault::CutConnections => cut(environment.worker(random).await?, random).await,
        Fault::Watch(stream) => watch(environment.worker(random).await?, stream, random).await,
        Fault::Api(verb, how) => api(environment, verb, how, random).await,
        Fault::Reset(trouble) => {
            let proxy = &environment.worker(random).await?.cognito;
            some(proxy, || Matcher::operation(RESET), to_cognito(trouble, random), random).await
        }
        Fault::Probe(trouble) => {
            let proxy = &environment.worker(random).await?.cognito;
            some(proxy, || Matcher::operation("AdminGetUser"), to_cognito(trouble, random), random).await
        }
        Fault::AssumeRole(trouble) => {
            let proxy = &environment.worker(random).await?.cognito;
            some(proxy, assume_role, to_assume_role(trouble, random), random).await
        }
        Fault::Clock(jump) => processes::clock(environment.worker(random).await?, jump, random).await,
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

async fn api(environment: &Environment, verb: Verb, how: Break, random: &mut Random) -> Result<bool> {
    let broken = match how {
        Break::Respond(status) => Broken::Respond(Reply::kubernetes_error(status, reason(status))),
        Break::AnswerAfter(status) => Broken::ForwardThenRespond(Reply::kubernetes_error(status, reason(status))),
        Break::LostBefore => Broken::LoseBefore,
        Break::LostAfter => Broken::ForwardThenLose,
        Break::Late => late(random),
    };
    match verb {
        // Only a standby reads the Lease; a leader renews it.
        Verb::GetLease => {
            let leader = environment.worker(random).await?;
            let other = environment.replicas.iter().find(|replica| replica.name != leader.name).unwrap_or(leader);
            some(&other.api, || verb.matcher(), broken, random).await
        }
        // A missing Lease is created by the replica that is quicker.
        Verb::CreateLease => either(environment, verb, broken, HIT, async || environment.delete_lease().await).await,
        // The operator reports each object once. Faults that meet no other report get an object of
        // their own.
        Verb::PatchStatus | Verb::PatchGrantStatus | Verb::PatchHoldStatus | Verb::UpdateHoldStatus => {
            let mut made = String::new();
            let met = either(environment, verb, broken, HIT, async || {
                made = match verb {
                    Verb::PatchStatus => environment.make_unreadable_request().await?,
                    Verb::PatchHoldStatus => environment.make_hold(false).await?,
                    Verb::UpdateHoldStatus => environment.make_hold(true).await?,
                    _ => environment.make_unreadable_grant().await?,
                };
                Ok(())
            })
            .await?;
            environment.server.insist(Method::DELETE, &made, None, &[200, 404]).await?;
            Ok(met)
        }
        _ if verb.is_rare() => either(environment, verb, broken, RARELY_HIT, async || Ok(())).await,
        _ if verb.is_at_start() => {
            either(environment, verb, broken, HIT, async || {
                let replica = environment.worker(random).await?;
                let _alone = replica.process.lock().await;
                replica.kill().await?;
                replica.ensure_running().await
            })
            .await
        }
        _ => some(&environment.worker(random).await?.api, || verb.matcher(), broken, random).await,
    }
}

/// Breaks one or two requests of each replica, after this has caused them, and waits for the first
/// one.
async fn either(
    environment: &Environment,
    verb: Verb,
    broken: Broken,
    wait: Duration,
    cause: impl AsyncFnOnce() -> Result<()>,
) -> Result<bool> {
    let rules = environment.replicas.each_ref().map(|replica| replica.api.times(2, verb.matcher(), broken.clone()));
    let caused = cause().await;
    let end = Instant::now() + wait;
    while rules.iter().all(|rule| rule.hits() == 0) && Instant::now() < end {
        sleep(Duration::from_millis(5)).await;
    }
    rules.iter().for_each(Rule::remove);
    caused?;
    Ok(rules.iter().any(|rule| rule.hits() > 0))
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
    let verb = *random.pick(&[
        Verb::WatchRequests,
        Verb::WatchRequests,
        Verb::WatchGrants,
        Verb::WatchHolds,
        Verb::WatchNamespaces,
    ]);
    some(&replica.api, || verb.matcher(), broken, random).await
}

async fn cut(replica: &Replica, random: &mut Random) -> Result<bool> {
    replica.api.close().await;
    sleep(random.up_to(Duration::from_millis(2500))).await;
    replica.api.open().await?;
    Ok(true)
}

fn assume_role() -> Matcher {
    Matcher::new(|seen: &Seen| {
        let action = b"Action=AssumeRole".as_slice();
        seen.body.windows(action.len()).any(|part| part == action)
    })
}
