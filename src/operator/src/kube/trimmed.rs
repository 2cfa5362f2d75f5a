//! Defines a request as the watch keeps it: its keys, and what decides about it while it waits.
//! Texts of any size that people wrote are dropped as soon as the object is parsed.

use std::borrow::Cow;

use cognito_reset_api::{
    PasswordResetRequest, PasswordResetRequestSpec, PasswordResetRequestStatus, RequestedBy, conditions::ConditionType,
};
use cognito_reset_core::invalid_objects::without_values;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DeserializeGuard};
use serde::{Deserialize, Deserializer};

/// A request, or the reason why it cannot be parsed, without attached metadata and texts. A
/// reconcile reads the whole request again.
#[derive(Clone, Debug)]
pub(crate) struct TrimmedRequest(pub DeserializeGuard<PasswordResetRequest>);

impl<'de> Deserialize<'de> for TrimmedRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut whole: DeserializeGuard<PasswordResetRequest> = DeserializeGuard::deserialize(deserializer)?;
        let metadata: &mut ObjectMeta = DeserializeGuard::meta_mut(&mut whole);
        metadata.labels = None;
        metadata.annotations = None;
        metadata.owner_references = None;
        metadata.finalizers = None;
        metadata.managed_fields = None;
        match &mut whole.0 {
            Ok(request) => {
                trim_spec(&mut request.spec);
                request.status.iter_mut().for_each(trim_status);
            }
            // A parser quotes values of any length.
            Err(invalid) => invalid.error = without_values(&invalid.error),
        }
        Ok(Self(whole))
    }
}

/// Keeps the pool and the user. Each further field has to be considered here before this compiles.
fn trim_spec(spec: &mut PasswordResetRequestSpec) {
    let PasswordResetRequestSpec {
        user_pool_id: _,
        username: _,
        client_metadata,
        reason,
        ticket,
        on_behalf_of,
        requested_by,
        if_reset_required: _,
        not_after: _,
        deadline_seconds: _,
        ttl_seconds_after_finished: _,
        suspend: _,
        approved: _,
        approved_by,
    } = spec;
    *client_metadata = None;
    (*reason, *ticket, *on_behalf_of) = (None, None, None);
    // An empty name needs no memory.
    *requested_by = RequestedBy { username: String::new(), uid: None, extra: None };
    *approved_by = None;
}

/// Keeps the outcome, and the reason for which the request waits.
fn trim_status(status: &mut PasswordResetRequestStatus) {
    let mut ready = status.conditions.drain(..).find(|condition| condition.type_ == ConditionType::Ready.as_str());
    if let Some(ready) = &mut ready {
        ready.message = String::new();
    }
    *status = PasswordResetRequestStatus {
        outcome: status.outcome,
        conditions: ready.into_iter().collect(),
        ..PasswordResetRequestStatus::default()
    };
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
    use serde_json::{Value, json};

    use super::TrimmedRequest;

    /// A text that nothing needs while a request waits.
    const TEXT: &str = "a text that somebody wrote";

    fn metadata() -> Value {
        json!({
            "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 1,
            "labels": { "a": TEXT }, "annotations": { "c": TEXT }, "finalizers": [TEXT],
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": TEXT, "uid": "9" }],
            "managedFields": [{ "manager": TEXT, "operation": "Apply" }],
        })
    }

    #[test]
    fn what_is_attached_is_not_kept_and_the_rest_is() {
        for (spec, readable) in
            [(json!({ "userPoolID": "p_1", "username": "a" }), true), (json!({ "username": [] }), false)]
        {
            let trimmed: TrimmedRequest =
                serde_json::from_value(json!({ "metadata": metadata(), "spec": spec })).unwrap();
            assert_eq!(trimmed.0.0.is_ok(), readable);
            let kept =
                json!({ "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 1 });
            assert_eq!(serde_json::to_value(trimmed.meta()).unwrap(), kept);
        }
    }

    #[test]
    fn texts_are_not_kept_and_keys_and_reason_are() {
        let condition = |of: &str| {
            json!({ "type": of, "status": "False", "reason": "Suspended", "message": TEXT,
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        };
        let object = json!({
            "metadata": metadata(),
            "spec": {
                "userPoolID": "p_1", "username": "alice", "clientMetadata": { TEXT: TEXT }, "reason": TEXT, "ticket": TEXT,
                "onBehalfOf": TEXT, "requestedBy": { "username": TEXT, "uid": TEXT }, "notAfter": "2036-01-01T00:00:00Z",
                "deadlineSeconds": 60, "approved": true, "approvedBy": { "username": TEXT, "uid": TEXT },
            },
            "status": { "outcome": "Pending", "userSub": TEXT, "awsRequestID": TEXT, "recordRef": { "name": TEXT },
                "conditions": [condition("Succeeded"), condition("Ready")] },
        });
        let trimmed: TrimmedRequest = serde_json::from_value(object).unwrap();
        let request = trimmed.0.0.unwrap();
        let kept = serde_json::to_value(&request).unwrap();
        assert!(!kept.to_string().contains(TEXT), "{kept}");
        assert_eq!((&kept["spec"]["userPoolID"], &kept["spec"]["username"]), (&json!("p_1"), &json!("alice")));
        let reasons: Vec<_> =
            request.status.iter().flat_map(|it| &it.conditions).map(|it| it.reason.as_str()).collect();
        assert_eq!(reasons, ["Suspended"]);
    }

    #[test]
    fn error_of_an_invalid_request_is_short() {
        for value in [json!("x".repeat(1 << 20)), json!({ "x".repeat(1 << 20): 1 })] {
            let spec = json!({ "userPoolID": "p_1", "username": "a", "ifResetRequired": value });
            let object = json!({ "metadata": metadata(), "spec": spec });
            let trimmed: TrimmedRequest = serde_json::from_value(object).unwrap();
            let invalid = trimmed.0.0.unwrap_err();
            assert!(invalid.error.len() < 1024, "{} bytes", invalid.error.len());
        }
    }
}
