//! Tools that judge a request by their own written rules, without knowing the operator.

use serde_json::Value;

/// sigs.k8s.io/cli-utils, pkg/kstatus/status: generic.go, then the Ready condition (status.go).
pub(super) fn kstatus(object: &Value) -> &'static str {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating";
    }
    let observed = &object["status"]["observedGeneration"];
    if observed.is_i64() && object["metadata"]["generation"].is_i64() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    let abnormal = conditions(object).iter().find_map(|condition| match condition["type"].as_str() {
        Some("Reconciling") if condition["status"] == "True" => Some("InProgress"),
        Some("Stalled") if condition["status"] == "True" => Some("Failed"),
        _ => None,
    });
    let ready = || conditions(object).iter().find(|condition| condition["type"] == "Ready");
    abnormal.unwrap_or_else(|| match ready().and_then(|ready| ready["status"].as_str()) {
        Some("False" | "Unknown") => "InProgress",
        _ => "Current",
    })
}

/// k8s.io/kubectl, pkg/cmd/wait: condition.go and json.go.
pub(super) fn kubectl_wait_returns(object: &Value, wanted: &str) -> bool {
    let Some(type_) = wanted.strip_prefix("condition=") else {
        return !object["status"]["completionTime"].is_null();
    };
    let named = |condition: &&Value| condition["type"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(type_));
    let Some(condition) = conditions(object).iter().find(named) else { return false };
    let observed = condition["observedGeneration"].as_i64().or_else(|| object["status"]["observedGeneration"].as_i64());
    let outdated = matches!((observed, object["metadata"]["generation"].as_i64()), (Some(seen), Some(is)) if seen < is);
    !outdated && condition["status"].as_str().is_some_and(|status| status.eq_ignore_ascii_case("true"))
}

/// Judges as health checks do that know only the Ready condition.
pub(super) fn health(object: &Value) -> &'static str {
    let ready = conditions(object).iter().find(|condition| condition["type"] == "Ready");
    match ready.and_then(|ready| ready["status"].as_str()) {
        Some("True") => "healthy",
        Some("False") => "broken",
        _ => "progressing",
    }
}

/// The conditions of the status.
pub(super) fn conditions(object: &Value) -> &[Value] {
    object["status"]["conditions"].as_array().map_or(&[], Vec::as_slice)
}
