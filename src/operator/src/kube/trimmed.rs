//! Defines a request as the watch keeps it, without attached metadata of any size.

use std::borrow::Cow;

use cognito_reset_api::PasswordResetRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DeserializeGuard};
use serde::{Deserialize, Deserializer};

/// A request, or the reason why it cannot be parsed, without labels, annotations, owners,
/// finalizers and managed fields. A reconcile reads the whole request again.
#[derive(Clone, Debug)]
pub(crate) struct TrimmedRequest(pub DeserializeGuard<PasswordResetRequest>);

impl<'de> Deserialize<'de> for TrimmedRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut whole = DeserializeGuard::deserialize(deserializer)?;
        let metadata: &mut ObjectMeta = DeserializeGuard::meta_mut(&mut whole);
        metadata.labels = None;
        metadata.annotations = None;
        metadata.owner_references = None;
        metadata.finalizers = None;
        metadata.managed_fields = None;
        Ok(Self(whole))
    }
}

impl Resource for TrimmedRequest {
    type DynamicType = ();
    type Scope = <PasswordResetRequest as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        PasswordResetRequest::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        PasswordResetRequest::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        PasswordResetRequest::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        PasswordResetRequest::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use serde_json::json;

    use super::TrimmedRequest;

    #[test]
    fn what_is_attached_is_not_kept_and_the_rest_is() {
        let metadata = json!({
            "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 1,
            "labels": { "a": "b" }, "annotations": { "c": "d" }, "finalizers": ["e/f"],
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "g", "uid": "9" }],
            "managedFields": [{ "manager": "h", "operation": "Apply" }],
        });
        for (spec, readable) in
            [(json!({ "userPoolID": "p_1", "username": "a" }), true), (json!({ "username": [] }), false)]
        {
            let trimmed: TrimmedRequest =
                serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
            assert_eq!(trimmed.0.0.is_ok(), readable);
            let kept =
                json!({ "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 1 });
            assert_eq!(serde_json::to_value(trimmed.meta()).unwrap(), kept);
        }
    }
}
