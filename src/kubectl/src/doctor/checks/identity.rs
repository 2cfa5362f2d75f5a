//! The user, and what the user may do.

use k8s_openapi::api::authentication::v1::UserInfo;

use crate::doctor::{finding::Finding, read::Read, words::list};

/// The group of every user, which says nothing.
const EVERYBODY: &str = "system:authenticated";

/// Describes the user that the API server sees: on Amazon EKS also the role and its session.
#[must_use]
pub fn user(me: &Read<UserInfo>) -> Finding {
    const SUBJECT: &str = "you";
    let me = match me.needed(SUBJECT, "ask who you are", "the ClusterRole system:basic-user") {
        Ok(me) => me,
        Err(finding) => return finding,
    };
    let extra = |key: &str| me.extra.as_ref().and_then(|extra| extra.get(key)).and_then(|values| values.first());
    let mut text = me.username.clone().unwrap_or_else(|| "a user without a name".into());
    if let Some(arn) = extra("arn") {
        text = format!("{text}, by the role or user {arn}");
    }
    if let Some(session) = extra("sessionName") {
        text = format!("{text}, session {session}");
    }
    let groups: Vec<_> = me.groups.iter().flatten().filter(|group| *group != EVERYBODY).collect();
    if !groups.is_empty() {
        text = format!("{text}, in the groups {}", list(&groups));
    }
    Finding::ok(SUBJECT, text)
}

/// A task of a person, the permissions that it needs, and the ClusterRole that grants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The task, as it follows "you may".
    pub name: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// True if the objects have a namespace.
    pub is_namespaced: bool,
    role: &'static str,
}

impl Task {
    const fn on_requests(name: &'static str, verbs: &'static [&'static str], role: &'static str) -> Self {
        Self { name, resource: "passwordresetrequests", verbs, is_namespaced: true, role }
    }

    const fn on(resource: &'static str, name: &'static str, verb: &'static [&'static str], role: &'static str) -> Self {
        Self { name, resource, verbs: verb, is_namespaced: false, role }
    }

    /// All tasks.
    pub const ALL: [Self; 10] = [
        Self::on_requests("create requests", &["create"], "cognito-reset-requester"),
        Self::on_requests("follow requests", &["get", "list", "watch"], "cognito-reset-requester"),
        Self::on_requests("suspend requests", &["patch"], "cognito-reset-requester"),
        Self::on_requests("delete requests", &["delete"], "cognito-reset-requester"),
        Self::on_requests("approve requests", &["patch", "approve"], "cognito-reset-approver"),
        Self::on("passwordresetrecords", "read records", &["list"], "cognito-reset-auditor"),
        Self::on("userpoolgrants", "read grants", &["list"], "cognito-reset-auditor"),
        Self::on("userpoolgrants", "write grants", &["create", "patch"], "cognito-reset-grant-administrator"),
        Self::on("userpoolholds", "read holds", &["list"], "cognito-reset-responder"),
        Self::on("userpoolholds", "hold and release pools", &["create", "delete"], "cognito-reset-responder"),
    ];
}

/// Lists what you may do in a place, a namespace or all of them. `may` contains the tasks with the
/// result of the review.
#[must_use]
pub fn permissions(may: &Read<Vec<(Task, bool)>>, place: &str) -> Finding {
    const SUBJECT: &str = "permissions";
    let may = match may.needed(SUBJECT, "ask for your permissions", "the ClusterRole system:basic-user") {
        Ok(may) => may,
        Err(finding) => return finding,
    };
    let allowed: Vec<_> = may.iter().filter(|(_, allowed)| *allowed).map(|(task, _)| task.name).collect();
    let denied = may.iter().filter(|(_, allowed)| !allowed).map(|(task, _)| format!("{} ({})", task.name, task.role));
    let denied = denied.collect::<Vec<_>>().join(", ");
    if allowed.is_empty() {
        return Finding::warn(
            SUBJECT,
            format!("you may do nothing with requests in {place}"),
            "have an administrator bind the ClusterRole cognito-reset-requester there, or name another namespace with -n",
        );
    }
    let allowed = allowed.join(", ");
    let mut text = format!("in {place} you may {allowed}");
    if !denied.is_empty() {
        text = format!("{text}; you may not {denied}");
    }
    Finding::ok(SUBJECT, text)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
    use serde_json::json;

    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn a_user_of_eks_is_named_with_role_and_session() {
        let arn = "arn:aws:sts::123456789012:assumed-role/Support/alice";
        for (me, wanted) in [
            (
                json!({"username": "admin", "groups": ["system:masters", EVERYBODY]}),
                "admin, in the groups system:masters",
            ),
            (json!({"username": "bob", "groups": [EVERYBODY]}), "bob"),
            (
                json!({"username": arn, "extra": {"arn": [arn], "sessionName": ["alice"]}}),
                &format!("{arn}, by the role or user {arn}, session alice"),
            ),
        ] {
            let me = serde_json::from_value(me).expect("a user");
            assert_eq!(user(&Read::Got(me)), Finding::ok("you", wanted));
        }
    }

    #[test]
    fn permissions_name_the_role_of_what_is_not_allowed() {
        let may = |allowed: &[&str]| Read::Got(Task::ALL.map(|task| (task, allowed.contains(&task.name))).to_vec());
        let some = permissions(&may(&["create requests", "follow requests"]), "namespace support");
        assert_eq!(some.severity, Severity::Ok);
        assert!(some.text.starts_with("in namespace support you may create requests, follow requests; you may not"));
        assert!(some.text.contains("approve requests (cognito-reset-approver)"), "{}", some.text);
        assert_eq!(permissions(&may(&[]), "namespace support").severity, Severity::Warn);
        let all = permissions(&may(&Task::ALL.map(|task| task.name)), "namespace support");
        assert!(!all.text.contains("may not"), "{}", all.text);
    }

    /// Returns the roles of people in deploy/kustomize, with their rules.
    pub(crate) fn roles() -> BTreeMap<String, Vec<PolicyRule>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/base");
        let roles = ["requester", "approver", "auditor", "responder", "grant-administrator"].map(|file| {
            let yaml = std::fs::read_to_string(format!("{folder}/{file}.yaml")).expect("a manifest");
            let role: ClusterRole = serde_saphyr::from_str(&yaml).expect("a ClusterRole");
            (role.metadata.name.unwrap_or_default(), role.rules.unwrap_or_default())
        });
        roles.into()
    }

    #[test]
    fn the_role_of_each_task_allows_it() {
        let roles = roles();
        let has = |values: &Option<Vec<String>>, value: &str| values.iter().flatten().any(|it| it == value);
        for task in Task::ALL {
            let rules = roles.get(task.role).unwrap_or_else(|| panic!("there is no {}", task.role));
            for verb in task.verbs {
                let allows = |rule: &PolicyRule| {
                    has(&rule.api_groups, "cognito-reset.dev")
                        && has(&rule.resources, task.resource)
                        && rule.verbs.iter().any(|it| it == verb)
                };
                assert!(rules.iter().any(allows), "{} does not allow to {verb} {}", task.role, task.resource);
            }
        }
    }
}
