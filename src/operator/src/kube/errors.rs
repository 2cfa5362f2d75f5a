//! Describes errors of the Kubernetes client without the values that they quote, because one may be
//! a user's name.
//!
//! An API server that rejects an object repeats its content, and an admission policy may do so in
//! its own words. A description therefore contains the reason, the code, the fields and the name of
//! who rejects the object, and not the text.

use cognito_reset_core::refusal::Refuser;
use kube::{Error, core::Status, runtime::watcher};

/// Describes the error of a call.
#[must_use]
pub(crate) fn of_client(error: &Error) -> String {
    match error {
        Error::Api(status) => of_status(status),
        Error::SerdeError(error) => {
            let (kind, line, column) = (error.classify(), error.line(), error.column());
            format!("a response cannot be parsed: {kind:?} error at line {line} column {column}").to_lowercase()
        }
        // The texts of proxy, certificate and network errors are kept: none of them quotes an
        // object.
        Error::Service(error) => {
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            causes.fold(format!("no response: {error}"), |text, cause| format!("{text}: {cause}"))
        }
        other => other.to_string(),
    }
}

/// Describes the error of a watch.
#[must_use]
pub(crate) fn of_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("failed to list: {}", of_client(error)),
        watcher::Error::WatchStartFailed(error) => format!("failed to start: {}", of_client(error)),
        watcher::Error::WatchFailed(error) => format!("failed: {}", of_client(error)),
        watcher::Error::WatchError(status) => format!("ended: {}", of_status(status)),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The description of a 404 that is not about an object: the resource itself is not served.
const NOT_SERVED: &str = "the API server responded with 404 for a whole resource; install the CRDs (Helm: set crds.enabled; kustomize: kubectl apply -k deploy/kustomize/crds)";

fn of_status(status: &Status) -> String {
    if status.code == 404 && status.details.is_none() {
        return NOT_SERVED.to_owned();
    }
    let reason: String = status.reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let mut text = format!("the API server responded with {} {reason}", status.code);
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // The text after a bracket may be a key that somebody chose.
    let fields: Vec<String> = causes
        .map(|cause| cause.field.chars().take_while(|it| it.is_ascii_alphanumeric() || *it == '.').take(128).collect())
        .filter(|field: &String| !field.is_empty())
        .take(8)
        .collect();
    if !fields.is_empty() {
        text = format!("{text} for {}", fields.join(", "));
    }
    match Refuser::of(status) {
        // These add nothing to the description.
        Refuser::Crd | Refuser::Other { .. } => text,
        refuser => format!("{text}: rejected by {refuser}"),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;
    use serde_json::json;

    use super::{of_client, of_watch};

    fn refusal() -> kube::Error {
        let status = json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "\"alice\" is invalid: alice is too long",
            "details": { "name": "alice", "causes": [
                { "field": "spec.username", "message": "Invalid value: \"alice\"", "reason": "FieldValueInvalid" },
                { "field": "spec.clientMetadata[alice]", "message": "alice", "reason": "FieldValueInvalid" },
            ] },
        });
        kube::Error::Api(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn refusal_is_described_by_reason_code_and_fields_only() {
        let wanted = "the API server responded with 422 Invalid for spec.username, spec.clientMetadata";
        assert_eq!(of_client(&refusal()), wanted);
        assert_eq!(of_watch(&watcher::Error::InitialListFailed(refusal())), format!("failed to list: {wanted}"));
        let kube::Error::Api(status) = refusal() else { return };
        assert_eq!(of_watch(&watcher::Error::WatchError(status)), format!("ended: {wanted}"));
    }

    #[test]
    fn a_resource_that_is_not_served_differs_from_an_absent_object() {
        let of = |status| of_client(&kube::Error::Api(serde_json::from_value(status).unwrap()));
        let text = of(json!({ "status": "Failure", "code": 404, "reason": "NotAStatus", "message": "" }));
        assert!(text.contains("install the CRDs"), "{text}");
        let details = json!({ "name": "reset", "group": "cognito-reset.dev", "kind": "passwordresetrequests" });
        let absent =
            json!({ "status": "Failure", "code": 404, "reason": "NotFound", "message": "", "details": details });
        assert_eq!(of(absent), "the API server responded with 404 NotFound");
    }

    #[test]
    fn a_refusal_names_the_policy_that_refuses() {
        let status = json!({
            "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "x \"a\" is forbidden: ValidatingAdmissionPolicy 'owner' with binding 'by' denied request: alice",
        });
        let refusal = kube::Error::Api(serde_json::from_value(status).unwrap());
        let wanted = "the API server responded with 422 Invalid: rejected by the ValidatingAdmissionPolicy owner";
        assert_eq!(of_client(&refusal), wanted);
    }

    #[test]
    fn a_response_that_cannot_be_parsed_is_reported_by_its_location() {
        let error = serde_json::from_str::<u8>("\"alice\"").unwrap_err();
        assert_eq!(
            of_client(&kube::Error::SerdeError(error)),
            "a response cannot be parsed: data error at line 1 column 7"
        );
    }
}
