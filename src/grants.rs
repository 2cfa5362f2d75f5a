//! Which requests the grants allow, and whether a grant can allow anything.

mod pending;
mod rule;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::RwLock,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tokio::sync::watch;

pub use self::pending::Named;
use self::{pending::Pending, rule::Rule};
use crate::{
    api::{PasswordResetRequest, UserPoolGrant, conditions::Reason},
    cognito::port::{Role, SessionFailure},
};

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
#[derive(Debug)]
pub struct Permissions {
    known: RwLock<Known>,
    changed: watch::Sender<()>,
    to_tell: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    rules: BTreeMap<String, Rule>,
    namespaces: BTreeMap<String, Labels>,
    pending: BTreeMap<Named, Pending>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { known: RwLock::default(), changed: watch::Sender::new(()), to_tell: watch::Sender::new(()) }
    }
}

impl Permissions {
    /// Tells of every change that may alter what is allowed, but for requests that come and go.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Tells of every change that may alter what a grant's status should say.
    #[must_use]
    pub fn to_tell(&self) -> watch::Receiver<()> {
        self.to_tell.subscribe()
    }

    fn write<T>(&self, write: impl FnOnce(&mut Known) -> T) -> T {
        // A poisoned lock still holds consistent data: each change is one insertion or removal.
        write(&mut self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        if self.write(change) {
            self.changed.send_replace(());
            self.to_tell.send_replace(());
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A grant was created or has changed.
    pub fn put_grant(&self, grant: UserPoolGrant) {
        self.change(|known| {
            let name = grant.name_any();
            match known.rules.get_mut(&name) {
                // Only the status has changed.
                Some(rule) if rule.grant.spec == grant.spec && rule.grant.uid() == grant.uid() => {
                    rule.grant = grant;
                    false
                }
                _ => {
                    known.insert(name, Rule::new(grant));
                    true
                }
            }
        });
    }

    /// A grant's status was written. The reply may be late: only the watch brings a grant, or takes it away.
    pub fn status_written(&self, stored: &UserPoolGrant) {
        self.write(|known| {
            if let Some(rule) = known.rules.get_mut(&stored.name_any()) {
                rule.grant.status.clone_from(&stored.status);
            }
        });
    }

    /// A grant is gone.
    pub fn remove_grant(&self, name: &str) {
        self.change(|known| known.rules.remove(name).is_some());
    }

    /// Only these grants are left.
    pub fn retain_grants(&self, names: &BTreeSet<String>) {
        self.change(|known| {
            let before = known.rules.len();
            known.rules.retain(|name, _| names.contains(name));
            known.rules.len() != before
        });
    }

    /// A namespace was created or has changed.
    pub fn put_namespace(&self, name: String, labels: Labels) {
        self.change(|known| known.namespaces.insert(name, labels.clone()).as_ref() != Some(&labels));
    }

    /// A namespace is gone.
    pub fn remove_namespace(&self, name: &str) {
        self.change(|known| known.namespaces.remove(name).is_some());
    }

    /// Only these namespaces are left.
    pub fn retain_namespaces(&self, names: &BTreeSet<String>) {
        self.change(|known| {
            let before = known.namespaces.len();
            known.namespaces.retain(|name, _| names.contains(name));
            known.namespaces.len() != before
        });
    }

    /// A request is pending. Names those whose turn has come by its taking another place.
    pub fn put_pending(&self, request: &PasswordResetRequest) -> Vec<Named> {
        let name = (request.namespace().unwrap_or_default(), request.name_any());
        let pending = Pending::of(request);
        // Most of what the watch shows of a request is its status.
        if self.read(|known| known.pending.get(&name) == Some(&pending)) {
            return Vec::new();
        }
        self.write(|known| {
            let moved_up = known.forget(&name);
            known.rules.values_mut().for_each(|rule| rule.enqueue(&name, &pending));
            known.pending.insert(name, pending);
            moved_up
        })
    }

    /// A request is pending no more, or gone. Names those whose turn has come thereby.
    pub fn remove_pending(&self, name: &Named) -> Vec<Named> {
        self.write(|known| known.forget(name))
    }

    /// Only these requests are pending. Names those whose turn has come thereby.
    pub fn retain_pending(&self, names: &BTreeSet<Named>) -> Vec<Named> {
        self.write(|known| {
            let gone: Vec<_> = known.pending.keys().filter(|name| !names.contains(*name)).cloned().collect();
            gone.iter().flat_map(|name| known.forget(name)).collect()
        })
    }

    /// What allows this request.
    ///
    /// # Errors
    /// The reason for which it is not allowed. A suspended grant that concerns it holds it back
    /// whatever others say; otherwise grants add up, and have to agree in role and external id. Of several
    /// grants that each ask for more, the reason is of the one that it is closest to.
    pub fn allowed(&self, request: &PasswordResetRequest) -> Result<Allowed, Reason> {
        let namespace = request.namespace().unwrap_or_default();
        self.read(|known| {
            let labels = known.namespaces.get(&namespace);
            let concerned: Vec<_> =
                known.rules.values().filter(|rule| rule.concerns(request, &namespace, labels)).collect();
            if concerned.iter().any(|rule| rule.grant.spec.suspend) {
                return Err(Reason::GrantSuspended);
            }
            let judged: Vec<_> = concerned.iter().map(|rule| (rule, rule.lack(request, &namespace))).collect();
            let allowing: Vec<_> = judged.iter().filter(|(_, lack)| lack.is_none()).map(|(rule, _)| rule).collect();
            let Some(first) = allowing.first() else {
                let closest = judged.iter().filter_map(|(_, lack)| *lack).max();
                return Err(closest.map_or(Reason::UserPoolNotGranted, rule::Lack::reason));
            };
            let role = first.role();
            if allowing.iter().any(|rule| rule.role() != role) {
                return Err(Reason::AmbiguousGrant);
            }
            Ok(Allowed { role, grants: allowing.iter().map(|rule| rule.name()).take(16).collect() })
        })
    }

    /// The grants whose status does not say what it should.
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<Stale> {
        self.read(|known| {
            let all = status::statuses(&known.rules, &known.namespaces, now);
            let stale = all.filter(|(rule, wanted)| rule.grant.status.as_ref() != Some(wanted));
            let told = stale.map(|(rule, wanted)| {
                let news = status::news(rule.grant.status.as_ref(), &wanted);
                Stale { grant: UserPoolGrant { status: Some(wanted), ..rule.grant.clone() }, news }
            });
            told.collect()
        })
    }

    /// The grants that name a role.
    #[must_use]
    pub fn roles(&self) -> Vec<NamedRole> {
        let of_rule = |rule: &Rule| {
            let grant = &rule.grant;
            let (user_pool_id, uid) = (grant.spec.user_pool_id.clone(), grant.uid().unwrap_or_default());
            Some(NamedRole { grant: rule.name(), uid, user_pool_id, role: rule.role()? })
        };
        self.read(|known| known.rules.values().filter_map(of_rule).collect())
    }

    /// Whether a grant's role could be assumed, unless the grant names another one by now.
    pub fn role_tried(&self, tried: &NamedRole, assumable: Result<(), SessionFailure>) {
        let is_new = self.write(|known| {
            let rule = known.rules.get_mut(&tried.grant).filter(|rule| rule.role().as_ref() == Some(&tried.role));
            rule.is_some_and(|rule| rule.assumable.replace(assumable) != Some(assumable))
        });
        if is_new {
            self.to_tell.send_replace(());
        }
    }
}

impl Known {
    /// Takes a rule in: with the requests that wait already, and what was seen of the same role.
    fn insert(&mut self, name: String, mut rule: Rule) {
        self.pending.iter().for_each(|(name, pending)| rule.enqueue(name, pending));
        rule.assumable = self.rules.get(&name).filter(|old| old.role() == rule.role()).and_then(|old| old.assumable);
        self.rules.insert(name, rule);
    }

    /// Forgets a pending request, and names those whose turn has come thereby.
    fn forget(&mut self, name: &Named) -> Vec<Named> {
        let Some(pending) = self.pending.remove(name) else { return Vec::new() };
        self.rules.values_mut().filter_map(|rule| rule.dequeue(name, &pending)).collect()
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
