//! The Helm chart: what it renders is what kustomize installs, the API server accepts it, and the
//! operator works as Helm installs it.

mod installed;
mod rendered;

use anyhow::Result;
use testbed::environment::root;
use testbed::{Kubectl, KubectlResult, helm::CHART};

const RELEASE: &str = "cognito-reset-operator";
const NAMESPACE: &str = "cognito-reset-system";

/// Helm with a release of the chart.
struct Helm(Kubectl);

impl Helm {
    /// Runs `install` or `upgrade`, and waits until the release is ready.
    async fn apply(&self, verb: &str, release: &str, namespace: &str, more: &[&str]) -> Result<KubectlResult> {
        let chart = root(CHART);
        let all = [verb, release, &chart, "--namespace", namespace, "--wait", "--timeout=120s"];
        self.0.run(&[&all[..], more].concat()).await
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.0.run(&[arguments, &["--namespace", NAMESPACE]].concat()).await?.success()
    }
}
