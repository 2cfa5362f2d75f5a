//! The settings in `deploy/` with which the operator runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Kubectl;

/// The rendered manifests, and the way in which their one Deployment starts the operator.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// All manifests, as `kubectl kustomize` prints them.
    pub yaml: String,
    /// The same, parsed.
    pub manifests: Vec<Value>,
    /// The Deployment's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// The arguments of its container, with `$(VARIABLE)` replaced.
    pub arguments: Vec<String>,
    /// The environment of its container, with the values that a Pod's own fields would have.
    pub environment: Vec<(String, String)>,
}

impl Deployment {
    /// Renders a kustomization, such as `deploy/kustomize/base`.
    ///
    /// # Errors
    /// When it does not render, has no Deployment or several, or asks for what only a cluster can
    /// give.
    pub async fn render(kubectl: &Kubectl, kustomization: &Path) -> Result<Self> {
        let path = kustomization.to_str().context("the path of the kustomization is not UTF-8")?;
        let yaml = kubectl.run(&["kustomize", path]).await?.success()?;
        Self::parse(yaml).with_context(|| format!("{path} cannot be started from"))
    }

    /// Reads rendered manifests.
    ///
    /// # Errors
    /// As for [`render`](Self::render).
    pub fn parse(yaml: String) -> Result<Self> {
        let manifests: Vec<Value> =
            serde_saphyr::from_multiple(&yaml).context("the rendered manifests are not YAML")?;
        let deployments: Vec<&Value> = manifests.iter().filter(|manifest| manifest["kind"] == "Deployment").collect();
        let [deployment] = deployments.as_slice() else {
            bail!("one Deployment was expected, and {} were found", deployments.len());
        };
        let text = |pointer: &str| {
            let found = deployment.pointer(pointer).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("the Deployment has no {pointer}"))
        };
        let pod = "/spec/template/spec";
        let (name, namespace) = (text("/metadata/name")?, text("/metadata/namespace")?);
        let service_account = text(&format!("{pod}/serviceAccountName"))?;
        let container =
            deployment.pointer(&format!("{pod}/containers/0")).context("the Deployment has no container")?;
        let fields = Fields { name: &name, namespace: &namespace, service_account: &service_account };
        let environment = fields.environment(container)?;
        // The first word of a command is the program, which the caller chooses.
        let arguments = strings(&container["command"])
            .skip(1)
            .chain(strings(&container["args"]))
            .map(|argument| expand(argument, &environment))
            .collect();
        Ok(Self { name, namespace, service_account, arguments, environment, manifests, yaml })
    }

    /// The manifests of one kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.manifests.iter().filter(move |manifest| manifest["kind"] == kind)
    }
}

/// The fields that a Pod of the Deployment would know about itself.
struct Fields<'a> {
    name: &'a str,
    namespace: &'a str,
    service_account: &'a str,
}

impl Fields<'_> {
    fn environment(&self, container: &Value) -> Result<Vec<(String, String)>> {
        if container.get("envFrom").is_some() {
            bail!("its container uses envFrom, whose values are only in a cluster");
        }
        let mut environment: Vec<(String, String)> = Vec::new();
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("a variable of its container has no name")?;
            let value = match variable.pointer("/valueFrom") {
                None => expand(variable["value"].as_str().unwrap_or_default(), &environment),
                Some(source) => match source.pointer("/fieldRef/fieldPath").and_then(Value::as_str) {
                    Some(field) => self.field(field).with_context(|| format!("its variable {name}"))?,
                    None if source.as_object().is_some_and(|from| from.values().all(|it| it["optional"] == true)) => {
                        continue;
                    }
                    None => bail!("its variable {name} has a value that is only in a cluster: {source}"),
                },
            };
            environment.push((name.to_owned(), value));
        }
        Ok(environment)
    }

    fn field(&self, path: &str) -> Result<String> {
        Ok(match path {
            "metadata.name" => format!("{}-testbed", self.name),
            "metadata.namespace" => self.namespace.to_owned(),
            "metadata.uid" => "00000000-0000-4000-8000-000000000000".to_owned(),
            "spec.serviceAccountName" => self.service_account.to_owned(),
            "spec.nodeName" => "testbed".to_owned(),
            "status.podIP" | "status.hostIP" => "127.0.0.1".to_owned(),
            other => bail!("the field {other} is not known to the testbed"),
        })
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Replaces `$(NAME)` as the kubelet does: an undefined name stays.
fn expand(text: &str, environment: &[(String, String)]) -> String {
    environment.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

#[cfg(test)]
mod tests {
    use super::Deployment;

    const MANIFESTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: robot, namespace: somewhere }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: robot, namespace: somewhere }
spec:
  template:
    spec:
      serviceAccountName: robot
      containers:
        - name: robot
          args: [run, "--namespace=$(POD_NAMESPACE)", "--left=$(ALONE)"]
          env:
            - { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
            - { name: GREETING, value: "hello $(POD_NAMESPACE)" }
            - { name: EXTRA, valueFrom: { configMapKeyRef: { name: extra, key: it, optional: true } } }
"#;

    #[test]
    fn a_deployment_gives_its_arguments_and_environment() {
        let deployment = Deployment::parse(MANIFESTS.to_owned()).unwrap();
        assert_eq!(deployment.service_account, "robot");
        assert_eq!(deployment.namespace, "somewhere");
        assert_eq!(deployment.arguments, ["run", "--namespace=somewhere", "--left=$(ALONE)"]);
        let environment = [("POD_NAMESPACE", "somewhere"), ("GREETING", "hello somewhere")];
        assert_eq!(deployment.environment, environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(deployment.of_kind("ServiceAccount").count(), 1);
    }

    #[test]
    fn a_value_that_only_a_cluster_has_is_named() {
        let problem = Deployment::parse(MANIFESTS.replace(", optional: true", "")).unwrap_err();
        assert!(format!("{problem:#}").contains("EXTRA"), "{problem:#}");
    }
}
