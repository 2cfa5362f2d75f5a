//! The requester of a request is proven. Nobody but the operator writes a request's outcome,
//! regardless of other permissions.

mod administrator;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, root, with_definitions};
use testbed::{KubectlResult, Pool, eventually};

/// A user with every permission in the namespace `default`, and none beyond it.
const MALLORY: &str = "--as=mallory";
const STAMP: &str = "deploy/kustomize/components/stamp-requester";

struct People(Environment);

impl People {
    async fn start() -> Result<Self> {
        let this = Self::of(Environment::start().await?).await?;
        // Policies take effect a moment after they are created.
        this.refused_in_the_end(
            &["create", "--dry-run=server", "-f", "-"],
            &this.forged("probe"),
            "must name the user",
        )
        .await?;
        Ok(this)
    }

    async fn of(env: Environment) -> Result<Self> {
        for user in ["mallory", "alice"] {
            env.kubectl(&["create", "rolebinding", user, "--clusterrole=all", &format!("--user={user}")]).await?;
        }
        env.kubectl(&["create", "clusterrole", "all", "--verb=*", "--resource=*.*"]).await?;
        Ok(Self(env))
    }

    /// Starts with the stamp, once it takes effect.
    async fn stamped() -> Result<Self> {
        let this = Self::start().await?;
        this.0.kubectl(&["apply", "-f", &root(&format!("{STAMP}/mutatingadmissionpolicy.yaml"))]).await?;
        this.is_stamped().await?;
        Ok(this)
    }

    async fn is_stamped(&self) -> Result<()> {
        eventually(LIMIT, "the stamp to take effect", async || {
            let made = self.run(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &self.plain("probe")).await?;
            anyhow::ensure!(made.stdout.contains("\"mallory\""), "{made}");
            Ok(())
        })
        .await
    }

    fn plain(&self, name: &str) -> String {
        self.0.request(name, "someone", "")
    }

    fn forged(&self, name: &str) -> String {
        self.0.request(name, "someone", "requestedBy: {username: root}")
    }

    /// Runs kubectl as mallory.
    async fn run(&self, arguments: &[&str], input: &str) -> Result<KubectlResult> {
        let arguments: Vec<_> = arguments.iter().copied().chain([MALLORY]).collect();
        self.0.cluster.as_admin().run_with_input(&arguments, input).await
    }

    async fn refused_in_the_end(&self, arguments: &[&str], input: &str, says: &str) -> Result<()> {
        eventually(LIMIT, "a refusal", async || {
            let output = self.run(arguments, input).await?.refusal()?;
            anyhow::ensure!(output.contains(says), "{output}");
            Ok(())
        })
        .await
    }

    async fn requester(&self, name: &str) -> Result<Value> {
        Ok(self.0.get("prr", name).await?["spec"]["requestedBy"].clone())
    }
}

#[tokio::test]
async fn without_the_stamp_nobody_can_name_another_requester() -> Result<()> {
    let people = People::start().await?;
    let refused = people.run(&["apply", "-f", "-"], &people.forged("forged")).await?.refusal()?;
    assert!(refused.contains("spec.requestedBy must name the user who creates"), "{refused}");
    assert!(refused.contains("leave it out"), "{refused}");
    people.run(&["apply", "-f", "-"], &people.plain("plain")).await?.success()?;
    assert_eq!(people.requester("plain").await?, json!({ "username": "unverified" }));
    let own = people.0.request("own", "someone", "requestedBy: {username: mallory}");
    people.run(&["apply", "-f", "-"], &own).await?.success()?;
    assert_eq!(people.requester("own").await?, json!({ "username": "mallory" }));
    let uid = people.0.request("uid", "someone", "requestedBy: {username: mallory, uid: made-up}");
    people.run(&["apply", "-f", "-"], &uid).await?.refusal()?;
    Ok(())
}

#[tokio::test]
async fn the_stamp_names_who_created_a_request_however_it_was_created() -> Result<()> {
    let people = People::stamped().await?;
    let mallory = json!({ "username": "mallory" });
    for (name, arguments) in [
        ("applied", &["apply", "-f", "-"][..]),
        ("applied-by-the-server", &["apply", "--server-side", "-f", "-"]),
        ("created", &["create", "-f", "-"]),
        ("replaced", &["replace", "--force", "-f", "-"]),
    ] {
        if name == "replaced" {
            people.0.apply(&people.plain(name)).await?;
            assert_eq!(people.requester(name).await?["username"], "admin");
        }
        people.run(arguments, &people.forged(name)).await?.success()?;
        assert_eq!(people.requester(name).await?, mallory, "{name}");
    }
    let generated = people.plain("x").replace("name: x", "generateName: generated-");
    let made = people.run(&["create", "-o", "json", "-f", "-"], &generated).await?.success()?;
    assert_eq!(serde_json::from_str::<Value>(&made)?["spec"]["requestedBy"], mallory);
    Ok(())
}

#[tokio::test]
async fn the_stamp_stays_when_another_user_applies_again() -> Result<()> {
    let people = People::stamped().await?;
    people.0.apply(&people.plain("stored")).await?;
    let admin = people.requester("stored").await?;
    assert_eq!(admin["username"], "admin");
    assert!(people.0.apply(&people.plain("stored")).await?.contains("unchanged"));
    for yaml in [people.plain("stored"), people.forged("stored")] {
        people.run(&["apply", "-f", "-"], &yaml).await?.success()?;
        people.run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &yaml).await?.success()?;
        assert_eq!(people.requester("stored").await?, admin);
    }
    let exported = people.0.kubectl(&["get", "prr", "stored", "-o", "yaml"]).await?;
    people.0.kubectl(&["delete", "prr", "stored"]).await?;
    let exported = exported
        .lines()
        .filter(|line| !line.contains("resourceVersion:") && !line.contains("  uid: "))
        .collect::<Vec<_>>();
    people.run(&["create", "-f", "-"], &exported.join("\n")).await?.success()?;
    assert_eq!(people.requester("stored").await?, json!({ "username": "mallory" }), "created again by another user");
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_stamped_with_its_uid() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    env.kubectl(&["create", "serviceaccount", "runbook", "-n", "default"]).await?;
    env.kubectl(&["create", "rolebinding", "runbook", "--clusterrole=all", "--serviceaccount=default:runbook"]).await?;
    let token = env.cluster.service_account_token("default", "runbook").await?;
    let account = env.cluster.as_admin().with_kubeconfig(&env.cluster.kubeconfig_for(&token, None)?);
    account.apply(&people.plain("by-account")).await?.success()?;
    let uid = env.get("serviceaccount", "runbook").await?["metadata"]["uid"].clone();
    let wanted = json!({ "username": "system:serviceaccount:default:runbook", "uid": uid });
    assert_eq!(people.requester("by-account").await?, wanted);
    Ok(())
}

#[tokio::test]
async fn a_namespace_administrator_cannot_settle_or_reset_twice() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    env.ask("once").await?;
    assert_eq!(env.ended("once").await?, "Succeeded/ResetAccepted");
    let stored = env.record("once").await?.unwrap_or_default();
    let name = stored["metadata"]["name"].as_str().unwrap_or_default();
    // Permissions on records would be a mistake of the administrators; they do not suffice either.
    env.kubectl(&[
        "create",
        "clusterrole",
        "records",
        "--verb=get,create,update,patch,delete",
        "--resource=passwordresetrecords.cognito-reset.dev",
    ])
    .await?;
    env.kubectl(&["create", "clusterrolebinding", "records", "--clusterrole=records", "--user=mallory"]).await?;
    let forged = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": "r2-forged" },
        "schema": 1, "action": "PasswordReset", "request": { "namespace": "default", "name": "x" }, "userPoolID": env.pool, "username": "x",
        "attempts": stored["attempts"],
    });
    for (what, arguments, input) in [
        (
            "status",
            &[
                "patch",
                "prr",
                "once",
                "--subresource=status",
                "--type=merge",
                "-p",
                r#"{"status":{"outcome":"Pending"}}"#,
            ][..],
            String::new(),
        ),
        (
            "no status",
            &[
                "patch",
                "prr",
                "once",
                "--subresource=status",
                "--type=json",
                "-p",
                r#"[{"op":"remove","path":"/status"}]"#,
            ],
            String::new(),
        ),
        ("record", &["patch", "prrec", name, "--type=merge", "-p", r#"{"userSub":"x"}"#], String::new()),
        ("no record", &["delete", "prrec", name], String::new()),
        ("another record", &["create", "-f", "-"], forged.to_string()),
    ] {
        let refused = people.run(arguments, &input).await?.refusal()?;
        assert!(refused.contains("takes the verb settle"), "{what}: {refused}");
    }
    // A write that changes nothing passes, as in a storage migration.
    people.run(&["annotate", "prrec", name, "note=x"], "").await?.success()?;
    people.run(&["patch", "prr", "once", "--subresource=status", "--type=merge", "-p", "{}"], "").await?.success()?;
    people.run(&["delete", "prr", "once"], "").await?.success()?;
    people.run(&["apply", "-f", "-"], &env.request("once", "once", "")).await?.success()?;
    assert_eq!(env.ended("once").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(env.calls("once"), 1);
    Ok(())
}

#[tokio::test]
async fn a_namespace_administrator_cannot_change_grants() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let grant = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "UserPoolGrant", "metadata": { "name": "mine" },
        "spec": { "userPoolID": env.pool, "namespaces": ["default"] },
    });
    let lax = r#"{"spec":{"requireApproval":false}}"#;
    for (what, arguments, input) in [
        ("create", &["create", "-f", "-"][..], grant.to_string()),
        ("patch", &["patch", "poolgrant", "everyone", "--type=merge", "-p", lax], String::new()),
        (
            "status",
            &["patch", "poolgrant", "everyone", "--subresource=status", "--type=merge", "-p", "{}"],
            String::new(),
        ),
        ("delete", &["delete", "poolgrant", "everyone"], String::new()),
    ] {
        let refused = people.run(arguments, &input).await?.refusal()?;
        assert!(refused.contains("is forbidden: User \"mallory\" cannot"), "{what}: {refused}");
    }
    // The rules of the built-in roles view, edit and admin do not include labels of namespaces. But
    // RBAC takes a namespace's own object for one in it, so that a star includes them:
    // docs/grants.md says what follows for selectors.
    for part in ["view", "edit", "admin"] {
        let role = format!("--clusterrole=system:aggregate-to-{part}");
        env.kubectl(&["create", "rolebinding", &format!("nora-{part}"), &role, "--user=nora"]).await?;
    }
    let label = ["label", "namespace", "default", "team=support"];
    let as_nora = [&label[..], &["--as=nora"]].concat();
    let refused = env.cluster.as_admin().run(&as_nora).await?.refusal()?;
    assert!(refused.contains("is forbidden: User \"nora\" cannot patch resource \"namespaces\""), "{refused}");
    people.run(&label, "").await?.success()?;
    let elsewhere = ["label", "namespace", "kube-public", "team=support"];
    people.run(&elsewhere, "").await?.refusal()?;
    Ok(())
}

#[tokio::test]
async fn a_user_by_certificate_has_no_uid_and_is_stamped_all_the_same() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    let alice = env.cluster.as_admin().with_kubeconfig(&env.cluster.kubeconfig_by_certificate("alice")?);
    alice.apply(&people.plain("by-certificate")).await?.success()?;
    assert!(alice.apply(&people.plain("by-certificate")).await?.success()?.contains("unchanged"));
    assert_eq!(people.requester("by-certificate").await?, json!({ "username": "alice" }));
    Ok(())
}

#[tokio::test]
async fn admission_sees_whom_an_administrator_impersonates() -> Result<()> {
    let people = People::stamped().await?;
    let arguments = ["create", "-f", "-", "--as=alice", "--as-uid=7"];
    people.0.cluster.as_admin().run_with_input(&arguments, &people.plain("as-alice")).await?.success()?;
    assert_eq!(people.requester("as-alice").await?, json!({ "username": "alice", "uid": "7" }));
    Ok(())
}

/// Names that reach every object, and a namespace of its own.
const OVERLAY: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: security
namePrefix: acme-
resources: [../base]
components: [../components/stamp-requester]
";

#[tokio::test]
async fn an_overlay_with_other_names_is_as_strict_and_works() -> Result<()> {
    let cluster = Pool::of_this_process().lease(with_definitions()).await?;
    let (kustomize, overlay) = (cluster.file("kustomize"), cluster.file("kustomize/overlay"));
    cluster.script(&format!("cp -r '{}' '{}'", root("deploy/kustomize"), kustomize.display()), &[]).await?;
    std::fs::create_dir(&overlay)?;
    std::fs::write(overlay.join("kustomization.yaml"), OVERLAY)?;
    let people = People::of(Environment::install(cluster, &overlay).await?).await?;
    people.is_stamped().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    env.ask("in-the-overlay").await?;
    assert_eq!(env.ended("in-the-overlay").await?, "Succeeded/ResetAccepted");
    let patch = ["patch", "prr", "in-the-overlay", "--subresource=status", "--type=json", "-p"];
    let dropped = [&patch[..], &[r#"[{"op":"remove","path":"/status"}]"#]].concat();
    people.refused_in_the_end(&dropped, "", "takes the verb settle").await?;
    let accounts = env.kubectl(&["get", "serviceaccounts", "-n", "security", "-o", "name"]).await?;
    assert!(accounts.contains("serviceaccount/acme-cognito-reset-operator"), "{accounts}");
    Ok(())
}
