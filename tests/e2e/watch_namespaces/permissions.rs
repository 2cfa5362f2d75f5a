//! The permissions of an operator of some namespaces, and what it reports if one is missing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::eventually;

use super::{ROLE, install, rendered};

/// Returns the permissions of `deploy/permissions.yaml` that are needed by namespace, or the
/// others, without that on the Lease.
fn listed(by_namespace: bool) -> Result<BTreeSet<(String, String)>> {
    let all: Vec<Value> = serde_saphyr::from_str(include_str!("../../../deploy/permissions.yaml"))?;
    let of_kind = all.iter().filter(|entry| entry["ownLease"] != true);
    let of_kind = of_kind.filter(|entry| (entry["byNamespace"] == true) == by_namespace);
    Ok(of_kind.flat_map(|entry| pairs(&json!([entry["resource"]]), &entry["verbs"])).collect())
}

fn pairs(resources: &Value, verbs: &Value) -> Vec<(String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let of = |resource: String| texts(verbs).into_iter().map(move |verb| (verb, resource.clone()));
    texts(resources).into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn component_divides_exactly_the_listed_permissions() -> Result<()> {
    let env = Environment::start().await?;
    let rendered = rendered(&env).await?;
    let given = |kind: &str, name: &str| -> Result<BTreeSet<(String, String)>> {
        let role = rendered.of_kind(kind).find(|role| role["metadata"]["name"] == name);
        let rules = role.and_then(|role| role["rules"].as_array()).with_context(|| name.to_owned())?;
        Ok(rules.iter().flat_map(|rule| pairs(&rule["resources"], &rule["verbs"])).collect())
    };
    assert_eq!(given("ClusterRole", "cognito-reset-operator")?, listed(false)?);
    assert_eq!(given("ClusterRole", ROLE)?, listed(true)?);
    let events = listed(true)?.into_iter().filter(|(_, resource)| resource == "events").collect();
    assert_eq!(given("Role", "cognito-reset-operator-events")?, events);
    Ok(())
}

#[tokio::test]
async fn missing_permission_is_named_with_its_namespace() -> Result<()> {
    let env = Environment::start().await?;
    install(&env, &["support", "shops"], &["support"]).await?;
    let refused = async |namespaces: &str| {
        let mut operator = env.operator().args([format!("--watch-namespaces={namespaces}")]).start()?;
        let status = operator.wait_exit(LIMIT).await?;
        assert!(!status.success(), "{}", operator.logs());
        anyhow::Ok(operator.logs())
    };
    let logs = refused("support,shops").await?;
    for (verb, resource) in listed(true)? {
        assert!(logs.contains(&format!("{verb} {resource} in the namespace shops")), "{verb} {resource}: {logs}");
    }
    assert!(!logs.contains("in the namespace support") && logs.contains("components/watch-namespaces"), "{logs}");
    // Without the flag, the permissions are needed everywhere.
    let everywhere = refused("").await?;
    assert!(everywhere.contains("list passwordresetrequests,") && !everywhere.contains("shops"), "{everywhere}");
    env.kubectl(&["delete", "rolebinding", "cognito-reset-operator-events", "-n", "default"]).await?;
    eventually(LIMIT, "the missing permission on Events", async || {
        let mut operator = env.operator().args(["--watch-namespaces=support"]).start()?;
        ensure!(!operator.wait_exit(LIMIT / 20).await?.success());
        ensure!(operator.logs().contains("create events in the namespace default"), "{}", operator.logs());
        anyhow::Ok(())
    })
    .await
}
