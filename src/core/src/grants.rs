//! Which requests the grants allow, and whether a grant can allow anything.

mod compiled;
mod queue;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

pub use self::queue::Named;
use self::{compiled::Rule, queue::Pending};
use crate::action::port::{Role, SessionFailure};
use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, conditions::Reason};

/// A namespace's labels.
pub type Labels = BTreeMap<String, String>;

/// What allows a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The role to assume.
    pub role: Option<Role>,
    /// The names of the grants, at most 16 of them.
    pub grants: Vec<String>,
}

/// A grant whose status does not say what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The grant with the status that it should have.
    pub grant: UserPoolGrant,
    /// The conditions of it that say something new.
    pub news: Vec<Condition>,
}

/// A grant that names a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRole {
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
    rules: BTreeMap<String, Rule>,
    namespaces: BTreeMap<String, Labels>,
    pending: BTreeMap<Named, Pending>,
}

impl GrantIndex {
    /// Takes in a grant that was created or has changed. Returns whether that may alter what is allowed.
    pub fn put_grant(&mut self, grant: UserPoolGrant) -> bool {
        let name = grant.name_any();
        match self.rules.get_mut(&name) {
            // Only the status has changed.
            Some(rule) if rule.grant.spec == grant.spec && rule.grant.uid() == grant.uid() => {
                rule.grant = grant;
                false
            }
            _ => {
                self.insert(name, Rule::new(grant));
                true
            }
        }
    }

    /// Takes in a grant's status that was written. The reply may be late: only the watch brings a grant, or takes it away.
    pub fn status_written(&mut self, stored: &UserPoolGrant) {
        if let Some(rule) = self.rules.get_mut(&stored.name_any()) {
            rule.grant.status.clone_from(&stored.status);
        }
    }

    /// Removes a grant. Returns whether it was there.
    pub fn remove_grant(&mut self, name: &str) -> bool {
        self.rules.remove(name).is_some()
    }

    /// Removes all grants but these. Returns whether there were others.
    pub fn retain_grants(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.rules.len();
        self.rules.retain(|name, _| names.contains(name));
        self.rules.len() != before
    }

    /// Takes in a namespace that was created or has changed. Returns whether that may alter what is allowed.
    pub fn put_namespace(&mut self, name: String, labels: Labels) -> bool {
        self.namespaces.insert(name, labels.clone()).as_ref() != Some(&labels)
    }

    /// Removes a namespace. Returns whether it was there.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name).is_some()
    }

    /// Removes all namespaces but these. Returns whether there were others.
    pub fn retain_namespaces(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.namespaces.len();
        self.namespaces.retain(|name, _| names.contains(name));
        self.namespaces.len() != before
    }

    /// Takes in a pending request. Names those whose turn has come by its taking another place.
    pub fn put_pending(&mut self, request: &PasswordResetRequest) -> Vec<Named> {
        let name = (request.namespace().unwrap_or_default(), request.name_any());
        let pending = Pending::of(request);
        // Most of what the watch shows of a request is its status.
        if self.pending.get(&name) == Some(&pending) {
            return Vec::new();
        }
        let moved_up = self.remove_pending(&name);
        self.rules.values_mut().for_each(|rule| rule.enqueue(&name, &pending));
        self.pending.insert(name, pending);
        moved_up
    }

    /// Removes a request that is pending no more, or gone. Names those whose turn has come thereby.
    pub fn remove_pending(&mut self, name: &Named) -> Vec<Named> {
        let Some(pending) = self.pending.remove(name) else { return Vec::new() };
        self.rules.values_mut().filter_map(|rule| rule.dequeue(name, &pending)).collect()
    }

    /// Removes all pending requests but these. Names those whose turn has come thereby.
    pub fn retain_pending(&mut self, names: &BTreeSet<Named>) -> Vec<Named> {
        let gone: Vec<_> = self.pending.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().flat_map(|name| self.remove_pending(name)).collect()
    }

    /// What allows this request.
    ///
    /// # Errors
    /// The reason for which it is not allowed. A suspended grant that concerns it holds it back
    /// whatever others say; otherwise grants add up, and have to agree in role and external id. Of several
    /// grants that each ask for more, the reason is of the one that it is closest to.
    pub fn allowed(&self, request: &PasswordResetRequest) -> Result<Allowed, Reason> {
        let namespace = request.namespace().unwrap_or_default();
        let labels = self.namespaces.get(&namespace);
        let concerned: Vec<_> = self.rules.values().filter(|rule| rule.concerns(request, &namespace, labels)).collect();
        if concerned.iter().any(|rule| rule.grant.spec.suspend) {
            return Err(Reason::GrantSuspended);
        }
        let judged: Vec<_> = concerned.iter().map(|rule| (rule, rule.lack(request, &namespace))).collect();
        let allowing: Vec<_> = judged.iter().filter(|(_, lack)| lack.is_none()).map(|(rule, _)| rule).collect();
        let Some(first) = allowing.first() else {
            let closest = judged.iter().filter_map(|(_, lack)| *lack).max();
            return Err(closest.map_or(Reason::UserPoolNotGranted, compiled::Lack::reason));
        };
        let role = first.role();
        if allowing.iter().any(|rule| rule.role() != role) {
            return Err(Reason::AmbiguousGrant);
        }
        Ok(Allowed { role, grants: allowing.iter().map(|rule| rule.name()).take(16).collect() })
    }

    /// The grants whose status does not say what it should.
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<Stale> {
        let all = status::statuses(&self.rules, &self.namespaces, now);
        let stale = all.filter(|(rule, wanted)| rule.grant.status.as_ref() != Some(wanted));
        let told = stale.map(|(rule, wanted)| {
            let news = status::news(rule.grant.status.as_ref(), &wanted);
            Stale { grant: UserPoolGrant { status: Some(wanted), ..rule.grant.clone() }, news }
        });
        told.collect()
    }

    /// The grants that name a role.
    #[must_use]
    pub fn roles(&self) -> Vec<NamedRole> {
        let of_rule = |rule: &Rule| {
            let grant = &rule.grant;
            let (user_pool_id, uid) = (grant.spec.user_pool_id.clone(), grant.uid().unwrap_or_default());
            Some(NamedRole { grant: rule.name(), uid, user_pool_id, role: rule.role()? })
        };
        self.rules.values().filter_map(of_rule).collect()
    }

    /// Takes in whether a grant's role could be assumed, unless the grant names another one by now. Returns whether that
    /// may alter what the grant's status should say.
    pub fn role_tried(&mut self, tried: &NamedRole, assumable: Result<(), SessionFailure>) -> bool {
        let rule = self.rules.get_mut(&tried.grant).filter(|rule| rule.role().as_ref() == Some(&tried.role));
        rule.is_some_and(|rule| rule.assumable.replace(assumable) != Some(assumable))
    }

    /// Takes a rule in: with the requests that wait already, and what was seen of the same role.
    fn insert(&mut self, name: String, mut rule: Rule) {
        self.pending.iter().for_each(|(name, pending)| rule.enqueue(name, pending));
        rule.assumable = self.rules.get(&name).filter(|old| old.role() == rule.role()).and_then(|old| old.assumable);
        self.rules.insert(name, rule);
    }
}

#[cfg(test)]
mod tests;
