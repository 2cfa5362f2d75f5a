//! Decides which requests the grants allow, and whether a grant can allow any.

mod compiled;
mod queue;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

pub use self::queue::NamespacedName;
use self::{compiled::CompiledGrant, queue::Pending};
use crate::action::port::{Role, SessionFailure};
use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, conditions::WaitReason};

/// A namespace's labels.
pub type Labels = BTreeMap<String, String>;

/// The authorization of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// The role to assume.
    pub role: Option<Role>,
    /// The names of the grants, at most 16.
    pub grants: Vec<String>,
}

/// The evaluation of all grants for a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evaluation {
    /// A grant that matches the request requires an approval, whether or not the request has one.
    pub approval_required: bool,
    /// The authorization, or the reason why the request has none.
    pub authorization: Result<Authorization, WaitReason>,
}

/// A grant whose status has to change.
#[derive(Clone, Debug, PartialEq)]
pub struct StaleStatus {
    /// The grant with its new status.
    pub grant: UserPoolGrant,
    /// The conditions whose change is reported.
    pub changed: Vec<Condition>,
}

/// A grant that names a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRole {
    /// The grant's name.
    pub grant: String,
    /// The grant's uid.
    pub uid: String,
    /// The grant's pool.
    pub user_pool_id: String,
    /// The role.
    pub role: Role,
}

/// The grants, namespaces and pending requests of the cluster, as the watches show them.
#[derive(Debug, Default)]
pub struct GrantIndex {
    grants: BTreeMap<String, CompiledGrant>,
    namespaces: BTreeMap<String, Labels>,
    pending: BTreeMap<NamespacedName, Pending>,
}

impl GrantIndex {
    /// Adds or updates a grant. Returns true if this may change which requests are allowed.
    pub fn put_grant(&mut self, grant: UserPoolGrant) -> bool {
        let name = grant.name_any();
        match self.grants.get_mut(&name) {
            // Only the status has changed.
            Some(known) if known.object.spec == grant.spec && known.object.uid() == grant.uid() => {
                known.object = grant;
                false
            }
            _ => {
                self.insert(name, CompiledGrant::new(grant));
                true
            }
        }
    }

    /// Stores a grant's status that was written. The response may be late, so this never adds a
    /// grant: only the watch adds and removes grants.
    pub fn status_written(&mut self, stored: &UserPoolGrant) {
        if let Some(grant) = self.grants.get_mut(&stored.name_any()) {
            grant.object.status.clone_from(&stored.status);
        }
    }

    /// Removes a grant. Returns true if it existed.
    pub fn remove_grant(&mut self, name: &str) -> bool {
        self.grants.remove(name).is_some()
    }

    /// Removes all grants except these. Returns true if any was removed.
    pub fn retain_grants(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.grants.len();
        self.grants.retain(|name, _| names.contains(name));
        self.grants.len() != before
    }

    /// Adds or updates a namespace. Returns true if this may change which requests are allowed.
    pub fn put_namespace(&mut self, name: String, labels: Labels) -> bool {
        self.namespaces.insert(name, labels.clone()).as_ref() != Some(&labels)
    }

    /// Removes a namespace. Returns true if it existed.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name).is_some()
    }

    /// Removes all namespaces except these. Returns true if any was removed.
    pub fn retain_namespaces(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.namespaces.len();
        self.namespaces.retain(|name, _| names.contains(name));
        self.namespaces.len() != before
    }

    /// Adds or updates a pending request. Returns the requests that may proceed because its place
    /// has changed.
    pub fn put_pending(&mut self, request: &PasswordResetRequest) -> Vec<NamespacedName> {
        let name = (request.namespace().unwrap_or_default(), request.name_any());
        let pending = Pending::of(request);
        // Most events of a request only change its status.
        if self.pending.get(&name) == Some(&pending) {
            return Vec::new();
        }
        let moved_up = self.remove_pending(&name);
        self.grants.values_mut().for_each(|grant| grant.enqueue(&name, &pending));
        self.pending.insert(name, pending);
        moved_up
    }

    /// Removes a request that is no longer pending, or deleted. Returns the requests that may
    /// proceed as a result.
    pub fn remove_pending(&mut self, name: &NamespacedName) -> Vec<NamespacedName> {
        let Some(pending) = self.pending.remove(name) else { return Vec::new() };
        self.grants.values_mut().filter_map(|grant| grant.dequeue(name, &pending)).collect()
    }

    /// Removes all pending requests except these. Returns the requests that may proceed as a
    /// result.
    pub fn retain_pending(&mut self, names: &BTreeSet<NamespacedName>) -> Vec<NamespacedName> {
        let gone: Vec<_> = self.pending.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().flat_map(|name| self.remove_pending(name)).collect()
    }

    /// Evaluates the grants for this request.
    #[must_use]
    pub fn evaluate(&self, request: &PasswordResetRequest) -> Evaluation {
        let namespace = request.namespace().unwrap_or_default();
        let matching = self.matching(request, &namespace);
        let approval_required = matching.iter().any(|grant| grant.object.spec.require_approval);
        Evaluation { approval_required, authorization: authorize(&matching, request, &namespace) }
    }

    /// Returns the grants that match this request, regardless of their other requirements.
    fn matching(&self, request: &PasswordResetRequest, namespace: &str) -> Vec<&CompiledGrant> {
        let labels = self.namespaces.get(namespace);
        self.grants.values().filter(|grant| grant.matches(request, namespace, labels)).collect()
    }

    /// Returns the grants whose status has to change.
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<StaleStatus> {
        let all = status::statuses(&self.grants, &self.namespaces, now);
        let stale = all.filter(|(grant, wanted)| grant.object.status.as_ref() != Some(wanted));
        let changes = stale.map(|(grant, wanted)| {
            let changed = status::changed_conditions(grant.object.status.as_ref(), &wanted);
            StaleStatus { grant: UserPoolGrant { status: Some(wanted), ..grant.object.clone() }, changed }
        });
        changes.collect()
    }

    /// Returns the grants that name a role.
    #[must_use]
    pub fn roles(&self) -> Vec<GrantRole> {
        let of_grant = |grant: &CompiledGrant| {
            let (user_pool_id, uid) = (grant.object.spec.user_pool_id.clone(), grant.object.uid().unwrap_or_default());
            Some(GrantRole { grant: grant.name(), uid, user_pool_id, role: grant.role()? })
        };
        self.grants.values().filter_map(of_grant).collect()
    }

    /// Stores the result of a role check, unless the grant names another role by now. Returns true
    /// if this may change the grant's status.
    pub fn role_checked(&mut self, tried: &GrantRole, assumable: Result<(), SessionFailure>) -> bool {
        let grant = self.grants.get_mut(&tried.grant).filter(|grant| grant.role().as_ref() == Some(&tried.role));
        grant.is_some_and(|grant| grant.assumable.replace(assumable) != Some(assumable))
    }

    /// Adds a compiled grant, with the requests that already wait and the last role check of the
    /// same role.
    fn insert(&mut self, name: String, mut grant: CompiledGrant) {
        self.pending.iter().for_each(|(name, pending)| grant.enqueue(name, pending));
        grant.assumable = self.grants.get(&name).filter(|old| old.role() == grant.role()).and_then(|old| old.assumable);
        self.grants.insert(name, grant);
    }
}

/// Returns the authorization of a request by the grants that match it.
///
/// # Errors
/// Returns the reason why it is not allowed. A suspended grant that matches the request holds it back, regardless of
/// other grants. Otherwise grants add up, and have to agree in role, external id and session tags. If several grants each
/// require something more, the reason is that of the grant which the request comes closest to satisfying.
fn authorize(
    matching: &[&CompiledGrant],
    request: &PasswordResetRequest,
    namespace: &str,
) -> Result<Authorization, WaitReason> {
    if matching.iter().any(|grant| grant.object.spec.suspend) {
        return Err(WaitReason::GrantSuspended);
    }
    let judged: Vec<_> = matching.iter().map(|grant| (grant, grant.unmet(request, namespace))).collect();
    let allowing: Vec<_> = judged.iter().filter(|(_, unmet)| unmet.is_none()).map(|(grant, _)| grant).collect();
    let Some(first) = allowing.first() else {
        let closest = judged.iter().filter_map(|(_, unmet)| *unmet).max();
        return Err(closest.map_or(WaitReason::NoMatchingGrant, compiled::Unmet::reason));
    };
    let role = first.role();
    if allowing.iter().any(|grant| grant.role() != role) {
        return Err(WaitReason::ConflictingGrants);
    }
    Ok(Authorization { role, grants: allowing.iter().map(|grant| grant.name()).take(16).collect() })
}

#[cfg(test)]
mod tests;
