//! The servers of one run, and the operator among them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use testbed::{ControlPlane, Deployment, Operator, Options, Tools};
use tokio::time::{Instant, sleep};

use crate::{
    api_server::{ApiServer, NAMESPACE, Requests, since},
    cognito::{Category, Cognito},
    figures::{Figures, PerReset},
    usage::{cpu_seconds, memory},
};

/// Cognito's quota of UserAccountRecovery for each account and Region, in calls per second.
const ACCOUNT_RECOVERY: usize = 30;
/// Cognito's quota of UserRead.
const USER_READ: usize = 120;
/// The time after the last outcome in which Events are still written.
const SETTLE: Duration = Duration::from_secs(3);
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The longest time of the requests of a run.
const LIMIT: Duration = Duration::from_secs(600);

/// The part of `deploy/` that is installed in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Installed {
    /// The definitions alone; the operator is an administrator.
    Crds,
    /// All of `deploy/`: with its policies, and with the operator's own permissions.
    Deploy,
}

/// The servers of one run. They end when dropped.
pub struct World {
    // Fields drop in this order: the operators before the servers that they use.
    pub operators: Vec<Operator>,
    pub api: ApiServer,
    pub cognito: Cognito,
    cluster: ControlPlane,
    deployment: Option<Deployment>,
    program: PathBuf,
}

/// The measurements before the requests of a run.
pub struct Before {
    started: Instant,
    operators: Vec<(u32, f64)>,
    api_server: f64,
    requests: Requests,
}

impl World {
    /// Starts a control plane and a stand-in for Cognito, with Cognito's quotas if `quotas`.
    ///
    /// # Errors
    /// Returns an error if a server does not start.
    pub async fn start(program: &Path, installed: Installed, quotas: bool) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = Tools::locate().await?;
        let mut kustomizations = vec![root.join("deploy/kustomize/crds")];
        let base = root.join("deploy/kustomize/base");
        if installed == Installed::Deploy {
            kustomizations.push(base.clone());
        }
        let cluster = ControlPlane::start(&tools, Options { kustomizations, ..Options::default() }).await?;
        let deployment = match installed {
            Installed::Crds => None,
            Installed::Deploy => Some(Deployment::render(cluster.as_admin(), &base).await?),
        };
        let api = ApiServer::connect(cluster.kubeconfig()).await?;
        api.allow(NAMESPACE).await?;
        let cognito = Cognito::start().await?;
        if quotas {
            cognito.set_quota(Category::UserAccountRecovery, ACCOUNT_RECOVERY);
            cognito.set_quota(Category::UserRead, USER_READ);
        }
        Ok(Self { operators: Vec::new(), api, cognito, cluster, deployment, program: program.to_owned() })
    }

    /// Starts a further replica with this budget, and waits until it is ready if `ready`.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn start_operator(&mut self, rate: f64, ready: bool) -> Result<()> {
        let builder = Operator::builder(&self.program);
        let builder = match &self.deployment {
            None => builder.args(["run", "--lease-namespace", NAMESPACE]).kubeconfig(self.cluster.kubeconfig()),
            Some(deployment) => {
                let account = (&deployment.namespace, &deployment.service_account);
                let token = self.cluster.service_account_token(account.0, account.1).await?;
                builder.deployment(deployment).kubeconfig(&self.cluster.kubeconfig_for(&token, None)?)
            }
        };
        let identity = format!("--identity=bench-{}", self.operators.len());
        let arguments = [identity, format!("--rate={rate}")];
        let mut operator = builder.args(arguments).cognito(self.cognito.url()).start()?;
        if ready {
            operator.wait_ready(READY_LIMIT).await?;
        }
        self.operators.push(operator);
        Ok(())
    }

    /// Begins to measure. Operators that are started later count from their start.
    ///
    /// # Errors
    /// Returns an error if a process has ended.
    pub async fn begin(&self) -> Result<Before> {
        self.cognito.forget();
        let pids = self.operators.iter().filter_map(Operator::pid);
        let operators = pids.map(|pid| Ok((pid, cpu_seconds(pid)?))).collect::<Result<_>>()?;
        let (api_server, requests) = (cpu_seconds(self.api_server()?)?, self.api.requests().await?);
        Ok(Before { started: Instant::now(), operators, api_server, requests })
    }

    /// Waits until nothing is pending, and returns the figures since `before`.
    ///
    /// # Errors
    /// Returns an error if requests stay pending, or if a user was reset twice.
    pub async fn end(&self, scenario: &str, before: Before, resets: usize) -> Result<Figures> {
        self.wait_for(resets).await?;
        self.end_without(scenario, before, resets, 0).await
    }

    /// Like [`Self::end`], but up to `lost` requests may end without a reset: those that an
    /// operator had claimed when it was killed.
    ///
    /// # Errors
    /// See [`Self::end`].
    pub async fn end_without(&self, scenario: &str, before: Before, resets: usize, lost: usize) -> Result<Figures> {
        self.api.wait_done(LIMIT).await?;
        let seconds = before.started.elapsed().as_secs_f64();
        sleep(SETTLE).await;
        let counts = self.cognito.counts();
        let made = counts.resets.len();
        ensure!((resets - lost..=resets).contains(&made), "{resets} resets were expected, and {made} made");
        ensure!(counts.most_of_a_user() <= 1, "a user was reset {} times", counts.most_of_a_user());
        let mut operator = 0.0;
        for pid in self.operators.iter().filter_map(Operator::pid) {
            let earlier = before.operators.iter().find(|(earlier, _)| *earlier == pid).map_or(0.0, |(_, cpu)| *cpu);
            operator += cpu_seconds(pid)? - earlier;
        }
        let requests = since(&before.requests, &self.api.requests().await?);
        #[expect(clippy::cast_precision_loss, reason = "a number of requests")]
        let of_each = resets.max(1) as f64;
        Ok(Figures {
            scenario: scenario.to_owned(),
            resets,
            seconds,
            rate: of_each / seconds,
            operator_cpu: operator * 1e3 / of_each,
            api_server_cpu: (cpu_seconds(self.api_server()?)? - before.api_server) * 1e3 / of_each,
            per_reset: PerReset::of(&requests, resets),
            requests,
            throttled: counts.throttled,
            pace: counts.pace(),
            longest_pause: counts.longest_pause().as_secs_f64(),
            memory: self
                .operators
                .iter()
                .filter_map(Operator::pid)
                .map(memory)
                .next_back()
                .transpose()?
                .unwrap_or_default(),
            ..Figures::default()
        })
    }

    /// Waits until Cognito has accepted this number of resets.
    ///
    /// # Errors
    /// Returns an error after the limit, or if an operator has ended.
    pub async fn wait_for(&self, resets: usize) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while self.cognito.resets() < resets {
            ensure!(Instant::now() < end, "{} of {resets} resets were made in {LIMIT:?}", self.cognito.resets());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn api_server(&self) -> Result<u32> {
        self.cluster.api_server_pid().context("kube-apiserver has ended")
    }
}
