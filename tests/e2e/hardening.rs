//! The hardening of the shipped operator: the running container has minimal permissions.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::Deployment;
use testbed::environment::{Environment, base, root};

/// Returns the Pod that the Deployment of the base would create.
async fn pod(env: &Environment) -> Result<Value> {
    let base = Deployment::render(env.cluster.as_admin(), &base()).await?;
    let template = base.of_kind("Deployment").next().context("no Deployment")?["spec"]["template"].clone();
    let mut pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
    pod["metadata"]["name"] = json!("probe");
    pod["metadata"]["namespace"] = json!(base.namespace);
    Ok(pod)
}

#[tokio::test]
async fn the_pod_passes_the_restricted_level_only_by_its_settings() -> Result<()> {
    let env = Environment::start().await?;
    let pod = pod(&env).await?;
    let namespace = env.get("namespace", "cognito-reset-system").await?;
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let create = async |pod: &Value| {
        let kubectl = env.cluster.as_admin();
        kubectl.run_with_input(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &pod.to_string()).await
    };
    let made: Value = serde_json::from_str(&create(&pod).await?.success()?)?;
    let container = &made["spec"]["containers"][0]["securityContext"];
    assert_eq!(
        (&container["readOnlyRootFilesystem"], &container["capabilities"], &container["seccompProfile"]),
        (&json!(true), &json!({ "drop": ["ALL"] }), &json!({ "type": "RuntimeDefault" }))
    );
    let whole = &made["spec"]["securityContext"];
    assert_eq!((&whole["runAsUser"], &whole["runAsGroup"]), (&json!(65532), &json!(65532)));
    assert_eq!(whole["runAsNonRoot"], true);
    for (what, changes) in [
        (
            "allowPrivilegeEscalation",
            &[("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(true))][..],
        ),
        ("capabilities", &[("/spec/containers/0/securityContext/capabilities", json!({}))]),
        ("runAsNonRoot", &[("/spec/containers/0/securityContext/runAsNonRoot", json!(false))]),
        ("runAsUser", &[("/spec/securityContext/runAsUser", json!(0))]),
        ("seccompProfile", &[("/spec/containers/0/securityContext/seccompProfile", json!({ "type": "Unconfined" }))]),
        ("hostPath", &[("/spec/volumes", json!([{ "name": "x", "hostPath": { "path": "/" } }]))]),
        ("host namespaces", &[("/spec/hostNetwork", json!(true))]),
    ] {
        let mut weaker = pod.clone();
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').context("no parent")?;
            weaker.pointer_mut(parent).context("no such field")?[key] = value.clone();
        }
        let refused = create(&weaker).await?.refusal()?;
        assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{what}: {refused}");
        assert!(refused.contains(what), "{what}: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn the_network_policy_covers_the_pod_and_leaves_one_port_open() -> Result<()> {
    let env = Environment::start().await?;
    let get = ["get", "networkpolicy", "cognito-reset-operator", "-n", "cognito-reset-system", "-o", "json"];
    let policy: Value = serde_json::from_str(&env.kubectl(&get).await?)?;
    let pod = pod(&env).await?;
    for (label, value) in policy["spec"]["podSelector"]["matchLabels"].as_object().context("selects every Pod")? {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["ingress"], json!([{ "ports": [{ "port": "http", "protocol": "TCP" }] }]));
    let ports = pod["spec"]["containers"][0]["ports"].as_array().context("no ports")?;
    assert_eq!(ports.iter().map(|port| &port["name"]).collect::<Vec<_>>(), ["http"]);
    Ok(())
}

/// Returns for each apiVersion and kind whether its objects are in namespaces.
async fn namespaced(env: &Environment) -> Result<BTreeMap<(String, String), bool>> {
    let table = env.kubectl(&["api-resources", "--no-headers"]).await?;
    let row = |line: &str| {
        let mut columns = line.split_whitespace().rev().map(str::to_owned);
        let (kind, namespaced, version) = (columns.next()?, columns.next()?, columns.next()?);
        Some(((version, kind), namespaced == "true"))
    };
    table.lines().map(|line| row(line).with_context(|| line.to_owned())).collect()
}

#[tokio::test]
async fn only_namespaced_objects_name_a_namespace() -> Result<()> {
    let env = Environment::start().await?;
    let namespaced = namespaced(&env).await?;
    let copy = tempfile::tempdir()?;
    for folder in ["deploy", "crds"] {
        let status = Command::new("cp").args(["-r", &root(folder)]).arg(copy.path()).status()?;
        assert!(status.success(), "{folder}");
    }
    let kustomize = copy.path().join("deploy/kustomize");
    // The overlays of the README and of the page on the network.
    let stamped = "resources: [../base]\ncomponents: [../components/stamp-requester]\n";
    let page =
        include_str!("../../docs/network.md").split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let proxied = page.context("the page has no overlay")?;
    let refusing = "resources: [../base]\ncomponents: [../components/refuse-unverified]\n";
    for (name, overlay) in [("stamped", stamped), ("refusing", refusing), ("proxied", proxied)] {
        fs::create_dir(kustomize.join(name))?;
        fs::write(kustomize.join(name).join("kustomization.yaml"), overlay)?;
    }
    let (mut rendered, mut objects) = (0, 0);
    for file in walk(&kustomize)?.iter().filter(|file| file.ends_with("kustomization.yaml")) {
        let folder = file.parent().context("no parent")?;
        let yaml = env.kubectl(&["kustomize", &folder.display().to_string()]).await?;
        rendered += 1;
        if folder.ends_with("proxied") {
            for part in ["port: 3128", "name: HTTPS_PROXY", "name: NO_PROXY"] {
                assert!(yaml.contains(part), "{part}: {yaml}");
            }
        }
        for object in serde_saphyr::from_multiple::<Value>(&yaml)? {
            let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
            let named = version.zip(kind).map(|(version, kind)| (version.to_owned(), kind.to_owned()));
            let named = named.with_context(|| format!("{object}"))?;
            let wanted = *namespaced.get(&named).with_context(|| format!("{named:?} is not served"))?;
            let namespace = &object["metadata"]["namespace"];
            assert_eq!(namespace.is_string(), wanted, "{}: {named:?} {}", folder.display(), object["metadata"]);
            objects += 1;
        }
    }
    assert!(rendered >= 5 && objects > 50, "{rendered} kustomizations, {objects} objects");
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}
