//! The scenarios: what is asked of the operator, and how.

use std::{path::Path, pin::pin, time::Duration};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    api_server::NAMESPACE,
    cognito::Category,
    figures::{Figures, Percentiles},
    usage::memory,
    world::{Installed, World},
};

/// A budget that is no limit.
const UNLIMITED: f64 = 1000.0;
/// Cognito's quota for resets.
const BUDGET: f64 = 30.0;
/// The latency of a call under a budget.
const LATENCY: Duration = Duration::from_millis(50);
/// The calls of one operator at the same time, and so the requests that it can claim at once.
const SLOTS: usize = 16;
/// The number of single requests at rest.
const SINGLES: usize = 50;
/// The time until a started operator uses no CPU any more.
const WARM_UP: Duration = Duration::from_secs(3);

/// The settings of a run.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The operator's program.
    pub program: &'a Path,
    /// The part of `deploy/` that is installed in the cluster.
    pub installed: Installed,
}

impl Setup<'_> {
    async fn world(self, quotas: bool) -> Result<World> {
        World::start(self.program, self.installed, quotas).await
    }

    /// Requests one by one, at rest.
    ///
    /// # Errors
    /// Returns an error if a server fails, or if the promise is broken. So do all scenarios.
    pub async fn rest(self) -> Result<Figures> {
        let mut world = self.world(false).await?;
        world.start_operator(UNLIMITED, true).await?;
        sleep(WARM_UP).await;
        let before = world.begin().await?;
        let (mut to_call, mut to_outcome) = (Vec::new(), Vec::new());
        // One watch for all. The end of a watch closes its connection, and the next request would
        // begin with a TLS handshake.
        let mut ended = pin!(world.api.ended(NAMESPACE).await?);
        for index in 0..SINGLES {
            let (name, created) = (format!("single-{index}"), Instant::now());
            world.api.create_request(NAMESPACE, &name).await?;
            while ended.try_next().await?.context("the watch has ended")? != name {}
            to_outcome.push(created.elapsed().as_secs_f64() * 1e3);
            let called = world.cognito.counts().resets.last().copied().context("the call is missing")?;
            to_call.push(called.duration_since(created).as_secs_f64() * 1e3);
        }
        let figures = world.end("rest", before, SINGLES).await?;
        Ok(Figures { to_call: Percentiles::of(to_call), to_outcome: Percentiles::of(to_outcome), ..figures })
    }

    /// Requests that are created while the operator works on them, without a budget.
    ///
    /// # Errors
    /// See [`Self::rest`].
    pub async fn stream(self, number: usize) -> Result<Figures> {
        let mut world = self.world(false).await?;
        world.start_operator(UNLIMITED, true).await?;
        sleep(WARM_UP).await;
        let before = world.begin().await?;
        world.api.create_requests(NAMESPACE, "stream", number).await?;
        world.end("stream", before, number).await
    }

    /// Requests that exist before the operator starts, without a budget.
    ///
    /// # Errors
    /// See [`Self::rest`].
    pub async fn backlog(self, number: usize) -> Result<Figures> {
        let mut world = self.world(false).await?;
        world.api.create_requests(NAMESPACE, "backlog", number).await?;
        let before = world.begin().await?;
        world.start_operator(UNLIMITED, false).await?;
        world.end("backlog", before, number).await
    }

    /// A backlog under a budget of 30 a second, with this number of replicas. With two, the leader
    /// is killed when half of the requests are done. With `quotas`, Cognito rejects the 31st reset
    /// of any second, and so also one that is early because another one was late.
    ///
    /// # Errors
    /// See [`Self::rest`].
    pub async fn budget(self, number: usize, replicas: usize, quotas: bool) -> Result<Figures> {
        let mut world = self.world(quotas).await?;
        world.cognito.set_latency(LATENCY);
        world.api.create_requests(NAMESPACE, "budget", number).await?;
        let before = world.begin().await?;
        for _ in 0..replicas {
            // The first one leads.
            world.start_operator(BUDGET, replicas > 1 && world.operators.is_empty()).await?;
        }
        if replicas > 1 {
            world.wait_for(number / 2).await?;
            world.operators.first_mut().context("no replica")?.sigkill().await?;
        }
        let scenario = match (replicas, quotas) {
            (1, false) => "budget",
            (1, true) => "budget at the quota",
            _ => "budget, leader killed",
        };
        let figures = if replicas > 1 {
            world.end_without(scenario, before, number, SLOTS).await?
        } else {
            world.end(scenario, before, number).await?
        };
        Ok(Figures { budget_used: Some(figures.pace / BUDGET * 100.0), ..figures })
    }

    /// The calls per second while Cognito's limit moves: by second, the limit and the calls.
    ///
    /// # Errors
    /// See [`Self::rest`].
    pub async fn moving_limit(self, limits: &[(usize, usize)]) -> Result<Vec<(usize, usize, usize)>> {
        let mut world = self.world(true).await?;
        let seconds: usize = limits.iter().map(|(seconds, _)| seconds).sum();
        world.api.create_requests(NAMESPACE, "moving", seconds * 30).await?;
        world.start_operator(BUDGET, true).await?;
        world.wait_for(1).await?;
        let mut second = Instant::now();
        let (mut figures, mut done) = (Vec::new(), world.cognito.resets());
        for (seconds, limit) in limits {
            world.cognito.set_quota(Category::UserAccountRecovery, *limit);
            for _ in 0..*seconds {
                second += Duration::from_secs(1);
                sleep_until(second).await;
                let now = world.cognito.resets();
                figures.push((figures.len() + 1, *limit, now - done));
                done = now;
            }
        }
        anyhow::ensure!(world.cognito.counts().most_of_a_user() <= 1, "a user was reset twice");
        Ok(figures)
    }

    /// The operator's resident memory at rest, in MiB, beside this number of finished requests.
    ///
    /// # Errors
    /// See [`Self::rest`].
    pub async fn memory(self, finished: usize) -> Result<f64> {
        let mut world = self.world(false).await?;
        world.api.create_requests(NAMESPACE, "finished", finished).await?;
        world.api.finish_requests(NAMESPACE, "finished", finished).await?;
        world.start_operator(BUDGET, true).await?;
        sleep(WARM_UP).await;
        let pid = world.operators.first().and_then(testbed::Operator::pid).context("the operator has ended")?;
        Ok(memory(pid)?.resident)
    }
}
