//! An installation of the operator, as its Deployment describes it.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};

/// The variables by which the SDK of AWS finds Cognito, the first one first.
const ENDPOINT: [&str; 2] = ["AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "AWS_ENDPOINT_URL"];

/// The name of the operator's Lease, its Deployment and its service account.
pub const NAME: &str = "cognito-reset-operator";
/// The label that all objects of an installation have.
pub const LABEL: &str = "app.kubernetes.io/part-of=cognito-reset-operator";

/// An installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The namespace.
    pub namespace: String,
    /// The name of the Deployment.
    pub name: String,
    /// The service account.
    pub service_account: String,
    /// The image; empty if the Deployment was not read.
    pub image: String,
    /// The replicas that are wanted, and those that are ready; absent before a controller has seen
    /// the Deployment.
    pub replicas: (i32, Option<i32>),
    /// False if replicas are not coordinated by a Lease.
    pub uses_lease: bool,
    /// The namespace of the Lease.
    pub lease_namespace: String,
    /// False if records are kept forever.
    pub has_retention: bool,
    /// The namespaces whose requests are handled; empty for all.
    pub watched: BTreeSet<String>,
    /// The endpoint of Cognito, if one is configured.
    pub endpoint: Option<String>,
}

impl Installation {
    /// Returns the installation by the manifests of this project, for a Deployment that cannot be
    /// read.
    #[must_use]
    pub fn assumed(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: NAME.to_owned(),
            service_account: NAME.to_owned(),
            replicas: (2, None),
            uses_lease: true,
            lease_namespace: namespace.to_owned(),
            has_retention: true,
            ..Self::default()
        }
    }

    /// Reads a Deployment.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
        let spec = deployment.spec.as_ref();
        let pod = spec.and_then(|spec| spec.template.spec.as_ref());
        let container = pod.and_then(|pod| {
            pod.containers.iter().find(|container| container.name == "operator").or_else(|| pod.containers.first())
        });
        let setting = |flag: &str| container.and_then(|container| setting(container, flag));
        let status = deployment.status.as_ref().filter(|status| status.observed_generation.is_some());
        let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let watched = setting("watch-namespaces").unwrap_or_default();
        Self {
            name: deployment.metadata.name.clone().unwrap_or_default(),
            service_account: pod.and_then(|pod| pod.service_account_name.clone()).unwrap_or_else(|| "default".into()),
            image: container.and_then(|container| container.image.clone()).unwrap_or_default(),
            replicas: (wanted, status.map(|status| status.ready_replicas.unwrap_or(0))),
            uses_lease: setting("lease").is_none_or(|value| value != "false"),
            lease_namespace: setting("lease-namespace")
                .filter(|it| !it.is_empty())
                .unwrap_or_else(|| namespace.clone()),
            has_retention: setting("record-retention")
                .is_none_or(|value| value.trim_end_matches(char::is_alphabetic) != "0"),
            watched: watched.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            endpoint: container.and_then(|container| ENDPOINT.iter().find_map(|name| variable(container, name))),
            namespace,
        }
    }

    /// Returns the user name of the service account.
    #[must_use]
    pub fn account(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }
}

/// Returns the value of a flag: of several the last one, or else that of its variable.
fn setting(container: &Container, flag: &str) -> Option<String> {
    let given = format!("--{flag}=");
    let arguments = container.command.iter().chain(&container.args).flatten();
    let last = arguments.filter_map(|argument| argument.strip_prefix(&given)).next_back().map(str::to_owned);
    last.or_else(|| variable(container, &format!("COGNITO_RESET_{}", flag.to_uppercase().replace('-', "_"))))
}

/// Returns the value of a variable: of several the last one, as in Kubernetes. One that a Secret or
/// a ConfigMap sets is not known.
fn variable(container: &Container, name: &str) -> Option<String> {
    let named = container.env.iter().flatten().rfind(|variable| variable.name == name);
    named.and_then(|variable| variable.value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_shows_how_the_operator_is_configured() {
        let container = json!({
            "name": "operator", "image": "registry/operator:0.1.0",
            "args": ["run", "--lease=true", "--lease=false", "--watch-namespaces=a, b", "--record-retention=0s"],
            "env": [{"name": "COGNITO_RESET_LEASE_NAMESPACE", "value": "nowhere"},
                    {"name": "COGNITO_RESET_LEASE_NAMESPACE", "value": "elsewhere"},
                    {"name": "AWS_ENDPOINT_URL", "value": "https://x"}],
        });
        let sidecar = json!({"name": "proxy", "image": "proxy:1"});
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": "resets", "namespace": "ops"},
            "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"serviceAccountName": "account", "containers": [sidecar, container]}}},
            "status": {"observedGeneration": 1, "readyReplicas": 1},
        }));
        let read = Installation::of(&deployment.expect("a Deployment"));
        let wanted = Installation {
            namespace: "ops".into(),
            name: "resets".into(),
            service_account: "account".into(),
            image: "registry/operator:0.1.0".into(),
            replicas: (2, Some(1)),
            uses_lease: false,
            lease_namespace: "elsewhere".into(),
            has_retention: false,
            watched: ["a".to_owned(), "b".to_owned()].into(),
            endpoint: Some("https://x".into()),
        };
        assert_eq!(read, wanted);
        assert_eq!(read.account(), "system:serviceaccount:ops:account");
    }

    #[test]
    fn the_manifests_of_this_project_are_what_is_assumed() {
        let yaml = include_str!("../../../../deploy/kustomize/base/deployment.yaml");
        let read = Installation::of(&serde_saphyr::from_str(yaml).expect("a Deployment"));
        let assumed = Installation::assumed("cognito-reset-system");
        assert_eq!(Installation { image: String::new(), ..read }, assumed);
    }
}
