//! Computes the status of grants. Pure.

use std::{cmp::Ordering, collections::BTreeMap};

use cognito_reset_api::{
    UserPoolGrantStatus,
    conditions::{ConditionType, GrantReason, Truth, conditions},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::grants::{Namespace, compiled::CompiledGrant};

/// The number of other grants that `conflictsWith` names.
const MAX_CONFLICTS: usize = 16;

/// The numbers of the namespaces that a grant selects, in ascending order.
type Selected = Vec<usize>;

/// Returns each grant with its status.
pub(super) fn statuses<'a>(
    grants: &'a BTreeMap<String, CompiledGrant>,
    namespaces: &BTreeMap<String, Namespace>,
    now: Timestamp,
) -> impl Iterator<Item = (&'a CompiledGrant, UserPoolGrantStatus)> {
    let mut pools: BTreeMap<&str, Vec<(&CompiledGrant, Selected)>> = BTreeMap::new();
    for grant in grants.values() {
        pools.entry(&grant.object.spec.user_pool_id).or_default().push((grant, selected(grant, namespaces)));
    }
    pools.into_values().flat_map(move |pool| {
        let statuses = pool.iter().map(|(grant, selected)| (*grant, status(grant, selected, &pool, now)));
        statuses.collect::<Vec<_>>()
    })
}

fn selected(grant: &CompiledGrant, namespaces: &BTreeMap<String, Namespace>) -> Selected {
    let numbered = namespaces.iter().enumerate();
    let selected = numbered.filter(|(_, (name, namespace))| grant.selects(name, Some(namespace)));
    selected.map(|(number, _)| number).collect()
}

/// Returns true if requests can be ambiguous between two grants of a pool. Whether two different
/// patterns can match the same user is not decided here, because that needs both automata; the
/// affected requests report it.
fn in_conflict((one, ones): (&CompiledGrant, &[usize]), (other, others): (&CompiledGrant, &[usize])) -> bool {
    let patterns = (&one.object.spec.username_pattern, &other.object.spec.username_pattern);
    let same_users = match patterns {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => true,
    };
    let can_allow = |grant: &CompiledGrant| grant.usernames.is_ok() && !grant.object.spec.suspend;
    let usable = can_allow(one) && can_allow(other);
    usable && same_users && one.role() != other.role() && have_one_in_common(ones, others)
}

/// Returns true if two ascending lists have a number in common.
fn have_one_in_common(mut ones: &[usize], mut others: &[usize]) -> bool {
    while let (Some((one, ones_left)), Some((other, others_left))) = (ones.split_first(), others.split_first()) {
        match one.cmp(other) {
            Ordering::Equal => return true,
            Ordering::Less => ones = ones_left,
            Ordering::Greater => others = others_left,
        }
    }
    false
}

fn status(
    grant: &CompiledGrant,
    selected: &[usize],
    pool: &[(&CompiledGrant, Selected)],
    now: Timestamp,
) -> UserPoolGrantStatus {
    let in_conflict = pool.iter().filter(|(other, others)| in_conflict((grant, selected), (other, others)));
    let conflicts_with: Vec<_> = in_conflict.map(|(other, _)| other.name()).take(MAX_CONFLICTS).collect();
    let (wanted, reason, message) = readiness(grant, selected.len(), &conflicts_with);
    let current = grant.object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = grant.object.metadata.generation;
    let mut updated = conditions(current, wanted, reason, message, generation, now);
    updated.extend(assumable(grant, current, now));
    UserPoolGrantStatus {
        observed_generation: generation,
        matched_namespaces: Some(i64::try_from(selected.len()).unwrap_or(i64::MAX)),
        conflicts_with,
        conditions: updated,
    }
}

fn readiness(
    grant: &CompiledGrant,
    selected: usize,
    conflicts_with: &[String],
) -> (&'static [(ConditionType, Truth)], GrantReason, &'static str) {
    use ConditionType::{Ready, Stalled};
    const NEVER: &[(ConditionType, Truth)] = &[(Ready, Truth::False), (Stalled, Truth::True)];
    const NOT_NOW: &[(ConditionType, Truth)] = &[(Ready, Truth::False)];
    match (&grant.namespaces, &grant.usernames) {
        (Err(reason), _) => (NEVER, *reason, "this grant can never match: correct namespaces or namespaceSelector"),
        (_, Err(reason @ GrantReason::UserStateNotRead)) => (
            NEVER,
            *reason,
            "this grant can never match: its usernamePattern needs the user, and the operator runs with --user-state-source=None; set userStateSource to AdminGetUser or ListUsers",
        ),
        (_, Err(reason)) => (
            NEVER,
            *reason,
            "this grant can never match: usernamePattern is not a valid regular expression, or is too large",
        ),
        (Ok(_), Ok(_)) if grant.object.spec.suspend => (
            NOT_NOW,
            GrantReason::GrantSuspended,
            "the grant is suspended and allows nothing; other grants still allow requests, and only a UserPoolHold holds them back",
        ),
        (Ok(_), Ok(_)) if selected == 0 => {
            (NOT_NOW, GrantReason::NoNamespaceMatches, "the grant selects no existing namespace, so it allows nothing")
        }
        (Ok(_), Ok(_)) if !conflicts_with.is_empty() => (
            NOT_NOW,
            GrantReason::ConflictingGrants,
            "the grants in status.conflictsWith differ from this one in roleARN, externalID or sessionTags; requests that both allow wait until the grants agree",
        ),
        (Ok(_), Ok(_)) => (&[(Ready, Truth::True)], GrantReason::Valid, "the grant is in force"),
    }
}

/// Returns the condition for the last role check: that of this process, or else that of an earlier
/// process for the same spec.
fn assumable(grant: &CompiledGrant, current: &[Condition], now: Timestamp) -> Vec<Condition> {
    let type_ = ConditionType::RoleAssumable;
    let generation = grant.object.metadata.generation;
    if grant.object.spec.role_arn.is_none() {
        return Vec::new();
    }
    let (truth, reason, message) = match grant.assumable {
        Some(Ok(())) => {
            (Truth::True, GrantReason::RoleAssumed, "the role could be assumed at the last check".to_owned())
        }
        Some(Err(failure)) => (
            Truth::False,
            GrantReason::RoleNotAssumable,
            format!(
                "the role could not be assumed at the last check ({failure}): check its trust policy, externalID and the operator's own IAM permissions; the operator's log has details"
            ),
        ),
        None => {
            let same = |old: &&Condition| old.type_ == type_.as_str() && old.observed_generation == generation;
            return current.iter().filter(same).cloned().collect();
        }
    };
    conditions(current, &[(type_, truth)], reason, &message, generation, now)
}

/// Returns the conditions whose change is reported: another reason, or at first one that is not
/// healthy.
pub(super) fn changed(before: Option<&[Condition]>, after: &[Condition]) -> Vec<Condition> {
    let reported = [ConditionType::Ready, ConditionType::RoleAssumable].map(ConditionType::as_str);
    let is_new = |condition: &&Condition| {
        let current = before.and_then(|conditions| conditions.iter().find(|old| old.type_ == condition.type_));
        let changed = current.map_or(condition.status != Truth::True.as_str(), |old| old.reason != condition.reason);
        reported.contains(&condition.type_.as_str()) && changed
    };
    after.iter().filter(is_new).cloned().collect()
}
