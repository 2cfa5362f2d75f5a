//! The admission policies of `deploy/`, by their names, and what is open without each.

use std::collections::BTreeSet;

use kube::{ResourceExt, api::DynamicObject};

use crate::doctor::{finding::Finding, read::Read};

/// The permission to read admission policies, which no ClusterRole of the project or of Kubernetes
/// grants alone.
const ROLE: &str = "a ClusterRole with list on the admission policies and bindings of admissionregistration.k8s.io";
const BASE: &str = "apply deploy/kustomize/base (Helm: set policies.admission)";

/// The policies of the base, and what their absence means.
const OF_THE_BASE: [(&str, &str); 3] = [
    (
        "cognito-reset-settle",
        "every user with write permissions on records, or on the status of requests, can forge the ledger or an outcome",
    ),
    ("cognito-reset-requester", "a requester can write the name of another user into requestedBy"),
    ("cognito-reset-approval", "every user who may patch a request can approve it, the requester included"),
];
const STAMP: &str = "cognito-reset-stamp-requester";
const REFUSE_UNVERIFIED: &str = "cognito-reset-refuse-unverified";

/// The names of the policies that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Those that reject.
    pub validating: BTreeSet<String>,
    /// Those that change objects.
    pub mutating: BTreeSet<String>,
}

/// Returns the policies that exist and that a binding puts in force. A binding of a validating
/// policy only does so by `Deny`.
#[must_use]
pub fn in_force(policies: &[DynamicObject], bindings: &[DynamicObject]) -> BTreeSet<String> {
    let exists: BTreeSet<String> = policies.iter().map(ResourceExt::name_any).collect();
    let bound = bindings.iter().filter_map(|binding| {
        let actions = binding.data.pointer("/spec/validationActions").and_then(serde_json::Value::as_array);
        let denies = actions.is_none_or(|actions| actions.iter().any(|action| action == "Deny"));
        let policy = binding.data.pointer("/spec/policyName").and_then(serde_json::Value::as_str);
        policy.filter(|policy| denies && exists.contains(*policy)).map(str::to_owned)
    });
    bound.collect()
}

/// Reports policies that are not in force. `needs_people` is true if a grant requires an approval.
#[must_use]
pub fn policies(policies: &Read<Policies>, needs_people: bool) -> Vec<Finding> {
    const SUBJECT: &str = "policies";
    let policies = match policies.needed(SUBJECT, "list the admission policies", ROLE) {
        Ok(policies) => policies,
        Err(finding) => return vec![finding],
    };
    let missing = OF_THE_BASE.iter().filter(|(name, _)| !policies.validating.contains(*name));
    let mut findings: Vec<_> = missing
        .map(|(name, means)| {
            Finding::warn(SUBJECT, format!("the policy {name} is not there or not bound with Deny: {means}"), BASE)
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, "ledger, requester and approval are protected"));
    }
    findings.push(stamp(policies, needs_people));
    findings
}

fn stamp(policies: &Policies, needs_people: bool) -> Finding {
    const SUBJECT: &str = "stamp";
    if policies.mutating.contains(STAMP) {
        return Finding::ok(SUBJECT, format!("{STAMP} writes who asked and who approved"));
    }
    let refuses = policies.validating.contains(REFUSE_UNVERIFIED);
    let how = if refuses {
        "users have to write their own names, because the policy cognito-reset-refuse-unverified is in force"
    } else {
        "a request shows `unverified` unless its creator writes their own name"
    };
    let text = format!("the policy {STAMP} is not there: {how}");
    if needs_people && !refuses {
        return Finding::warn(
            SUBJECT,
            format!("{text}, and grants that require an approval do not allow it then"),
            "add the component stamp-requester (Kubernetes 1.36 or newer) or refuse-unverified of deploy/kustomize",
        );
    }
    Finding::ok(SUBJECT, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::finding::Severity;

    fn named(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_policy_is_in_force_if_a_binding_denies_by_it() {
        let object = |name: &str, spec| {
            let object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": name}, "spec": spec});
            serde_json::from_value::<DynamicObject>(object).expect("an object")
        };
        let policies = ["a", "b", "c", "d"].map(|name| object(name, json!({})));
        let bindings = [
            object("a", json!({"policyName": "a", "validationActions": ["Deny"]})),
            object("b", json!({"policyName": "b", "validationActions": ["Audit"]})),
            object("c", json!({"policyName": "c"})),
            object("x", json!({"policyName": "x", "validationActions": ["Deny"]})),
        ];
        assert_eq!(in_force(&policies, &bindings), named(&["a", "c"]));
    }

    #[test]
    fn an_absent_policy_is_reported_with_what_is_open() {
        let all = OF_THE_BASE.map(|(name, _)| name);
        let found = |validating: &[&str], mutating: &[&str], needs_people| {
            let read = Policies { validating: named(validating), mutating: named(mutating) };
            policies(&Read::Got(read), needs_people).iter().map(|it| (it.subject, it.severity)).collect::<Vec<_>>()
        };
        let (ok, warn) = (Severity::Ok, Severity::Warn);
        assert_eq!(found(&all, &[STAMP], true), [("policies", ok), ("stamp", ok)]);
        assert_eq!(found(&all, &[], false), [("policies", ok), ("stamp", ok)]);
        assert_eq!(found(&all, &[], true), [("policies", ok), ("stamp", warn)]);
        let refusing = [all.as_slice(), &[REFUSE_UNVERIFIED]].concat();
        assert_eq!(found(&refusing, &[], true), [("policies", ok), ("stamp", ok)]);
        assert_eq!(found(&all[1..], &[STAMP], false), [("policies", warn), ("stamp", ok)]);
        assert_eq!(found(&[], &[], false).len(), 4);
        assert_eq!(policies(&Read::Forbidden, false)[0].severity, Severity::Skipped);
    }
}
