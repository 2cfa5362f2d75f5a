//! What AWS is asked to allow: the same in JSON and in Terraform, of single resources, and no more than the operator calls.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use common::root;
use serde_json::Value;

const POLICIES: [&str; 4] = ["policy", "assume_roles", "trust_other_account", "trust_pod_identity"];

fn json(name: &str) -> Result<Value> {
    let path = root(&format!("deploy/iam/{}.json", name.replace('_', "-")));
    Ok(serde_json::from_str(&fs::read_to_string(&path)?)?)
}

/// Of the variables, each of which has a default that is JSON.
fn defaults() -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(root("deploy/iam/terraform/variables.tf"))?;
    let blocks = text.split("variable \"").skip(1);
    let default = |block: &str| {
        let (name, rest) = block.split_once('"')?;
        let value = rest.split_once("default")?.1.trim_start().strip_prefix('=')?.lines().next()?;
        Some((format!("var.{name}"), value.trim().to_owned()))
    };
    blocks.map(|block| default(block).with_context(|| format!("no default: {block}"))).collect()
}

/// An object in Terraform with quoted keys is JSON, but for the variables.
fn terraform(name: &str) -> Result<Value> {
    let text = fs::read_to_string(root("deploy/iam/terraform/policies.tf"))?;
    let start = format!("\n  {name} = jsonencode(");
    let body = text.split(&start).nth(1).and_then(|rest| rest.split("\n  })").next()).context("no such local")?;
    let filled = defaults()?.iter().fold(format!("{body}\n}}"), |text, (name, value)| text.replace(name, value));
    serde_json::from_str(&filled).with_context(|| filled)
}

fn list(value: &Value) -> BTreeSet<String> {
    let one = value.as_str().map(str::to_owned);
    one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)).collect()
}

fn of_statements(name: &str, field: &str) -> Result<BTreeSet<String>> {
    let policy = json(name)?;
    Ok(policy["Statement"].as_array().context("no statements")?.iter().flat_map(|one| list(&one[field])).collect())
}

#[test]
fn terraform_says_the_same_as_the_json_files() -> Result<()> {
    for name in POLICIES {
        assert_eq!(terraform(name)?, json(name)?, "{name}");
    }
    assert_eq!(fs::read_to_string(root("deploy/iam/terraform/policies.tf"))?.matches("jsonencode(").count(), 4);
    Ok(())
}

#[test]
fn what_is_allowed_is_what_the_operator_calls() -> Result<()> {
    let code = fs::read_to_string(root("src/cognito/aws.rs"))?;
    // `.admin_get_user()` of the SDK is AdminGetUser.
    let called = code.lines().filter_map(|line| line.trim().strip_prefix('.')?.strip_suffix("()"));
    let called = called.filter(|name| name.starts_with("admin_") || name.starts_with("list_"));
    let action = |name: &str| {
        let capital = |word: &str| {
            word.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>()
        };
        format!("cognito-idp:{}", name.split('_').map(capital).collect::<String>())
    };
    assert_eq!(of_statements("policy", "Action")?, called.map(action).collect());
    assert!(code.contains("AssumeRoleProvider::builder(") && code.contains(".tags("));
    let of_sts: BTreeSet<_> = ["sts:AssumeRole", "sts:TagSession"].map(str::to_owned).into();
    for name in ["assume_roles", "trust_other_account", "trust_pod_identity"] {
        assert_eq!(of_statements(name, "Action")?, of_sts, "{name}");
    }
    Ok(())
}

#[test]
fn every_resource_and_every_principal_is_named_and_a_foreign_role_asks_for_an_external_id() -> Result<()> {
    for name in POLICIES {
        assert!(!json(name)?.to_string().contains('*'), "{name}");
    }
    for name in ["policy", "assume_roles"] {
        assert!(of_statements(name, "Resource")?.iter().all(|arn| arn.split(':').count() == 6), "{name}");
    }
    let trust = json("trust_other_account")?;
    let assume =
        trust["Statement"].as_array().context("no statements")?.iter().find(|one| one["Action"] == "sts:AssumeRole");
    let condition = &assume.context("nobody may assume it")?["Condition"]["StringEquals"]["sts:ExternalId"];
    assert!(condition.is_string(), "{condition}");
    Ok(())
}
