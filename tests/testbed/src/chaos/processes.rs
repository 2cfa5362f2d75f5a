//! Faults of processes: the replicas, kube-apiserver and etcd are killed or stopped, and a
//! replica's clock jumps.
//!
//! A proxy holds the very request, or the reply to it, that bounds a named point at which a replica
//! is killed or stopped. The operator needs no code for that: the killed process is the release
//! binary as it is.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{
    environment::Environment,
    faults::{Jump, Point},
    inject::{HIT, RESET},
    random::Random,
    replica::Replica,
    responses::to_cognito,
    troubles::Trouble,
    verbs::Verb,
};
use crate::{Fault as Broken, Held, Matcher, Rule, Seen};

/// A time that is longer than every timeout: an open claim of another replica is waited for 7 s, a
/// frozen watch 8 s, a Lease 2 s.
const STOPPED: Duration = Duration::from_millis(8500);
/// Returns the rule that holds the request, or the reply, that bounds a point.
fn hold(replica: &Replica, point: Point) -> Rule {
    let claims_again = |seen: &Seen| seen.json().get("effect").is_none();
    let again = || Verb::UpdateRecord.matcher().and(claims_again);
    let effect = || Verb::UpdateRecord.matcher().and(move |seen| !claims_again(seen));
    let call = || Matcher::operation(RESET);
    let ends = || Verb::UpdateStatus.matcher().and(|seen| seen.json().pointer("/status/completionTime").is_some());
    match point {
        Point::BeforeClaim => replica.api.once(Verb::CreateRecord.matcher(), Broken::Hold),
        Point::AfterClaim => replica.api.once(Verb::CreateRecord.matcher(), Broken::HoldReply),
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
pub(super) async fn at(environment: &Environment, point: Point, random: &mut Random, only_stop: bool) -> Result<bool> {
    let replica = environment.worker(random).await?;
    let rule = hold(replica, point);
    // Further claims are rare: they follow a response that proves that nothing happened.
    let before = matches!(point, Point::BeforeClaimAgain | Point::AfterClaimAgain).then(|| {
        let broken = to_cognito(Trouble::Throttled, random);
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
    // A replica that has given up by now is past the point.
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

/// Stops the replica's process for longer than every timeout, and returns true if it was stopped
/// for all that time.
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

pub(super) async fn kill(environment: &Environment, random: &mut Random) -> Result<bool> {
    let replica = if random.percent(70) { environment.worker(random).await? } else { environment.any(random) };
    let _alone = replica.process.lock().await;
    let killed = replica.kill().await?;
    sleep(random.up_to(Duration::from_millis(500))).await;
    replica.ensure_running().await?;
    Ok(killed)
}

pub(super) async fn stop(environment: &Environment, random: &mut Random) -> Result<bool> {
    let replica = environment.worker(random).await?;
    let _alone = replica.process.lock().await;
    freeze(replica, async || {}).await
}

pub(super) async fn kill_api_server(environment: &Environment, random: &mut Random) -> Result<bool> {
    let mut cluster = environment.cluster.lock().await;
    cluster.kill_api_server().await?;
    sleep(random.up_to(Duration::from_secs(1))).await;
    cluster.restart_api_server().await?;
    Ok(true)
}

pub(super) async fn kill_etcd(environment: &Environment, random: &mut Random) -> Result<bool> {
    let mut cluster = environment.cluster.lock().await;
    cluster.kill_etcd().await?;
    sleep(random.up_to(Duration::from_secs(1))).await;
    cluster.restart_etcd().await?;
    Ok(true)
}

pub(super) async fn clock(replica: &Replica, jump: Jump, random: &mut Random) -> Result<bool> {
    let _alone = replica.process.lock().await;
    let before = replica.clock.reads()?;
    replica.clock.set(jump.seconds())?;
    sleep(Duration::from_millis(300) + random.up_to(Duration::from_secs(2))).await;
    replica.clock.set(0)?;
    Ok(replica.clock.reads()? > before)
}
