//! Grants and holds in every state that their status can show.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cognito_reset_api::{UserPoolGrant, UserPoolHold};
use cognito_reset_core::{
    action::port::SessionFailure,
    grants::{GrantIndex, Namespace},
    invalid_objects::{self, Kind},
};
use serde_json::{Value, json};

use super::{NOW, tools::conditions};

/// Returns a grant and a hold that no operator has seen, then valid and invalid ones.
pub(super) fn objects() -> Result<Vec<Value>> {
    let mut index = GrantIndex::default();
    index.put_namespace("support".into(), Namespace::default());
    let specs = [
        json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["*"] }),
        json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["ops"] }),
        json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["*"], "usernamePattern": "(" }),
        json!({ "userPoolID": "eu-west-1_Example01" }),
        json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["*"], "usernamePattern": "a", "userStateSource": "None" }),
        json!({ "userPoolID": "eu-west-1_Example02", "namespaces": ["*"], "roleARN": "arn:aws:iam::123456789012:role/a" }),
        json!({ "userPoolID": "eu-west-1_Example02", "namespaces": ["*"] }),
        json!({ "userPoolID": "eu-west-1_Example03", "namespaces": ["*"], "roleARN": "arn:aws:iam::123456789012:role/a" }),
        json!({ "userPoolID": "eu-west-1_Example04", "namespaces": ["*"], "suspend": true }),
    ];
    let mut grants = Vec::new();
    for (number, spec) in specs.into_iter().enumerate() {
        let mut grant = UserPoolGrant::new(&format!("grant-{number}"), serde_json::from_value(spec)?);
        grant.metadata.generation = Some(2);
        grant.metadata.uid = Some("uid".into());
        index.put_grant(grant.clone());
        grants.push(grant);
    }
    for (number, role) in index.roles().iter().enumerate() {
        index.role_checked(role, if number == 0 { Ok(()) } else { Err(SessionFailure::AccessDenied) });
    }
    let mut holds = Vec::new();
    for (name, namespaces) in [("all", json!(null)), ("nowhere", json!(["nowhere"]))] {
        let spec = json!({ "namespaces": namespaces, "reason": "incident" });
        let mut hold = UserPoolHold::new(name, serde_json::from_value(spec)?);
        hold.metadata.generation = Some(2);
        hold.metadata.uid = Some("uid".into());
        index.put_hold(hold.clone());
        holds.push(hold);
    }
    let unseen = [serde_json::to_value(&grants[0])?, serde_json::to_value(&holds[0])?];
    let mut all = unseen.to_vec();
    for (mut object, kind) in unseen.into_iter().zip([Kind::Grant, Kind::Hold]) {
        let metadata = serde_json::from_value(object["metadata"].clone())?;
        let patch = invalid_objects::patch(kind, &metadata, &Value::Null, "a value cannot be read", NOW);
        object["status"] = patch.context("no status is written")?["status"].clone();
        all.push(object);
    }
    let statuses = index.stale_statuses(NOW);
    all.extend(statuses.into_iter().map(|stale| serde_json::to_value(stale.object)).collect::<Result<Vec<_>, _>>()?);
    let statuses = index.stale_hold_statuses(NOW);
    all.extend(statuses.into_iter().map(|stale| serde_json::to_value(stale.object)).collect::<Result<Vec<_>, _>>()?);
    Ok(all)
}

/// Returns the reasons in their statuses.
pub(super) fn reasons() -> Result<BTreeSet<String>> {
    let objects = objects()?;
    let reasons = objects.iter().flat_map(conditions).filter_map(|condition| condition["reason"].as_str());
    Ok(reasons.map(str::to_owned).collect())
}
