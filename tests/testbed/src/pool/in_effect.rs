//! Waiting until a change is in effect. kube-apiserver authorizes and admits requests by caches
//! that its own watches fill, and evaluates policies that it compiles once a second. A change is
//! therefore in effect some time after it was stored, and nothing shows when. For this reason a
//! canary of the same kinds is stored after the change. A watch delivers events in order, so once
//! the canary is in effect, the change is in effect, too.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{ControlPlane, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const NAME: &str = "pool-canary-";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Waits until the deletion, creation or change of these keys is in effect.
pub(super) async fn after_changes_of(cluster: &ControlPlane, keys: &[&String]) -> Result<()> {
    let any = |kinds: &[&str]| {
        let of_kind = |key: &&String| kinds.iter().any(|kind| key.starts_with(&format!("/registry/{kind}")));
        // A canary affects nobody, and waiting for its deletion would take another canary.
        keys.iter().filter(|key| !is_canary(key)).any(of_kind)
    };
    if any(&["roles/", "rolebindings/", "clusterroles/", "clusterrolebindings/"]) {
        rights(cluster, &canary()).await?;
    }
    if any(&["validatingadmissionpolicies/", "validatingadmissionpolicybindings/"]) {
        validating(cluster, &canary()).await?;
    }
    if any(&["mutatingadmissionpolicies/", "mutatingadmissionpolicybindings/"]) {
        mutating(cluster, &canary()).await?;
    }
    Ok(())
}

/// Waits until all policies that are stored are in effect.
pub(super) async fn policies(cluster: &ControlPlane) -> Result<()> {
    validating(cluster, &canary()).await?;
    // Kubernetes before 1.36 does not serve these.
    if serves(cluster, "mutatingadmissionpolicies").await? {
        mutating(cluster, &canary()).await?;
    }
    Ok(())
}

async fn serves(cluster: &ControlPlane, policies: &str) -> Result<bool> {
    let (status, served) = cluster.request(Method::GET, ADMISSION, None).await?;
    ensure!(status.is_success(), "{ADMISSION} returns {status}: {}", served["message"]);
    Ok(served["resources"].as_array().into_iter().flatten().any(|resource| resource["name"] == policies))
}

/// Returns true if this key is of an object that was made here.
pub(super) fn is_canary(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with(NAME))
}

fn canary() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{NAME}{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

async fn create(cluster: &ControlPlane, path: &str, object: &Value) -> Result<()> {
    let (status, output) = cluster.request(Method::POST, path, Some(object)).await?;
    ensure!(status == StatusCode::CREATED, "{path} returns {status}: {}", output["message"]);
    Ok(())
}

/// Stores a canary of each of the four kinds of RBAC. They allow one verb to a user of this name.
async fn rights(cluster: &ControlPlane, name: &str) -> Result<()> {
    let namespaced = format!("{RBAC}/namespaces/default");
    for (place, role, binding) in
        [(RBAC, "ClusterRole", "ClusterRoleBinding"), (namespaced.as_str(), "Role", "RoleBinding")]
    {
        let rule = json!({ "apiGroups": ["pool.test"], "resources": [role.to_lowercase()], "verbs": ["sing"] });
        let object = json!({ "metadata": { "name": name }, "rules": [rule] });
        create(cluster, &format!("{place}/{}s", role.to_lowercase()), &object).await?;
        let object = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
        });
        create(cluster, &format!("{place}/{}s", binding.to_lowercase()), &object).await?;
    }
    for resource in ["clusterrole", "role"] {
        let asked = json!({ "group": "pool.test", "resource": resource, "verb": "sing", "namespace": "default" });
        let review = json!({ "spec": { "user": name, "resourceAttributes": asked } });
        eventually(LIMIT, "permissions to be in effect", async || {
            let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
            let (_, output) = cluster.request(Method::POST, path, Some(&review)).await?;
            ensure!(output["status"]["allowed"] == true, "{}", output["status"]);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The canary of a policy applies to the creation of one ConfigMap.
fn constraints(name: &str) -> Value {
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [
            { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] },
        ] },
        "matchConditions": [{ "name": "canary", "expression": format!("object.metadata.name == '{name}'") }],
    })
}

async fn dry_run(cluster: &ControlPlane, name: &str) -> Result<Value> {
    let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
    Ok(cluster.request(Method::POST, path, Some(&json!({ "metadata": { "name": name } }))).await?.1)
}

async fn validating(cluster: &ControlPlane, name: &str) -> Result<()> {
    let mut spec = constraints(name);
    spec["validations"] = json!([{ "expression": "false", "message": name }]);
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    create(cluster, &format!("{ADMISSION}/validatingadmissionpolicies"), &object).await?;
    let spec = json!({ "policyName": name, "validationActions": ["Deny"] });
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    create(cluster, &format!("{ADMISSION}/validatingadmissionpolicybindings"), &object).await?;
    eventually(LIMIT, "validating policies to be in effect", async || {
        let output = dry_run(cluster, name).await?;
        ensure!(output["message"].as_str().is_some_and(|text| text.ends_with(name)), "{output}");
        Ok(())
    })
    .await
}

async fn mutating(cluster: &ControlPlane, name: &str) -> Result<()> {
    let mut spec = constraints(name);
    spec["reinvocationPolicy"] = "Never".into();
    let expression = "[JSONPatch{op: 'add', path: '/data', value: {'sings': 'true'}}]";
    spec["mutations"] = json!([{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }]);
    let object = json!({ "metadata": { "name": name }, "spec": spec });
    create(cluster, &format!("{ADMISSION}/mutatingadmissionpolicies"), &object).await?;
    let object = json!({ "metadata": { "name": name }, "spec": { "policyName": name } });
    create(cluster, &format!("{ADMISSION}/mutatingadmissionpolicybindings"), &object).await?;
    eventually(LIMIT, "mutating policies to be in effect", async || {
        let output = dry_run(cluster, name).await?;
        ensure!(output["data"]["sings"] == "true", "{output}");
        Ok(())
    })
    .await
}
