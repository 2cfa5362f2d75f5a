//! The IAM policies of the documentation: they allow only what the operator calls, on single
//! resources. (`make terraform` compares Terraform with them.)

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::environment::{Environment, root};
use testbed::{Fault, Matcher};

const POLICIES: [&str; 6] =
    ["policy", "list_users", "assume_roles", "trust_other_account", "trust_pod_identity", "trust_irsa"];

fn json(name: &str) -> Result<Value> {
    let path = root(&format!("deploy/iam/{}.json", name.replace('_', "-")));
    Ok(serde_json::from_str(&fs::read_to_string(&path)?)?)
}

fn list(value: &Value) -> BTreeSet<String> {
    let one = value.as_str().map(str::to_owned);
    one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)).collect()
}

fn of_statements(name: &str, field: &str) -> Result<BTreeSet<String>> {
    let policy = json(name)?;
    Ok(policy["Statement"].as_array().context("no statements")?.iter().flat_map(|one| list(&one[field])).collect())
}

#[tokio::test]
async fn what_is_allowed_is_what_the_operator_calls() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let role = "roleARN: arn:aws:iam::123456789012:role/reset\nexternalID: ours";
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-role", &format!("namespaces: [default]\n{role}")).await?;
    // The reply is lost, so that the user is read afterwards as well.
    env.cognito.once(Matcher::reset_of("asked"), Fault::ForwardThenLose);
    env.ask("asked").await?;
    assert_eq!(env.ended("asked").await?, "Succeeded/ConfirmedByProbe");
    // A pool whose users are listed, which a policy of its own allows.
    let pool = env.users.create_pool("eu-west-1").await?;
    env.users.create_user(&pool, "listed").await?;
    let grant = "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {name: listed}";
    let spec = format!("userPoolID: {pool}, namespaces: [default], userStateSource: ListUsers");
    env.apply(&format!(
        "{grant}\nspec: {{{spec}}}\n---\n{}",
        env.request("listed", "listed", "").replace(&env.pool, &pool)
    ))
    .await?;
    assert_eq!(env.ended("listed").await?, "Succeeded/ResetAccepted");
    let mut called = BTreeSet::new();
    for request in env.cognito.requests() {
        if let Some(operation) = request.seen.operation() {
            called.insert(format!("cognito-idp:{operation}"));
            continue;
        }
        let body = String::from_utf8_lossy(&request.seen.body).into_owned();
        let action = body.split('&').find_map(|field| field.strip_prefix("Action="));
        called.insert(format!("sts:{}", action.unwrap_or_default()));
        if body.contains("Tags.member.1.Key=") {
            called.insert("sts:TagSession".to_owned());
        }
    }
    let of_sts = of_statements("assume_roles", "Action")?;
    let allowed = [of_statements("policy", "Action")?, of_statements("list_users", "Action")?, of_sts.clone()];
    assert_eq!(called, allowed.into_iter().flatten().collect());
    for name in ["trust_other_account", "trust_pod_identity"] {
        assert_eq!(of_statements(name, "Action")?, of_sts, "{name}");
    }
    Ok(())
}

#[test]
fn policies_name_every_resource_principal_and_external_id() -> Result<()> {
    for name in POLICIES {
        assert!(!json(name)?.to_string().contains('*'), "{name}");
    }
    for name in ["policy", "list_users", "assume_roles"] {
        assert!(of_statements(name, "Resource")?.iter().all(|arn| arn.split(':').count() == 6), "{name}");
    }
    let trust = json("trust_other_account")?;
    let assume =
        trust["Statement"].as_array().context("no statements")?.iter().find(|one| one["Action"] == "sts:AssumeRole");
    let condition = &assume.context("nobody may assume it")?["Condition"]["StringEquals"]["sts:ExternalId"];
    assert!(condition.is_string(), "{condition}");
    Ok(())
}
