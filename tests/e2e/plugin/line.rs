//! A line between the plugin and the API server, which a test can cut.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use testbed::{
    FaultProxy, Kubectl, PseudoTerminal,
    environment::{Environment, LIMIT, plugin},
    eventually,
};

/// A proxy between the plugin and the API server.
pub(super) struct Line {
    pub(super) proxy: FaultProxy,
    kubeconfig: PathBuf,
    pub(super) plugin: Kubectl,
}

impl Line {
    pub(super) async fn of(env: &Environment) -> Result<Self> {
        let proxy = FaultProxy::start(&env.cluster.url(), Some(env.cluster.ca_pem())).await?;
        let kubeconfig = env.cluster.admin_kubeconfig_by_way_of(&proxy.url())?;
        let plugin = env.cluster.as_admin().with_program(plugin()).with_kubeconfig(&kubeconfig);
        Ok(Self { proxy, kubeconfig, plugin })
    }

    /// Runs the plugin, and interrupts it once it watches.
    pub(super) async fn interrupted(&self, arguments: &[&str]) -> Result<Output> {
        let watches = self.watches();
        let child = Command::new(plugin())
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.attached_after(watches).await?;
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
        ensure!(kill.success(), "{kill}");
        tokio::task::spawn_blocking(|| child.wait_with_output()).await?.context("the plugin has no output")
    }

    /// Starts the plugin in a terminal of 80 columns.
    pub(super) fn typed(&self, arguments: &[&str]) -> Result<PseudoTerminal> {
        PseudoTerminal::start(plugin(), arguments, &[("KUBECONFIG", &self.kubeconfig)], 80)
    }

    /// Cuts the connection, and waits until the plugin watches again.
    pub(super) async fn cut(&self) -> Result<()> {
        let watches = self.watches();
        self.proxy.close().await;
        self.proxy.open().await?;
        self.attached_after(watches).await
    }

    pub(super) fn watches(&self) -> usize {
        self.proxy.requests().iter().filter(|request| request.seen.path.contains("watch=true")).count()
    }

    /// Waits until the plugin has opened another watch after so many.
    pub(super) async fn attached_after(&self, watches: usize) -> Result<()> {
        eventually(LIMIT, "the plugin to watch", async || {
            ensure!(self.watches() > watches, "{} watches", self.watches());
            anyhow::Ok(())
        })
        .await
    }
}
