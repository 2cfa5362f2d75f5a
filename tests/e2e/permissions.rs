//! The operator's permissions are enough, and none is too many: without any one of them, the
//! scenario that needs it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use cognito_reset_api::{Action, RequestRef};
use cognito_reset_core::ledger::Identity;
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, base, condition};
use testbed::{Deployment, Fault, Matcher, Operator, Reply, eventually};

use crate::{holds::without_reason, invalid_objects::taken_under};

const ROLE: &str = "cognito-reset-operator";
const NAMESPACE: &str = "cognito-reset-system";
/// Long enough for a leader to keep it on a busy machine.
const LEASE: &str = "10s";
/// The time that a scenario gets without one permission, as a multiple of the time that it takes
/// with all of them.
const PATIENCE: u32 = 5;
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// A watch that begins again every second, a history that is forgotten at once, and confirmations
/// so rare that the lists for them do not replace a watch that is missing.
const ARGUMENTS: [&str; 5] = [
    "--watch-timeout=1s",
    "--probes=1",
    "--record-retention=1s",
    "--retention-scan-interval=1s",
    "--grant-freshness=5m",
];

/// Some verbs on one resource, of `deploy/permissions.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    api_group: String,
    resource: String,
    verbs: Vec<String>,
    #[serde(default)]
    own_lease: bool,
    #[serde(default)]
    with_retention: bool,
    scenario: String,
}

fn permissions() -> Result<Vec<Permission>> {
    Ok(serde_saphyr::from_str(include_str!("../../deploy/permissions.yaml"))?)
}

type Triple = (String, String, String);

fn triples<'a>(list: impl IntoIterator<Item = &'a Permission>) -> BTreeSet<Triple> {
    let each = |permission: &Permission| {
        let (group, resource) = (permission.api_group.clone(), permission.resource.clone());
        permission.verbs.clone().into_iter().map(move |verb| (group.clone(), resource.clone(), verb))
    };
    list.into_iter().flat_map(each).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns the rules of a ClusterRole that give these permissions.
fn rules(rights: &BTreeSet<Triple>) -> Value {
    let rule =
        |(group, resource, verb): &Triple| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
    rights.iter().map(rule).collect()
}

/// Gives the permissions on the operator's own Lease by its Role, and the others by its
/// ClusterRole.
async fn set_rights(env: &Environment, rights: &BTreeSet<Triple>) -> Result<()> {
    let (own, others): (BTreeSet<_>, _) = rights.iter().cloned().partition(|(_, resource, _)| resource == "leases");
    for (kind, rights) in [("clusterrole", others), ("role", own)] {
        let patch = json!([{ "op": "replace", "path": "/rules", "value": rules(&rights) }]).to_string();
        env.kubectl(&["patch", kind, ROLE, "-n", NAMESPACE, "--type=json", "-p", &patch]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_base_gives_exactly_the_listed_permissions() -> Result<()> {
    let env = Environment::start().await?;
    let base = Deployment::render(env.cluster.as_admin(), &base()).await?;
    let mut given = BTreeSet::new();
    let own = |role: &&Value| role["metadata"]["name"] == ROLE;
    for role in base.of_kind("ClusterRole").chain(base.of_kind("Role")).filter(own) {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        given.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    assert_eq!(given, triples(&permissions()?));
    let own = triples(permissions()?.iter().filter(|permission| permission.own_lease));
    assert_eq!(own, given.into_iter().filter(|(group, ..)| group == "coordination.k8s.io").collect());
    for role in base.of_kind("ClusterRole") {
        assert!(!role["rules"].to_string().contains("coordination.k8s.io"), "the Lease is given for one namespace");
    }
    let account = format!("--as=system:serviceaccount:{}:{}", base.namespace, base.service_account);
    for (lease, allowed) in [("cognito-reset-operator", "yes"), ("kube-scheduler", "no")] {
        let lease = format!("leases.coordination.k8s.io/{lease}");
        for (namespace, allowed) in [(base.namespace.as_str(), allowed), ("kube-system", "no")] {
            let output = env.cluster.kubectl(&["auth", "can-i", "update", &lease, &account, "-n", namespace]).await?;
            assert_eq!(output.stdout.trim(), allowed, "{lease} in {namespace}");
        }
    }
    for resource in ["secrets", "configmaps", "pods"] {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            let allowed = env.cluster.kubectl(&["auth", "can-i", verb, resource, &account, "-A"]).await?;
            assert_eq!(allowed.stdout.trim(), "no", "{verb} {resource}");
        }
    }
    Ok(())
}

/// Returns the permissions of a service account in a namespace, as the API server lists them for
/// the account's own token.
async fn listed_by_the_api_server(
    env: &Environment,
    account: (&str, &str),
    namespace: &str,
) -> Result<BTreeSet<Triple>> {
    let token = env.cluster.service_account_token(account.0, account.1).await?;
    let account = env.cluster.as_admin().with_kubeconfig(&env.cluster.kubeconfig_for(&token, None)?);
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": { "namespace": namespace } });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let output = account.run_with_input(&["create", "--raw", path, "-f", "-"], &review.to_string()).await?.success()?;
    let status = serde_json::from_str::<Value>(&output)?["status"].clone();
    ensure!(status["incomplete"] == false, "{status}");
    let mut listed = BTreeSet::new();
    for rule in status["resourceRules"].as_array().into_iter().flatten() {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    // All verbs on Leases except `create` are for the Lease of that name.
                    let named = rule["resourceNames"] == json!([ROLE]);
                    ensure!(named == (resource == "leases" && verb != "create"), "{rule}");
                    listed.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    Ok(listed)
}

/// Returns the same of the operator, without the permissions of every service account, such as
/// questions about itself.
async fn listed_for_the_operator(env: &Environment, namespace: &str) -> Result<BTreeSet<Triple>> {
    let operator = listed_by_the_api_server(env, (NAMESPACE, ROLE), namespace).await?;
    let anybody = listed_by_the_api_server(env, ("default", "nobody"), namespace).await?;
    Ok(operator.difference(&anybody).cloned().collect())
}

#[tokio::test]
async fn the_api_server_grants_exactly_the_listed_permissions() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["create", "serviceaccount", "nobody", "-n", "default"]).await?;
    let all = triples(&permissions()?);
    let elsewhere = triples(permissions()?.iter().filter(|permission| !permission.own_lease));
    for (namespace, wanted) in [(NAMESPACE, &all), ("default", &elsewhere), ("kube-system", &elsewhere)] {
        eventually(LIMIT, "the roles to take effect", async || {
            let listed = listed_for_the_operator(&env, namespace).await?;
            ensure!(listed == *wanted, "in {namespace}: {listed:?}");
            anyhow::Ok(())
        })
        .await?;
        let listed = listed_by_the_api_server(&env, (NAMESPACE, ROLE), namespace).await?;
        for resource in ["secrets", "configmaps", "pods", "serviceaccounts", "*"] {
            assert!(
                !listed.iter().any(|(_, given, _)| given.split('/').next() == Some(resource)),
                "{resource}: {listed:?}"
            );
        }
    }
    // With one more permission, the list is longer.
    env.kubectl(&["create", "role", "more", "-n", "default", "--verb=get", "--resource=pods"]).await?;
    let more = ["create", "rolebinding", "more", "-n", "default", "--role=more"];
    env.kubectl(&[&more[..], &[&format!("--serviceaccount={NAMESPACE}:{ROLE}")]].concat()).await?;
    eventually(LIMIT, "a permission too many in the list", async || {
        let listed = listed_for_the_operator(&env, "default").await?;
        ensure!(listed.iter().any(|(_, resource, _)| resource == "pods"), "{listed:?}");
        anyhow::Ok(())
    })
    .await
}

/// Runs a short pass of the scenario that needs a permission. `tag` makes its names unique.
async fn scenario(env: &Environment, name: &str, tag: &str, limit: Duration) -> Result<()> {
    match name {
        "settles-a-request" => {
            env.grant(tag, "namespaces: [default]").await?;
            env.ask(tag).await?;
            ends(env, tag, limit).await?;
            // Only a request that is applied again has its record read.
            env.kubectl(&["delete", "prr", tag]).await?;
            env.apply(&env.request(tag, tag, "")).await?;
            ends(env, tag, limit).await
        }
        "resolves-an-orphaned-claim" => {
            env.apply(&claimed(env, tag).to_string()).await?;
            eventually(limit, "the orphan to be found", async || {
                let list = format!("/apis/cognito-reset.dev/v1alpha1/passwordresetrecords/r2-{tag}");
                let found = env.api.requests().iter().any(|request| request.seen.path.contains(&list));
                let swept = env.api.requests().iter().any(|request| {
                    request.seen.path.contains("effect") && request.status.is_some_and(|status| status.is_success())
                });
                ensure!(found || swept, "nothing looked for it");
                anyhow::Ok(())
            })
            .await
        }
        "deletes-a-finished-request" => {
            env.grant(tag, "namespaces: [default]").await?;
            env.users.create_user(&env.pool, tag).await?;
            env.apply(&env.request(tag, tag, "ttlSecondsAfterFinished: 0")).await?;
            goes(env, "prr", tag, limit).await
        }
        "deletes-a-record" => {
            let mut record = claimed(env, tag);
            let request = RequestRef { namespace: "default".into(), name: tag.into() };
            let identity = Identity {
                action: Action::PasswordReset,
                request,
                user_pool_id: env.pool.clone(),
                username: tag.into(),
            };
            record["metadata"]["name"] = identity.record_name().into();
            record["effect"] = "Unknown".into();
            env.apply(&record.to_string()).await?;
            goes(env, "prrec", &identity.record_name(), limit).await
        }
        "reports-grant-status" => {
            env.grant(tag, "namespaces: [default]").await?;
            eventually(limit, "the grant's status", async || {
                let ready = condition(&env.get("poolgrant", tag).await?, "Ready");
                ensure!(ready["status"] == "True", "{ready}");
                anyhow::Ok(())
            })
            .await
        }
        "reports-an-invalid-request" => {
            let request = env.request(tag, tag, "ifResetRequired: Perhaps");
            taken_under_another_definition(env, "passwordresetrequests", "ifResetRequired", &request).await?;
            eventually(limit, "the request to say so", async || {
                let seen = env.state(tag).await?;
                ensure!(seen == "Pending/InvalidObject", "{seen}");
                anyhow::Ok(())
            })
            .await
        }
        "reports-an-invalid-grant" => {
            let grant = format!(
                "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: {tag}}}\nspec: {{userPoolID: {}, namespaces: [default], maxPendingPerNamespace: few}}",
                env.pool
            );
            taken_under_another_definition(env, "userpoolgrants", "maxPendingPerNamespace", &grant).await?;
            eventually(limit, "the grant to say so", async || {
                let ready = condition(&env.get("poolgrant", tag).await?, "Ready");
                ensure!(ready["reason"] == "InvalidObject", "{ready}");
                anyhow::Ok(())
            })
            .await
        }
        "respects-a-hold" => {
            env.grant(tag, "namespaces: [default]").await?;
            env.hold(tag, &format!("usernames: [{tag}]")).await?;
            // Watches are not ordered among each other: the request has to come after the hold.
            eventually(limit, "the hold to be seen", async || {
                let ready = condition(&env.get("poolhold", tag).await?, "Ready");
                ensure!(ready["status"] == "True", "{ready}");
                anyhow::Ok(())
            })
            .await?;
            env.ask(tag).await?;
            eventually(limit, "the request to be held", async || {
                let seen = env.state(tag).await?;
                ensure!(seen == "Pending/UserPoolHeld", "{seen}");
                anyhow::Ok(())
            })
            .await?;
            env.kubectl(&["delete", "poolhold", tag]).await?;
            ends(env, tag, limit).await
        }
        "reports-hold-status" => {
            env.hold(tag, "namespaces: [default]\nusernames: [nobody]").await?;
            eventually(limit, "the hold's status", async || {
                let ready = condition(&env.get("poolhold", tag).await?, "Ready");
                ensure!(ready["status"] == "True", "{ready}");
                anyhow::Ok(())
            })
            .await
        }
        "reports-an-invalid-hold" => {
            let hold = format!(
                "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolHold\nmetadata: {{name: {tag}}}\nspec: {{namespaces: [none-such]}}\n"
            );
            taken_under(env, "userpoolholds", without_reason, &[hold]).await?;
            eventually(limit, "the hold to say so", async || {
                let ready = condition(&env.get("poolhold", tag).await?, "Ready");
                ensure!(ready["reason"] == "InvalidObject", "{ready}");
                anyhow::Ok(())
            })
            .await
        }
        "follows-namespace-labels" => {
            env.kubectl(&["create", "namespace", tag]).await?;
            env.grant(tag, &format!("namespaceSelector: {{matchLabels: {{team: {tag}}}}}")).await?;
            env.users.create_user(&env.pool, tag).await?;
            env.apply(&env.request(tag, tag, "").replace("namespace: default", &format!("namespace: {tag}"))).await?;
            eventually(limit, "the request to wait for the label", async || {
                let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
                let seen = env.kubectl(&["get", "prr", tag, "-n", tag, "-o", path]).await?;
                ensure!(seen == "NoMatchingGrant", "{seen}");
                anyhow::Ok(())
            })
            .await?;
            env.kubectl(&["label", "namespace", tag, &format!("team={tag}")]).await?;
            eventually(limit, "the request to end", async || {
                let path = "jsonpath={.status.completionTime}";
                let seen = env.kubectl(&["get", "prr", tag, "-n", tag, "-o", path]).await?;
                ensure!(!seen.is_empty(), "it waits");
                anyhow::Ok(())
            })
            .await
        }
        "reports-by-event" => {
            env.grant(tag, "namespaces: [default]").await?;
            env.ask(tag).await?;
            event(env, tag, limit, "it", |_| true).await
        }
        "counts-a-repeated-event" => {
            env.grant(tag, "namespaces: [default]").await?;
            env.ask(tag).await?;
            event(env, tag, limit.max(LIMIT / 4), "it", |_| true).await?;
            let drop = [
                "patch",
                "prr",
                tag,
                "--subresource=status",
                "--type=json",
                "-p",
                r#"[{"op":"remove","path":"/status"}]"#,
            ];
            env.kubectl(&drop).await?;
            event(env, tag, limit, "its repetition", |event| event["series"]["count"].as_i64() >= Some(2)).await
        }
        "leads" => {
            // A deleted Lease is created again, and renewed.
            env.kubectl(&["delete", "lease", ROLE, "-n", NAMESPACE]).await?;
            let mut renewals = BTreeSet::new();
            eventually(limit, "renewals of a new lease", async || {
                let path = "jsonpath={.spec.renewTime}";
                let renewed = env.kubectl(&["get", "lease", ROLE, "-n", NAMESPACE, "-o", path]).await?;
                renewals.insert(renewed);
                ensure!(renewals.len() > 1, "{renewals:?}");
                anyhow::Ok(())
            })
            .await
        }
        other => bail!("there is no scenario {other}"),
    }
}

/// Creates an object under a CRD that does not check this field, and restores the CRD afterwards.
async fn taken_under_another_definition(env: &Environment, plural: &str, field: &str, object: &str) -> Result<()> {
    let crd = format!("{plural}.cognito-reset.dev");
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
    let original = env.get("crd", &crd).await?.pointer(&path).cloned().unwrap_or_default();
    // The rules of the CRD compare a string, so it stays one.
    let any = match original["type"].as_str() {
        Some("string") => json!({ "type": "string", "description": "any", "default": original["default"] }),
        _ => json!({ "x-kubernetes-preserve-unknown-fields": true, "description": "any" }),
    };
    let replace = async |schema: &Value| {
        let patch = json!([{ "op": "replace", "path": path, "value": schema }]).to_string();
        env.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch]).await
    };
    replace(&any).await?;
    eventually(LIMIT, "the other definition", async || env.apply(object).await).await?;
    replace(&original).await?;
    Ok(())
}

/// Returns a claim whose holder is gone, and whose request never existed.
pub(crate) fn claimed(env: &Environment, tag: &str) -> Value {
    json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord",
        "metadata": { "name": format!("r2-{tag}") }, "schema": 1, "action": "PasswordReset", "userPoolID": env.pool, "username": tag,
        "request": { "namespace": "default", "name": tag },
        "attempts": [{ "id": tag, "operatorInstance": "gone", "requestUID": "gone", "requestedBy": { "username": "unverified" },
            "claimedAt": "2026-11-23T00:00:00Z" }],
    })
}

async fn goes(env: &Environment, kind: &str, name: &str, limit: Duration) -> Result<()> {
    eventually(limit, format!("{kind} {name} to be deleted"), async || {
        ensure!(!env.exists(kind, name).await?, "it is there");
        anyhow::Ok(())
    })
    .await
}

async fn ends(env: &Environment, name: &str, limit: Duration) -> Result<()> {
    eventually(limit, "the request to end", async || {
        let seen = env.state(name).await?;
        ensure!(seen.starts_with("Succeeded"), "{seen}");
        anyhow::Ok(())
    })
    .await
}

async fn event(
    env: &Environment,
    name: &str,
    limit: Duration,
    what: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result<()> {
    eventually(limit, format!("the event: {what}"), async || {
        let events = env.list("events").await?;
        ensure!(events.iter().any(|event| event["regarding"]["name"] == name && fits(event)), "none");
        anyhow::Ok(())
    })
    .await
}

/// Starts a leader that begins its watches again every second, so that a missing permission to list
/// or watch is soon noticed.
async fn operator(env: &Environment) -> Result<Operator> {
    // The Lease of a leader that was killed.
    env.kubectl(&["delete", "lease", ROLE, "-n", NAMESPACE, "--ignore-not-found"]).await?;
    env.run_with(env.replica("leader", Some(LEASE)).args(ARGUMENTS)).await
}

/// A part of the permissions. Each has a test of its own, so that they run side by side.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Requests,
    Records,
    GrantsAndHolds,
    Others,
}

fn part(permission: &Permission) -> Part {
    match permission.resource.split('/').next() {
        Some("passwordresetrequests") => Part::Requests,
        Some("passwordresetrecords") => Part::Records,
        Some("userpoolgrants" | "userpoolholds") => Part::GrantsAndHolds,
        _ => Part::Others,
    }
}

#[tokio::test]
async fn missing_permission_on_requests_fails_and_is_named() -> Result<()> {
    each_missing(Part::Requests).await
}

#[tokio::test]
async fn missing_permission_on_records_fails_and_is_named() -> Result<()> {
    each_missing(Part::Records).await
}

#[tokio::test]
async fn missing_permission_on_grants_and_holds_fails_and_is_named() -> Result<()> {
    each_missing(Part::GrantsAndHolds).await
}

#[tokio::test]
async fn other_missing_permission_fails_and_is_named() -> Result<()> {
    each_missing(Part::Others).await
}

async fn each_missing(wanted: Part) -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let all = triples(&permissions()?);
    let missing = permissions()?.into_iter().enumerate().filter(|(_, permission)| part(permission) == wanted);
    let missing: Vec<_> = missing.collect();
    let names: BTreeSet<_> = missing.iter().map(|(_, permission)| permission.scenario.clone()).collect();
    let mut patience = BTreeMap::new();
    {
        let _operator = operator(&env).await?;
        for name in names {
            let begun = Instant::now();
            scenario(&env, &name, &format!("with-{name}"), LIMIT).await?;
            patience.insert(name, LEAST_PATIENCE.max(begun.elapsed() * PATIENCE));
        }
    }
    for (number, permission) in &missing {
        for verb in &permission.verbs {
            let missing = (permission.api_group.clone(), permission.resource.clone(), verb.clone());
            let what = format!("{verb} {}", permission.resource);
            // A grant of an earlier pass would do for the next one.
            for kind in ["poolgrant", "poolhold", "prr"] {
                env.kubectl(&["delete", kind, "--all", "-A"]).await?;
            }
            let mut running = operator(&env).await?;
            let mut left = all.clone();
            assert!(left.remove(&missing));
            set_rights(&env, &left).await?;
            // A running watch goes on for its time; the next one is refused.
            refused(&env, &missing).await?;
            env.api.forget();
            let tag = format!("{number}-{verb}-without");
            let result = scenario(&env, &permission.scenario, &tag, patience[&permission.scenario]).await;
            assert!(result.is_err(), "{} passes without {what}", permission.scenario);
            if permission.own_lease {
                assert!(!running.wait_exit(LIMIT).await?.success(), "{what}: {}", running.logs());
            } else {
                assert!(running.is_running(), "{what}: {}", running.logs());
                running.sigkill().await?;
            }
            let mut started = env.replica("next", Some(LEASE)).start()?;
            let status = started.wait_exit(LIMIT).await?;
            assert!(!status.success() && started.logs().contains(&what), "{what}: {}", started.logs());
            set_rights(&env, &all).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn keeping_records_forever_needs_no_permission_to_delete() -> Result<()> {
    let env = Environment::start().await?;
    let rights = permissions()?;
    let left = triples(rights.iter().filter(|permission| !permission.with_retention));
    assert_eq!(triples(&rights).difference(&left).count(), 1);
    set_rights(&env, &left).await?;
    refused(&env, &("cognito-reset.dev".into(), "passwordresetrecords".into(), "delete".into())).await?;
    let mut started = env.operator().start()?;
    assert!(!started.wait_exit(LIMIT).await?.success());
    assert!(started.logs().contains("delete passwordresetrecords"), "{}", started.logs());
    let _operator = env.run_with(env.operator().args(["--record-retention=0"])).await?;
    env.ask("kept").await?;
    ends(&env, "kept", LIMIT).await
}

/// Waits until the API server applies the change, and for recurring reads until one was refused.
async fn refused(env: &Environment, (group, resource, verb): &Triple) -> Result<()> {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{ROLE}");
    let own = resource == "leases";
    let (plain, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let full = if group.is_empty() { plain.to_owned() } else { format!("{plain}.{group}") };
    let subresource = format!("--subresource={sub}");
    eventually(LIMIT, format!("{verb} {resource} to be refused"), async || {
        let mut arguments = vec!["auth", "can-i", verb.as_str(), full.as_str(), &account];
        arguments.extend(if own { ["-n", NAMESPACE].as_slice() } else { &["-A"] });
        if !sub.is_empty() {
            arguments.push(&subresource);
        }
        let allowed = env.cluster.kubectl(&arguments).await?;
        ensure!(allowed.stdout.trim() == "no", "{allowed}");
        anyhow::Ok(())
    })
    .await?;
    if ["list", "watch"].contains(&verb.as_str()) && resource != "passwordresetrecords" {
        // The watch in use goes on. The operator lists again after it expires, and watches again
        // after it ends.
        let watch = {
            let resource = resource.clone();
            Matcher::new(move |seen| seen.path.contains(&resource) && seen.path.contains("watch=true"))
        };
        if verb == "list" {
            let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Failure", "reason": "Expired", "message": "too old", "code": 410 } });
            env.api.once(
                watch,
                Fault::Respond(Reply::new(200, format!("{gone}\n")).header("content-type", "application/json")),
            );
        }
        env.api.forget();
        eventually(LIMIT, format!("a refused {verb} of {resource}"), async || {
            let seen = env.api.requests();
            // The retention scan lists ended requests by a label selector, beside the watch in
            // question.
            let of = seen.iter().filter(|request| {
                request.seen.path.contains(resource.as_str()) && !request.seen.path.contains("labelSelector")
            });
            let refused = of.filter(|request| request.status.is_some_and(|status| status.as_u16() == 403)).count();
            ensure!(refused > 0, "none yet");
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}
