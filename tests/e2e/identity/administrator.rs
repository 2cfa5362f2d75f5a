//! A user with every permission in a namespace can get another outcome only by a new request.

use cognito_reset_api::PasswordResetRequest;
use cognito_reset_core::ledger::Identity;

use super::*;

const DONE: &str = "Succeeded/ResetAccepted";
const SETTLE: &str = "takes the verb settle";
const STATUS: &str = r#"{"outcome":"Pending","attempts":0,"conditions":[]}"#;

impl People {
    /// The name of the record that the operator will make for a request of this name and user.
    fn record_of(&self, name: &str) -> Result<String> {
        let request: PasswordResetRequest = serde_saphyr::from_str(&self.0.request(name, name, ""))?;
        Ok(Identity::of_request(&request).record_name())
    }

    /// Checks that Mallory's request has ended as before, and that Cognito was called once for it.
    async fn once(&self, name: &str, what: &str) -> Result<()> {
        assert_eq!(self.0.ended(name).await?, DONE, "{what}");
        assert_eq!(self.0.calls(name), 1, "{what}");
        Ok(())
    }

    /// Deletes the request, applies it again, and checks that its status says that the reset was
    /// already performed.
    async fn again(&self, name: &str, delete: &[&str]) -> Result<()> {
        self.run(delete, "").await?.success()?;
        self.run(&["apply", "-f", "-"], &self.0.request(name, name, "")).await?.success()?;
        assert_eq!(self.0.ended(name).await?, "Succeeded/AlreadyPerformed", "{delete:?}");
        assert_eq!(self.0.calls(name), 1, "{delete:?}");
        Ok(())
    }
}

#[tokio::test]
async fn no_way_to_write_a_status_leads_to_a_second_reset() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    env.ask("once").await?;
    people.once("once", "at first").await?;
    // Permissions on the namespace allow to bind the operator's own role there; it counts for the
    // namespace alone.
    let bind = ["create", "rolebinding", "operator", "--clusterrole=cognito-reset-operator", "--user=mallory"];
    people.run(&bind, "").await?.success()?;
    let with_status = |status: &str| -> Result<String> {
        let mut request: Value = serde_saphyr::from_str(&env.request("once", "once", ""))?;
        request["status"] = serde_json::from_str(status)?;
        Ok(request.to_string())
    };
    let mut stored = env.get("prr", "once").await?;
    stored["status"] = serde_json::from_str(STATUS)?;
    let json = format!(r#"[{{"op":"replace","path":"/status","value":{STATUS}}}]"#);
    let (patch, status) = (["patch", "prr", "once", "-p"], "--subresource=status");
    for (what, arguments, input) in [
        ("replace", vec!["replace", status, "-f", "-"], stored.to_string()),
        ("apply", vec!["apply", "--server-side", "--force-conflicts", status, "-f", "-"], with_status(STATUS)?),
        ("merge patch", [&patch[..], &[r#"{"status":null}"#, "--type=merge", status]].concat(), String::new()),
        ("JSON patch", [&patch[..], &[&json, "--type=json", status]].concat(), String::new()),
    ] {
        let refused = people.run(&arguments, &input).await?.refusal()?;
        assert!(refused.contains(SETTLE), "{what}: {refused}");
    }
    // The resource itself takes no status, and there is no scale.
    people.run(&["apply", "-f", "-"], &with_status(STATUS)?).await?.success()?;
    let mut stored = env.get("prr", "once").await?;
    stored["status"] = serde_json::from_str(STATUS)?;
    people.run(&["replace", "-f", "-"], &stored.to_string()).await?.success()?;
    people.run(&["scale", "prr/once", "--replicas=0"], "").await?.refusal()?;
    people.once("once", "with a status beside the spec").await?;
    env.users.create_user(&env.pool, "ended").await?;
    let ended = with_status(r#"{"outcome":"Succeeded","completionTime":"2026-01-01T00:00:00Z"}"#)?
        .replace("\"once\"", "\"ended\"");
    people.run(&["create", "-f", "-"], &ended).await?.success()?;
    people.once("ended", "a status on creation is dropped").await?;
    Ok(())
}

#[tokio::test]
async fn no_deleted_or_held_request_leads_to_a_second_reset() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    env.ask("first").await?;
    people.once("first", "at first").await?;
    people.again("first", &["delete", "prr", "first"]).await?;
    people.again("first", &["delete", "prr", "--all"]).await?;
    people
        .again(
            "first",
            &["delete", "--raw", "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests"],
        )
        .await?;
    people.again("first", &["delete", "prr", "first", "--force", "--grace-period=0"]).await?;

    // The request is held by a finalizer, and owned by an object that does not exist.
    env.ask("held").await?;
    people.once("held", "at first").await?;
    let tricks = json!({ "metadata": {
        "finalizers": ["example.com/held"],
        "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0" }],
        "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    } });
    let patch = |patch: &Value| patch.to_string();
    people.run(&["patch", "prr", "held", "--type=merge", "-p", &patch(&tricks)], "").await?.success()?;
    people.run(&["delete", "prr", "held", "--wait=false"], "").await?.success()?;
    people.run(&["apply", "-f", "-"], &env.request("held", "held", "")).await?.success()?;
    people.once("held", "being deleted").await?;
    people
        .run(&["patch", "prr", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#], "")
        .await?
        .success()?;
    env.apply(&env.request("held", "held", "")).await?;
    assert_eq!(env.ended("held").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(env.calls("held"), 1);

    // The request is deleted while it is suspended, and then released: it is not performed any
    // more.
    env.users.create_user(&env.pool, "dying").await?;
    let suspended = env.request("dying", "dying", "suspend: true");
    people.run(&["apply", "-f", "-"], &suspended).await?.success()?;
    env.becomes("dying", "Pending/Suspended").await?;
    people.run(&["patch", "prr", "dying", "--type=merge", "-p", &patch(&tricks)], "").await?.success()?;
    people.run(&["delete", "prr", "dying", "--wait=false"], "").await?.success()?;
    people
        .run(&["patch", "prr", "dying", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#], "")
        .await?
        .success()?;
    env.ask("after").await?;
    people.once("after", "the operator has looked").await?;
    assert_eq!((env.calls("dying"), env.record("dying").await?), (0, None));
    Ok(())
}

#[tokio::test]
async fn nobody_makes_a_record_ahead_of_the_operator_or_acts_as_it() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let name = people.record_of("awaited")?;
    let forged = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": name },
        "schema": 1, "action": "PasswordReset", "request": { "namespace": "default", "name": "awaited" }, "userPoolID": env.pool,
        "username": "awaited", "effect": "Performed", "attempts": [{
            "id": "forged", "operatorInstance": "mallory", "requestUID": "0", "requestedBy": { "username": "root" },
            "claimedAt": "2026-01-01T00:00:00Z",
        }],
    });
    let create = ["create", "-f", "-"];
    let refused = people.run(&create, &forged.to_string()).await?.refusal()?;
    assert!(refused.contains("cannot create resource \"passwordresetrecords\""), "{refused}");
    env.kubectl(&["create", "clusterrole", "records", "--verb=*", "--resource=passwordresetrecords.cognito-reset.dev"])
        .await?;
    let role = env.get("clusterrole", "records").await?;
    assert_eq!(role["rules"][0]["verbs"], json!(["*"]));
    // In a binding in the namespace, `*` does not include cluster-scoped resources.
    people
        .run(&["create", "rolebinding", "records", "--clusterrole=records", "--user=mallory"], "")
        .await?
        .success()?;
    people.run(&create, &forged.to_string()).await?.refusal()?;
    // Neither an account of the namespace, nor its administrator, may act as the operator's account
    // or have its token.
    let operator = "system:serviceaccount:cognito-reset-system:cognito-reset-operator";
    env.kubectl(&["create", "serviceaccount", "runbook", "-n", "default"]).await?;
    let to_account = ["create", "rolebinding", "runbook", "--clusterrole=all", "--serviceaccount=default:runbook"];
    env.kubectl(&to_account).await?;
    let token = env.cluster.service_account_token("default", "runbook").await?;
    let account = env.cluster.as_admin().with_kubeconfig(&env.cluster.kubeconfig_for(&token, None)?);
    let as_operator = ["create", "--validate=false", "-f", "-", &format!("--as={operator}")];
    let refused = account.run_with_input(&as_operator, &forged.to_string()).await?.refusal()?;
    assert!(refused.contains("cannot impersonate"), "{refused}");
    let token = ["create", "token", "cognito-reset-operator", "-n", "cognito-reset-system"];
    assert!(account.run(&token).await?.refusal()?.contains("orbidden"));

    let _operator = env.run().await?;
    env.ask("awaited").await?;
    people.once("awaited", "nothing prevents it").await?;
    assert_eq!(env.record("awaited").await?.unwrap_or_default()["metadata"]["name"], json!(name));
    Ok(())
}

#[tokio::test]
async fn the_stamp_and_the_creation_time_survive_every_write() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    let mut made: Value = serde_saphyr::from_str(&people.forged("kept"))?;
    made["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    made["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    people.run(&["create", "-f", "-"], &made.to_string()).await?.success()?;
    let first = env.get("prr", "kept").await?;
    assert_ne!(first["metadata"]["creationTimestamp"], made["metadata"]["creationTimestamp"]);
    assert_ne!(first["metadata"]["uid"], made["metadata"]["uid"]);
    let mut replaced = first.clone();
    replaced["spec"]["requestedBy"] = json!({ "username": "root" });
    replaced["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    people.run(&["replace", "-f", "-"], &replaced.to_string()).await?.success()?;
    for patch in [
        r#"{"spec":{"requestedBy":{"username":"root"}}}"#,
        r#"{"spec":{"requestedBy":{"uid":"0"}}}"#,
        r#"{"spec":{"requestedBy":null}}"#,
        r#"{"metadata":{"creationTimestamp":"2001-01-01T00:00:00Z"}}"#,
    ] {
        people.run(&["patch", "prr", "kept", "--type=merge", "-p", patch], "").await?.success()?;
    }
    let json = r#"[{"op":"replace","path":"/spec/requestedBy/username","value":"root"}]"#;
    people.run(&["patch", "prr", "kept", "--type=json", "-p", json], "").await?.success()?;
    let last = env.get("prr", "kept").await?;
    assert_eq!(last["spec"]["requestedBy"], json!({ "username": "mallory" }));
    assert_eq!(last["metadata"]["creationTimestamp"], first["metadata"]["creationTimestamp"]);
    // An administrator who forges is stamped as well.
    env.apply(&people.forged("by-admin")).await?;
    assert_eq!(people.requester("by-admin").await?["username"], "admin");
    Ok(())
}
