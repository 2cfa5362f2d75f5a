//! The admission policies of `deploy/` know every field.

use cognito_reset_api::PasswordResetRecord;
use kube::CustomResourceExt as _;

#[test]
fn the_settle_policy_compares_every_field_of_a_record() -> anyhow::Result<()> {
    let policy = include_str!("../../../deploy/kustomize/base/settle-policy.yaml");
    let crd = serde_json::to_value(PasswordResetRecord::crd())?;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties");
    let fields: Vec<_> =
        schema.and_then(|fields| fields.as_object()).into_iter().flatten().map(|(name, _)| name).collect();
    assert!(fields.len() > 8, "{fields:?}");
    for field in fields {
        // A rule of its own in the API server protects these.
        let is_common = ["apiVersion", "kind", "metadata"].contains(&field.as_str());
        assert!(is_common || policy.contains(&format!("'{field}'")), "{field}");
    }
    Ok(())
}
