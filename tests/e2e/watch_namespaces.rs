//! `--watch-namespaces`, with an account that has the permissions on requests in some namespaces
//! only.

mod permissions;

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use cognito_reset_api::{Action, RequestRef};
use cognito_reset_core::ledger::Identity;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition, root};
use testbed::{Deployment, Operator, eventually};

use crate::permissions::claimed;

const ACCOUNT: &str = "cognito-reset-system:cognito-reset-operator";
const ROLE: &str = "cognito-reset-operator-requests";
const GROUP: &str = "/apis/cognito-reset.dev/v1alpha1";

/// Renders the base with the component.
async fn rendered(env: &Environment) -> Result<Deployment> {
    let folder = tempfile::tempdir()?;
    for part in ["deploy", "crds"] {
        let status = Command::new("cp").args(["-r", &root(part)]).arg(folder.path()).status()?;
        ensure!(status.success(), "{part} cannot be copied");
    }
    let overlay = folder.path().join("deploy/kustomize/overlay");
    fs::create_dir(&overlay)?;
    let text = "resources: [../base]\ncomponents: [../components/watch-namespaces]\n";
    fs::write(overlay.join("kustomization.yaml"), text)?;
    Deployment::render(env.cluster.as_admin(), &overlay).await
}

/// Installs the roles of the component, creates the namespaces, and binds the operator's account in
/// those that are `bound`.
async fn install(env: &Environment, namespaces: &[&str], bound: &[&str]) -> Result<()> {
    for object in rendered(env).await?.manifests {
        if ["ClusterRole", "Role", "RoleBinding"].iter().any(|kind| object["kind"] == *kind) {
            env.apply(&object.to_string()).await?;
        }
    }
    for namespace in namespaces {
        env.kubectl(&["create", "namespace", namespace]).await?;
    }
    for namespace in bound {
        bind(env, namespace).await?;
    }
    eventually(LIMIT, "the roles to take effect", async || {
        for namespace in namespaces {
            let account = format!("--as=system:serviceaccount:{ACCOUNT}");
            let question = ["auth", "can-i", "list", "passwordresetrequests", &account, "-n", namespace];
            let allowed = env.cluster.kubectl(&question).await?.stdout;
            ensure!((allowed.trim() == "yes") == bound.contains(namespace), "{namespace}: {allowed}");
        }
        anyhow::Ok(())
    })
    .await
}

async fn bind(env: &Environment, namespace: &str) -> Result<()> {
    let (role, account) = (format!("--clusterrole={ROLE}"), format!("--serviceaccount={ACCOUNT}"));
    env.kubectl(&["create", "rolebinding", "cognito-reset-operator", "-n", namespace, &role, &account]).await?;
    Ok(())
}

async fn start(env: &Environment, identity: &str, namespaces: &str, more: &[&str]) -> Result<Operator> {
    let flag = format!("--watch-namespaces={namespaces}");
    env.run_with(env.replica(identity, None).args([flag.as_str()]).args(more.iter().copied())).await
}

/// Creates a request in a namespace for a new user of the same name.
async fn ask(env: &Environment, namespace: &str, name: &str, spec: &str) -> Result<()> {
    env.users.create_user(&env.pool, name).await?;
    let request = env.request(name, name, spec);
    env.apply(&request.replace("namespace: default", &format!("namespace: {namespace}"))).await?;
    Ok(())
}

async fn read(env: &Environment, namespace: &str, name: &str) -> Result<Value> {
    env.cluster.read(&format!("{GROUP}/namespaces/{namespace}/passwordresetrequests/{name}")).await
}

async fn succeeds(env: &Environment, namespace: &str, name: &str) -> Result<()> {
    eventually(LIMIT, format!("{namespace}/{name} to succeed"), async || {
        let request = read(env, namespace, name).await?;
        ensure!(request["status"]["outcome"] == "Succeeded", "{}", request["status"]);
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(env.calls(name), 1, "{name}");
    Ok(())
}

/// Fails if the operator has asked for requests of the whole cluster, or for anything in this
/// namespace.
fn never_asked_about(env: &Environment, namespace: &str) {
    let (all, one) = (format!("{GROUP}/passwordresetrequests"), format!("/namespaces/{namespace}/"));
    let paths: Vec<_> = env.api.requests().into_iter().map(|request| request.seen.path).collect();
    let asked: Vec<_> = paths.iter().filter(|path| path.starts_with(&all) || path.contains(&one)).collect();
    assert!(asked.is_empty() && paths.len() > 10, "{asked:?} of {}", paths.len());
}

#[tokio::test]
async fn request_is_performed_in_a_watched_namespace_alone() -> Result<()> {
    let env = Environment::start().await?;
    install(&env, &["support", "shops"], &["support"]).await?;
    ask(&env, "shops", "elsewhere", "").await?;
    let before = read(&env, "shops", "elsewhere").await?;
    let operator = start(&env, "one", "support,later", &[]).await?;
    assert!(operator.logs().contains("does not exist") && operator.logs().contains("later"), "{}", operator.logs());
    ask(&env, "support", "here", "").await?;
    succeeds(&env, "support", "here").await?;
    eventually(LIMIT, "an Event in the namespace of the request", async || {
        let events = env.cluster.read("/apis/events.k8s.io/v1/namespaces/support/events").await?;
        let seen = events["items"].as_array().is_some_and(|all| all.iter().any(|it| it["regarding"]["name"] == "here"));
        ensure!(seen, "{events}");
        anyhow::Ok(())
    })
    .await?;
    // A namespace that is created later is handled once the account is bound there.
    env.kubectl(&["create", "namespace", "later"]).await?;
    bind(&env, "later").await?;
    ask(&env, "later", "afterwards", "").await?;
    succeeds(&env, "later", "afterwards").await?;
    // Finished requests are listed by namespace, too.
    ask(&env, "support", "brief", "ttlSecondsAfterFinished: 0").await?;
    eventually(LIMIT, "the finished request to be deleted", async || {
        ensure!(read(&env, "support", "brief").await.is_err(), "it is there");
        anyhow::Ok(())
    })
    .await?;
    let after = read(&env, "shops", "elsewhere").await?;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    // The default of the CRD.
    assert_eq!((&condition(&after, "Ready")["reason"], env.calls("elsewhere")), (&json!("Pending"), 0));
    never_asked_about(&env, "shops");
    // An operator that watches the other namespace needs its permissions there, and performs it.
    bind(&env, "shops").await?;
    let _other = start(&env, "two", "shops", &[]).await?;
    succeeds(&env, "shops", "elsewhere").await
}

#[tokio::test]
async fn two_operators_share_a_cluster_and_a_namespace() -> Result<()> {
    let env = Environment::start().await?;
    install(&env, &["support", "shops", "both"], &["support", "shops", "both"]).await?;
    for number in 0..4 {
        ask(&env, "both", &format!("before-{number}"), "").await?;
    }
    let _one = start(&env, "one", "support,both", &[]).await?;
    let _two = start(&env, "two", "both,shops", &[]).await?;
    for number in 0..4 {
        for namespace in ["support", "shops", "both"] {
            ask(&env, namespace, &format!("{namespace}-{number}"), "").await?;
        }
    }
    for number in 0..4 {
        succeeds(&env, "both", &format!("before-{number}")).await?;
        for namespace in ["support", "shops", "both"] {
            succeeds(&env, namespace, &format!("{namespace}-{number}")).await?;
        }
    }
    for record in env.list("prrec").await? {
        let holder = record["attempts"][0]["operatorInstance"].as_str();
        let namespace = record["request"]["namespace"].as_str().context("no namespace")?;
        let wanted: &[_] = match namespace {
            "support" => &["one"],
            "shops" => &["two"],
            _ => &["one", "two"],
        };
        assert!(holder.is_some_and(|holder| wanted.contains(&holder)), "{namespace}: {holder:?}");
    }
    Ok(())
}

/// Returns a claim of a request that does not exist in a namespace, with the name that its record
/// has, or the record of such a request whose retention has passed.
fn record(env: &Environment, namespace: &str, name: &str, effect: Option<&str>) -> Value {
    let mut record = claimed(env, name);
    let request = RequestRef { namespace: namespace.into(), name: name.into() };
    record["request"]["namespace"] = namespace.into();
    let (user_pool_id, username) = (env.pool.clone(), name.to_owned());
    let identity = Identity { action: Action::PasswordReset, request, user_pool_id, username };
    record["metadata"]["name"] = identity.record_name().into();
    if let Some(effect) = effect {
        record["effect"] = effect.into();
    }
    record
}

#[tokio::test]
async fn records_of_another_namespace_are_left_alone() -> Result<()> {
    let env = Environment::start().await?;
    install(&env, &["support", "shops"], &["support", "shops"]).await?;
    let records = [("open", None), ("old", Some("Unknown"))].map(|(name, effect)| {
        ["support", "shops"].map(|namespace| record(&env, namespace, &format!("{name}-{namespace}"), effect))
    });
    let names = records.each_ref().map(|pair| pair.each_ref().map(|it| it["metadata"]["name"].clone()));
    for record in records.as_flattened() {
        env.apply(&record.to_string()).await?;
    }
    let of = async |name: &Value| {
        let all = env.list("prrec").await?;
        anyhow::Ok(all.into_iter().find(|record| record["metadata"]["name"] == *name))
    };
    let ([open_here, open_there], [old_here, old_there]) = (&names[0], &names[1]);
    let before = (of(open_there).await?.context("none")?, of(old_there).await?.context("none")?);
    let times = ["--record-retention=1s", "--retention-scan-interval=1s", "--retention-rate=100"];
    let done = async |open: &Value, old: &Value| {
        eventually(LIMIT, "the claim to be resolved and the old record to be deleted", async || {
            let resolved = of(open).await?.is_none_or(|record| record["effect"].is_string());
            ensure!(of(old).await?.is_none() && resolved, "not yet");
            anyhow::Ok(())
        })
        .await
    };
    {
        let _here = start(&env, "one", "support", &times).await?;
        done(open_here, old_here).await?;
        // Everything that is listed now has been seen by a whole scan when this is gone.
        let last = record(&env, "support", "last", Some("Unknown"));
        env.apply(&last.to_string()).await?;
        done(open_here, &last["metadata"]["name"]).await?;
        assert_eq!((of(open_there).await?.context("gone")?, of(old_there).await?.context("gone")?), before);
        never_asked_about(&env, "shops");
    }
    let _there = start(&env, "two", "shops", &times).await?;
    done(open_there, old_there).await
}

#[tokio::test]
async fn standby_of_other_namespaces_reports_its_leader() -> Result<()> {
    let env = Environment::start().await?;
    install(&env, &["support", "shops"], &["support", "shops"]).await?;
    let replica = async |identity: &str, namespaces: &str| {
        let flag = format!("--watch-namespaces={namespaces}");
        env.run_with(env.replica(identity, Some("10s")).args([flag])).await
    };
    let warning = "the leader watches other namespaces than this replica";
    let leader = replica("one", "support").await?;
    assert_eq!(leader.page("/readyz").await?.1.trim(), "leader");
    let (same, other) = (replica("two", "support").await?, replica("three", "shops").await?);
    // A standby compares before it is ready.
    assert_eq!(other.page("/readyz").await?.1.trim(), "standby");
    assert!(other.logs().contains(warning) && other.logs().contains(r#""own":"shops""#), "{}", other.logs());
    assert!(!same.logs().contains(warning) && !leader.logs().contains(warning), "{}", same.logs());
    Ok(())
}
