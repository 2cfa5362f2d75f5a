//! Requests that Argo CD, Flux and Velero apply, replace, delete and restore: each as these tools
//! do it, with their field managers and marks. `docs/gitops.md` describes what each test shows.

mod again;
mod drift;
mod files;
mod hooks;
mod restore;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{
    Page,
    environment::{Environment, root},
};

/// Returns the commands of the page that install health and the action, for the root of a clone.
fn installation() -> Result<String> {
    let commands = Page::read("docs/gitops.md")?.script("argocd-cm")?;
    Ok(format!("cd '{}'\n{commands}", root("")))
}

/// The account of Argo CD's application controller, which has every permission by default.
const CONTROLLER: &str = "system:serviceaccount:argocd:argocd-application-controller";

/// A tool that applies the manifests of a repository.
#[derive(Clone, Copy, Debug)]
enum Tool {
    /// Argo CD with its default, client-side apply.
    ArgoClientSide,
    /// Argo CD with `ServerSideApply=true`.
    ArgoServerSide,
    /// The kustomize-controller of Flux.
    Flux,
}

impl Tool {
    const ALL: [Self; 3] = [Self::ArgoClientSide, Self::ArgoServerSide, Self::Flux];

    const fn name(self) -> &'static str {
        match self {
            Self::ArgoClientSide => "argo-client-side",
            Self::ArgoServerSide => "argo-server-side",
            Self::Flux => "flux",
        }
    }

    /// Returns the arguments with which the tool applies.
    const fn apply(self) -> &'static [&'static str] {
        match self {
            Self::ArgoClientSide => &["apply", "--field-manager=argocd-controller", "-f", "-"],
            Self::ArgoServerSide => {
                &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-"]
            }
            Self::Flux => {
                &["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "-f", "-"]
            }
        }
    }

    /// Returns the manifest with the marks that the tool adds.
    fn marked(self, manifest: &str, name: &str) -> String {
        let marks = match self {
            Self::ArgoClientSide | Self::ArgoServerSide => format!(
                "annotations: {{argocd.argoproj.io/tracking-id: 'resets:cognito-reset.dev/PasswordResetRequest:default/{name}'}}"
            ),
            Self::Flux => {
                "labels: {kustomize.toolkit.fluxcd.io/name: resets, kustomize.toolkit.fluxcd.io/namespace: flux-system}"
                    .to_owned()
            }
        };
        manifest.replacen("namespace: default}", &format!("namespace: default, {marks}}}"), 1)
    }
}

/// A cluster in which Argo CD's controller may do everything.
struct Cluster(Environment);

impl Cluster {
    async fn start() -> Result<Self> {
        let env = Environment::start().await?;
        let user = format!("--user={CONTROLLER}");
        env.kubectl(&["create", "clusterrolebinding", "argocd", "--clusterrole=cluster-admin", &user]).await?;
        Ok(Self(env))
    }

    /// Runs kubectl as the controller.
    async fn run(&self, arguments: &[&str], manifest: &str) -> Result<testbed::KubectlResult> {
        let user = format!("--as={CONTROLLER}");
        let arguments: Vec<_> = arguments.iter().copied().chain([user.as_str()]).collect();
        self.0.cluster.as_admin().run_with_input(&arguments, manifest).await
    }

    /// Applies the manifest as the tool does.
    async fn sync(&self, tool: Tool, manifest: &str) -> Result<()> {
        self.run(tool.apply(), manifest).await?.success()?;
        Ok(())
    }

    /// Applies a request for a new confirmed user of the same name, waits until it has reset that
    /// user, and lets the user choose a password, so that a second reset would show. Returns the
    /// manifest.
    async fn reset(&self, tool: Tool, name: &str, spec: &str) -> Result<String> {
        let env = &self.0;
        env.users.create_user(&env.pool, name).await?;
        let manifest = tool.marked(&env.request(name, name, spec), name);
        self.sync(tool, &manifest).await?;
        anyhow::ensure!(env.ended(name).await? == "Succeeded/ResetAccepted", "{name}");
        env.users.confirm(&env.pool, name).await?;
        Ok(manifest)
    }

    /// Fails if the user was reset another time.
    async fn is_reset_once(&self, name: &str) -> Result<()> {
        let env = &self.0;
        anyhow::ensure!(env.calls(name) == 1, "{name}: {} calls", env.calls(name));
        let status = env.users.user_status(&env.pool, name).await?;
        anyhow::ensure!(status == "CONFIRMED", "{name}: {status}");
        Ok(())
    }

    async fn metadata(&self, name: &str) -> Result<Value> {
        Ok(self.0.get("prr", name).await?["metadata"].clone())
    }

    /// Returns the object as a backup contains it, and what a tool restores from it: no status and
    /// nothing that the API server writes, with the labels of Velero.
    async fn backup(&self, kind: &str, name: &str) -> Result<Value> {
        let mut object = self.0.get(kind, name).await?;
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        let mut metadata = json!({ "name": object["metadata"]["name"] });
        for kept in ["namespace", "labels", "annotations"] {
            if !object["metadata"][kept].is_null() {
                metadata[kept] = object["metadata"][kept].clone();
            }
        }
        metadata["labels"]["velero.io/backup-name"] = json!("nightly");
        metadata["labels"]["velero.io/restore-name"] = json!("nightly-1");
        object["metadata"] = metadata;
        Ok(object)
    }
}
