//! Grants and holds for a pool and a namespace, the roles of grants, and the Region of the pool.

use cognito_reset_api::{ConditionType, PasswordResetRequest, UserPoolGrant, UserPoolHold, WaitReason};
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{Authorization, GrantIndex, Namespace},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use super::{AUDITOR, unreadable};
use crate::{
    doctor::{finding::Finding, read::Read, words::list},
    parsed::{Parsed, parsed},
    terminal::{age, counted},
};

/// The subject of what grants allow.
const GRANTS: &str = "grants";
/// A moment that is later than any request that is asked about.
const FAR: &str = "9999-01-01T00:00:00Z";

/// The pool and the namespace that are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The pool; `None` for all.
    pub pool: Option<&'a str>,
    /// The namespace.
    pub namespace: &'a str,
    /// True if every namespace is asked about.
    pub everywhere: bool,
    /// The namespace as it was read.
    pub read: &'a Read<Namespace>,
}

/// Reports the grants that apply, their roles, and what they allow.
#[must_use]
pub fn grants(read: &Read<Vec<DynamicObject>>, asked: Asked<'_>) -> Vec<Finding> {
    let objects = match read.needed(GRANTS, "list grants", AUDITOR) {
        Ok(objects) => objects,
        Err(finding) => return vec![finding],
    };
    let parsed: Parsed<UserPoolGrant> = parsed(objects);
    let applies = |grant: &&UserPoolGrant| asked.pool.is_none_or(|pool| pool == grant.spec.user_pool_id);
    let applying: Vec<_> = parsed.objects.iter().filter(applies).collect();
    let mut findings: Vec<_> = unreadable(GRANTS, &parsed.unreadable).into_iter().collect();
    findings.extend(applying.iter().filter_map(|grant| readiness(grant)));
    findings.extend(role(&applying));
    findings.push(match asked.pool {
        Some(pool) if !asked.everywhere => allowed(&applying, pool, asked),
        _ => summary(&applying, asked.pool),
    });
    findings
}

fn of_grant(grant: &UserPoolGrant, type_: ConditionType) -> Option<&Condition> {
    let conditions = grant.status.as_ref().map(|status| &status.conditions);
    conditions.into_iter().flatten().find(|condition| condition.type_ == type_.as_str())
}

/// Reports a grant that is not ready, or that no operator has looked at.
fn readiness(grant: &UserPoolGrant) -> Option<Finding> {
    let name = grant.name_any();
    let seen = grant.status.as_ref().and_then(|status| status.observed_generation);
    if seen.is_none() || seen < grant.metadata.generation {
        let text = format!("no operator has looked at the grant {name} as it is now");
        return Some(Finding::warn(GRANTS, text, "check the operator: the findings about it say what is wrong"));
    }
    let ready = of_grant(grant, ConditionType::Ready)?;
    (ready.status == "False").then(|| {
        let text = format!("the grant {name} is not ready: {}: {}", ready.reason, ready.message);
        Finding::warn(GRANTS, text, format!("kubectl describe poolgrant {name}"))
    })
}

/// Reports the roles of grants that the operator could not assume.
fn role(grants: &[&UserPoolGrant]) -> Vec<Finding> {
    const SUBJECT: &str = "role";
    let with_role: Vec<_> = grants.iter().filter(|grant| grant.spec.role_arn.is_some()).collect();
    let assumable = |grant: &UserPoolGrant| of_grant(grant, ConditionType::RoleAssumable).cloned();
    let failing = with_role.iter().filter_map(|grant| {
        let condition = assumable(grant).filter(|condition| condition.status == "False")?;
        Some(Finding::fail(
            SUBJECT,
            format!("the grant {}: {}", grant.name_any(), condition.message),
            "correct the trust policy of the role, externalID, or the operator's own policy (deploy/iam/README.md)",
        ))
    });
    let mut findings: Vec<_> = failing.collect();
    let checked = with_role.iter().filter(|grant| assumable(grant).is_some_and(|it| it.status == "True")).count();
    if findings.is_empty() && !with_role.is_empty() {
        let text = format!("{checked} of {} could be assumed at the last check", counted(with_role.len(), "role"));
        findings.push(Finding::ok(SUBJECT, text));
    }
    findings
}

fn summary(grants: &[&UserPoolGrant], pool: Option<&str>) -> Finding {
    let of_pool = pool.map_or_else(String::new, |pool| format!(" for the pool {pool}"));
    if grants.is_empty() {
        return Finding::fail(
            GRANTS,
            format!("there is no UserPoolGrant{of_pool}: nothing is reset"),
            "have a platform administrator create a UserPoolGrant (deploy/samples/grant.yaml)",
        );
    }
    let names: Vec<_> = grants.iter().map(|grant| grant.name_any()).collect();
    let text = format!("{}{of_pool}: {}", counted(grants.len(), "grant"), list(&names));
    Finding::ok(GRANTS, format!("{text}; --pool and -n show what they allow"))
}

/// Asks the grants about a request of the namespace, by the operator's own code.
fn allowed(grants: &[&UserPoolGrant], pool: &str, asked: Asked<'_>) -> Finding {
    let mut index = GrantIndex::default();
    for grant in grants {
        index.put_grant((*grant).clone());
    }
    let by_labels = index.selects_by_namespaces();
    if let Some(namespace) = asked.read.got() {
        index.put_namespace(asked.namespace.to_owned(), namespace.clone());
    }
    let evaluate = |not_after: Option<&str>| {
        let request = request(pool, asked.namespace, not_after)?;
        Some(index.evaluate(&request, &KnownUser::NotRead).authorization)
    };
    let place = format!("users of {pool} from namespace {}", asked.namespace);
    match (evaluate(Some(FAR)), evaluate(None)) {
        (Some(Ok(by)), without) => {
            let needs_end = without.is_none_or(|it| it == Err(WaitReason::NotAfterRequired));
            Finding::ok(GRANTS, format!("{} {place}{}", grantors(&by), conditions(grants, &by, needs_end)))
        }
        (Some(Err(reason)), _) if is_of_people(reason) => {
            Finding::ok(GRANTS, format!("a grant allows {place} once a second person approves the request"))
        }
        (Some(Err(WaitReason::NoMatchingGrant)), _) if by_labels && asked.read.got().is_none() => Finding::skipped(
            GRANTS,
            format!(
                "grants for {pool} select namespaces by labels, and you may not read namespace {}",
                asked.namespace
            ),
            "the ClusterRole view, bound in that namespace, allows it",
        ),
        (Some(Err(reason)), _) => refused(reason, &place),
        (None, _) => Finding::warn(GRANTS, format!("no request for {pool} can be made up"), "report this as a bug"),
    }
}

fn request(pool: &str, namespace: &str, not_after: Option<&str>) -> Option<PasswordResetRequest> {
    let spec = json!({ "userPoolID": pool, "username": "doctor" });
    let mut request = PasswordResetRequest::new("doctor", serde_json::from_value(spec).ok()?);
    request.metadata.namespace = Some(namespace.to_owned());
    request.spec.not_after = not_after.and_then(|time| serde_json::from_value(json!(time)).ok());
    Some(request)
}

/// Returns true if only people who ask and approve are missing, which the made-up request has not.
const fn is_of_people(reason: WaitReason) -> bool {
    matches!(reason, WaitReason::AwaitingApproval | WaitReason::RequesterUnverified)
}

fn grantors(by: &Authorization) -> String {
    let verb = if by.grants.len() == 1 { "allows" } else { "allow" };
    format!("{} {verb}", list(&by.grants))
}

fn conditions(grants: &[&UserPoolGrant], by: &Authorization, needs_end: bool) -> String {
    let patterns = grants.iter().filter(|grant| by.grants.contains(&grant.name_any()));
    let by_pattern = patterns.clone().count() > 0 && patterns.clone().all(|it| it.spec.username_pattern.is_some());
    let role = by.role.as_ref().map(|role| format!(", by the role {}", role.arn));
    let pattern = by_pattern.then(|| ", if usernamePattern matches the user".to_owned());
    let end = needs_end.then(|| ", if the request has notAfter".to_owned());
    [role, pattern, end].into_iter().flatten().collect()
}

fn refused(reason: WaitReason, place: &str) -> Finding {
    let (text, remedy) = match reason {
        WaitReason::NoMatchingGrant => (
            "no UserPoolGrant allows",
            "have a platform administrator create one that names this pool and namespace (deploy/samples/grant.yaml)",
        ),
        WaitReason::GrantSuspended => {
            ("only grants that are suspended allow", "have a platform administrator set suspend of the grant to false")
        }
        WaitReason::ConflictingGrants => (
            "grants that differ in role, external id or session tags allow",
            "have a platform administrator correct or delete one (kubectl get poolgrant -o wide)",
        ),
        _ => ("the grants do not allow", "docs/reasons.md describes the reason"),
    };
    Finding::fail(GRANTS, format!("{text} {place} ({reason})"), remedy)
}

/// Reports the holds that hold requests of the pool and the namespace back.
#[must_use]
pub fn holds(read: &Read<Vec<DynamicObject>>, asked: Asked<'_>, now: Timestamp) -> Vec<Finding> {
    const SUBJECT: &str = "holds";
    let objects =
        match read.needed(SUBJECT, "list holds", "the ClusterRole cognito-reset-responder or cognito-reset-auditor") {
            Ok(objects) => objects,
            Err(finding) => return vec![finding],
        };
    let parsed: Parsed<UserPoolHold> = parsed(objects);
    let mut findings: Vec<_> =
        parsed.objects.iter().filter(|hold| reaches(hold, asked)).map(|it| held(it, now)).collect();
    if !parsed.unreadable.is_empty() {
        let text = format!("{} cannot be parsed, and holds what it may match", list(&parsed.unreadable));
        findings.push(Finding::fail(SUBJECT, text, "correct or delete it: kubectl get poolhold"));
    }
    if findings.is_empty() {
        let others = counted(parsed.objects.len(), "hold");
        let more = if parsed.objects.is_empty() { String::new() } else { format!(", and {others} elsewhere") };
        findings.push(Finding::ok(SUBJECT, format!("no hold applies{more}")));
    }
    findings
}

fn reaches(hold: &UserPoolHold, asked: Asked<'_>) -> bool {
    let spec = &hold.spec;
    let in_pool = match (&spec.user_pool_id, asked.pool) {
        (Some(held), Some(pool)) => held == pool,
        _ => true,
    };
    let names = spec.namespaces.as_ref();
    in_pool && (asked.everywhere || names.is_none_or(|names| names.iter().any(|name| name == asked.namespace)))
}

fn held(hold: &UserPoolHold, now: Timestamp) -> Finding {
    const SUBJECT: &str = "holds";
    let (name, spec) = (hold.name_any(), &hold.spec);
    let since =
        hold.metadata.creation_timestamp.as_ref().map_or_else(String::new, |at| format!(" for {}", age(at.0, now)));
    let pool = spec.user_pool_id.as_ref().map_or_else(|| "every pool".into(), |pool| format!("the pool {pool}"));
    let waiting = hold.status.as_ref().and_then(|status| status.held_requests);
    let waiting = waiting.map_or_else(String::new, |number| format!(", {} at present", counted(number, "request")));
    let remedy = format!("when the incident is over: kubectl cognito-reset release {name}");
    let users = spec.usernames.as_ref().map(|users| counted(users.len(), "user"));
    let who = users.as_ref().map_or_else(String::new, |users| format!("{users} of "));
    let text = format!("{name} has held {who}{pool}{since}{waiting}: {}", spec.reason);
    match users {
        Some(_) => Finding::warn(SUBJECT, text, remedy),
        None => Finding::fail(SUBJECT, text, remedy),
    }
}

/// Returns true if a grant for the pool requires an approval.
#[must_use]
pub fn requires_approval(read: &Read<Vec<DynamicObject>>, pool: Option<&str>) -> bool {
    let requires = |grant: &DynamicObject| {
        let of_pool = grant.data.pointer("/spec/userPoolID").and_then(Value::as_str);
        let applies = pool.is_none() || of_pool == pool;
        applies && grant.data.pointer("/spec/requireApproval") == Some(&Value::Bool(true))
    };
    read.got().is_some_and(|grants| grants.iter().any(requires))
}

#[cfg(test)]
mod tests;
