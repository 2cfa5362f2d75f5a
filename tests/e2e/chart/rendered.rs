//! The rendered chart, compared with kustomize, with `--help` and by the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::environment::{Environment, binary, root};
use testbed::{
    Deployment,
    helm::{CHART, packaging, render_chart},
};

use super::{NAMESPACE, RELEASE};

type Objects = BTreeMap<(String, String), Value>;

/// Returns the objects by kind and name, without what a release adds to each.
fn objects(manifests: Vec<Value>) -> Result<Objects> {
    let mut all = Objects::new();
    for mut object in manifests {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let key = text("/kind").zip(text("/metadata/name")).with_context(|| object.to_string())?;
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.remove("labels");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("helm.sh/resource-policy");
            annotations.remove("argocd.argoproj.io/sync-options");
        }
        if metadata.get("annotations") == Some(&json!({})) {
            metadata.remove("annotations");
        }
        assert!(all.insert(key.clone(), object).is_none(), "{key:?} twice");
    }
    Ok(all)
}

/// Removes the label of the release from every selector and from the Pods, sorts the arguments, and
/// writes white space as one blank: kustomize breaks the lines of expressions elsewhere.
fn without_the_release(objects: &mut Objects) {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("app.kubernetes.io/instance");
                if let Some(Value::Array(arguments)) = fields.get_mut("args") {
                    arguments.sort_by_key(ToString::to_string);
                }
                fields.values_mut().for_each(walk);
            }
            Value::Array(all) => all.iter_mut().for_each(walk),
            Value::String(text) => *text = text.split_whitespace().collect::<Vec<_>>().join(" "),
            _ => {}
        }
    }
    objects.values_mut().for_each(walk);
}

#[tokio::test]
async fn the_chart_renders_what_kustomize_installs() -> Result<()> {
    let env = Environment::start().await?;
    let overlay = tempfile::tempdir()?;
    for folder in ["deploy", "crds"] {
        let status = Command::new("cp").args(["-r", &root(folder)]).arg(overlay.path()).status()?;
        assert!(status.success(), "{folder}");
    }
    let stamped = overlay.path().join("deploy/kustomize/stamped");
    fs::create_dir(&stamped)?;
    let all =
        "resources: [../crds, ../base]\ncomponents: [../components/stamp-requester, ../components/refuse-unverified]\n";
    fs::write(stamped.join("kustomization.yaml"), all)?;
    let mut kustomize = objects(Deployment::render(env.cluster.as_admin(), &stamped).await?.manifests)?;
    let refusing = ["--set=policies.refuseUnverified=true"];
    let mut chart = objects(Deployment::parse(render_chart(RELEASE, NAMESPACE, &refusing)?)?.manifests)?;
    without_the_release(&mut kustomize);
    without_the_release(&mut chart);
    // Helm makes the namespace, and the chart names the default of Kubernetes.
    kustomize.remove(&("Namespace".to_owned(), NAMESPACE.to_owned())).context("no Namespace")?;
    let deployment = ("Deployment".to_owned(), RELEASE.to_owned());
    let limit = chart.get_mut(&deployment).and_then(|it| it["spec"].as_object_mut()?.remove("revisionHistoryLimit"));
    assert_eq!(limit, Some(json!(10)));
    assert_eq!(chart.keys().collect::<Vec<_>>(), kustomize.keys().collect::<Vec<_>>());
    for (name, object) in &kustomize {
        assert_eq!(chart[name], *object, "{name:?}");
    }
    assert!(kustomize.len() > 20, "{}", kustomize.len());
    Ok(())
}

/// Argo CD renders with `helm template`, and passes the kinds of the cluster.
#[test]
fn the_application_of_the_example_can_be_rendered() -> Result<()> {
    let path = root("deploy/gitops/examples/argocd/operator.yaml");
    let applications = serde_saphyr::from_multiple::<Value>(&fs::read_to_string(path)?)?;
    let spec = &applications.first().context("no Application")?["spec"];
    let helm = &spec["source"]["helm"];
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| spec.to_string());
    assert_eq!(text(&spec["source"]["path"])?, CHART);
    let values = tempfile::NamedTempFile::new()?;
    fs::write(values.path(), serde_json::to_vec(&helm["valuesObject"])?)?;
    let mut arguments = vec![format!("--values={}", values.path().display())];
    for kind in [
        "apps/v1/Deployment",
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
        "monitoring.coreos.com/v1/PodMonitor",
        "monitoring.coreos.com/v1/PrometheusRule",
    ] {
        arguments.push(format!("--api-versions={kind}"));
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let namespace = text(&spec["destination"]["namespace"])?;
    let yaml = render_chart(&text(&helm["releaseName"])?, &namespace, &arguments)?;
    let objects = serde_saphyr::from_multiple::<Value>(&yaml)?;
    // deploy/iam names this account.
    let is_the_account = |object: &Value| {
        let metadata = &object["metadata"];
        object["kind"] == "ServiceAccount" && metadata["name"] == RELEASE && metadata["namespace"] == NAMESPACE
    };
    assert!(objects.iter().any(is_the_account), "{yaml}");
    // Without the kinds of the policies nothing is rendered, so nothing is pruned.
    let without: Vec<_> = arguments.into_iter().filter(|it| !it.contains("admissionregistration")).collect();
    let rendered = render_chart(RELEASE, NAMESPACE, &without);
    assert!(format!("{rendered:?}").contains("the cluster does not serve"), "{rendered:?}");
    Ok(())
}

/// Returns the flags of `run --help` with their defaults.
fn flags() -> Result<BTreeMap<String, String>> {
    let output = Command::new(binary()).args(["run", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    let mut flags = BTreeMap::new();
    for part in help.split("\n      --").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let default = part.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
        flags.insert(name, default.unwrap_or_default().to_owned());
    }
    assert!(flags.len() > 20, "{flags:?}");
    Ok(flags)
}

/// Returns the name of a flag as a key of values.
fn camel(flag: &str) -> String {
    let mut words = flag.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_flag_has_a_value_and_every_value_a_flag() -> Result<()> {
    let text = fs::read_to_string(root(&format!("{CHART}/values.yaml")))?;
    let values: Value = serde_saphyr::from_str(&text)?;
    let config = values["config"].as_object().context("no config")?;
    let flags = flags()?;
    let named: BTreeSet<_> = flags.keys().map(|flag| camel(flag)).collect();
    assert_eq!(config.keys().cloned().collect::<BTreeSet<_>>(), named);
    for (flag, default) in flags {
        let comment = text.split(&format!("# -- `--{flag}`:")).nth(1).and_then(|rest| rest.split("\n  @schema").next());
        let comment = comment.with_context(|| format!("the comment of {flag}"))?;
        let comment = comment.split(&format!("\n  {}:", camel(&flag))).next().unwrap_or_default();
        // The flags that the chart sets itself have no default there.
        if config[&camel(&flag)].is_null() && flag != "identity" && flag != "lease-namespace" {
            assert!(comment.replace("\n  # ", " ").contains(&format!("({default})")), "{flag}, {default}: {comment}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_flag_reaches_the_operator() -> Result<()> {
    let special = ["identity=one", "leaseNamespace=two", "watchNamespaces={support,shops}"];
    let mut arguments: Vec<_> = special.iter().map(|set| format!("--set=config.{set}")).collect();
    for (flag, default) in flags()? {
        if !default.is_empty() && flag != "identity" {
            let default = if flag == "listen" { "127.0.0.1:0" } else { &default };
            let text = default.parse::<f64>().is_err() && !["true", "false"].contains(&default);
            let set = if text { "--set-string" } else { "--set" };
            arguments.push(format!("{set}=config.{}={default}", camel(&flag)));
        }
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let deployment = Deployment::parse(render_chart(RELEASE, NAMESPACE, &arguments)?)?;
    // An operator that cannot parse its arguments ends with 2. Without a cluster it ends with 1.
    let home = tempfile::tempdir()?;
    let output = Command::new(binary())
        .args(&deployment.arguments)
        .env_clear()
        .env("HOME", home.path())
        .envs(deployment.environment.iter().map(|(name, value)| (name, value)))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let given = deployment.arguments.iter().filter(|argument| argument.starts_with("--")).count();
    assert_eq!(given + 2, flags()?.len(), "{:?}: all, two by the environment", deployment.arguments);
    Ok(())
}

/// Returns the arguments that add the alerts and the dashboard, if the repository has them.
fn monitoring_values() -> Vec<&'static str> {
    let parts = [
        ("rules.yaml", "--set=metrics.rules.enabled=true"),
        ("dashboard.json", "--set=metrics.dashboard.enabled=true"),
    ];
    let there = |file: &str| Path::new(&root(&format!("deploy/monitoring/{file}"))).exists();
    parts.into_iter().filter(|(file, _)| there(file)).map(|(_, argument)| argument).collect()
}

/// A release whose Deployment is not in the cluster: the selector of one that is cannot be changed.
const ANOTHER: &str = "another";

#[tokio::test]
async fn the_api_server_accepts_every_value_file_strictly() -> Result<()> {
    let mut env = Environment::start().await?;
    // Definitions are not restored.
    env.cluster.is_used_up();
    let monitoring = packaging().join("prometheus-crds");
    let text = monitoring.display().to_string();
    env.kubectl(&["apply", "--server-side", "-f", &text]).await?;
    env.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
    let files = fs::read_dir(root(&format!("{CHART}/ci")))?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(files.len(), 6);
    for file in files {
        let values = format!("--values={}", file.path().display());
        let mut arguments = vec![values.as_str()];
        if file.file_name() == "monitoring-values.yaml" {
            arguments.extend(monitoring_values());
        }
        let yaml = render_chart(ANOTHER, NAMESPACE, &arguments)?;
        let apply = ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts", "-f", "-"];
        let applied = env.cluster.as_admin().run_with_input(&apply, &yaml).await?;
        // The namespace warns if a Pod does not fit the restricted level.
        assert!(!applied.stderr.contains("would violate PodSecurity"), "{}: {applied}", file.path().display());
        assert!(applied.success()?.lines().count() > 10, "{}", file.path().display());
    }
    let unknown = render_chart(ANOTHER, NAMESPACE, &["--set=resources.limit=1"])?;
    let apply = ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts", "-f", "-"];
    let refused = env.cluster.as_admin().run_with_input(&apply, &unknown).await?.refusal()?;
    assert!(refused.contains("resources.limit"), "{refused}");
    Ok(())
}
