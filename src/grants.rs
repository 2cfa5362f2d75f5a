//! Which requests the grants allow, and whether a grant can allow anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::RwLock,
};

use jiff::Timestamp;
use kube::{ResourceExt, core::Selector, core::SelectorExt};
use regex::{Regex, RegexBuilder};
use tokio::sync::watch;

use crate::{
    api::{
        PasswordResetRequest, UserPoolGrant, UserPoolGrantStatus,
        conditions::{ConditionType, Reason, Truth, conditions},
    },
    cognito::port::Role,
};

/// The most memory that a compiled `usernamePattern` may take, in bytes.
const PATTERN_SIZE: usize = 1 << 18;

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

/// A grant made ready to match.
#[derive(Clone, Debug)]
struct Rule {
    grant: UserPoolGrant,
    namespaces: Result<Namespaces, Reason>,
    usernames: Result<Option<Regex>, Reason>,
}

#[derive(Clone, Debug)]
enum Namespaces {
    All,
    Named(BTreeSet<String>),
    Selected(Selector),
}

impl Namespaces {
    fn contains(&self, name: &str, labels: Option<&Labels>) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
            Self::Selected(selector) => labels.is_some_and(|labels| selector.matches(labels)),
        }
    }
}

impl Rule {
    fn new(grant: UserPoolGrant) -> Self {
        let namespaces = match (&grant.spec.namespaces, &grant.spec.namespace_selector) {
            (Some(names), None) if names.iter().any(|name| name == "*") => Ok(Namespaces::All),
            (Some(names), None) => Ok(Namespaces::Named(names.iter().cloned().collect())),
            (None, Some(selector)) => Selector::try_from(selector.clone())
                .ok()
                .filter(|selector| !selector.selects_all())
                .map(Namespaces::Selected)
                .ok_or(Reason::InvalidNamespaceSelector),
            _ => Err(Reason::InvalidNamespaceSelector),
        };
        let usernames = grant.spec.username_pattern.as_deref().map(whole).transpose();
        Self { namespaces, usernames: usernames.map_err(|_| Reason::InvalidUsernamePattern), grant }
    }

    /// Whether it is about this user from this namespace, leaving `requireExpiration` aside.
    ///
    /// What cannot be understood allows nobody, and where the grant is suspended holds back everybody:
    /// a kill switch with a slip of the pen is one all the same.
    fn concerns(&self, request: &PasswordResetRequest, namespace: &str, labels: Option<&Labels>) -> bool {
        let unclear = self.grant.spec.suspend;
        let in_namespaces = self.namespaces.as_ref().map_or(unclear, |selected| selected.contains(namespace, labels));
        let of_usernames = self
            .usernames
            .as_ref()
            .map_or(unclear, |pattern| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&request.spec.username)));
        self.grant.spec.user_pool_id == request.spec.user_pool_id && in_namespaces && of_usernames
    }

    fn role(&self) -> Option<Role> {
        let arn = self.grant.spec.role_arn.clone()?;
        Some(Role { arn, external_id: self.grant.spec.external_id.clone() })
    }
}

/// A pattern that has to match the whole text, in linear time and bounded memory.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    // By itself first: `a)|(b` only balances inside the brackets, and would escape the anchors.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

/// The grants and namespaces of the cluster, as the watches show them.
#[derive(Debug)]
pub struct Permissions {
    known: RwLock<Known>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    rules: BTreeMap<String, Rule>,
    namespaces: BTreeMap<String, Labels>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { known: RwLock::default(), changed: watch::Sender::new(()) }
    }
}

impl Permissions {
    /// Tells of every change that may alter what is allowed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        // A poisoned lock still holds consistent data: each change is one insertion or removal.
        let changed = change(&mut self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner));
        if changed {
            self.changed.send_replace(());
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
                Some(rule) if rule.grant.spec == grant.spec => {
                    rule.grant = grant;
                    false
                }
                _ => {
                    known.rules.insert(name, Rule::new(grant));
                    true
                }
            }
        });
    }

    /// A grant's status was written. The reply may be late: only the watch brings a grant, or takes it away.
    pub fn status_written(&self, stored: &UserPoolGrant) {
        self.change(|known| {
            if let Some(rule) = known.rules.get_mut(&stored.name_any()) {
                rule.grant.status.clone_from(&stored.status);
            }
            false
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

    /// What allows this request.
    ///
    /// # Errors
    /// The reason for which it is not allowed. A suspended grant that concerns it holds it back
    /// whatever others say; otherwise grants add up, and have to agree in role and external id.
    pub fn allowed(&self, request: &PasswordResetRequest) -> Result<Allowed, Reason> {
        let namespace = request.namespace().unwrap_or_default();
        self.read(|known| {
            let labels = known.namespaces.get(&namespace);
            let concerned: Vec<_> =
                known.rules.values().filter(|rule| rule.concerns(request, &namespace, labels)).collect();
            if concerned.iter().any(|rule| rule.grant.spec.suspend) {
                return Err(Reason::GrantSuspended);
            }
            let allowing: Vec<_> = concerned
                .iter()
                .filter(|rule| !rule.grant.spec.require_expiration || request.spec.expiration_time.is_some())
                .collect();
            let Some(first) = allowing.first() else {
                return Err(if concerned.is_empty() { Reason::UserPoolNotGranted } else { Reason::ExpirationRequired });
            };
            let role = first.role();
            if allowing.iter().any(|rule| rule.role() != role) {
                return Err(Reason::AmbiguousGrant);
            }
            Ok(Allowed { role, grants: allowing.iter().map(|rule| rule.grant.name_any()).take(16).collect() })
        })
    }

    /// The grants whose status does not say what it should, with the status that it should have.
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<UserPoolGrant> {
        self.read(|known| {
            let stale = known.rules.values().filter_map(|rule| {
                let wanted = status(rule, &known.namespaces, now);
                (rule.grant.status.as_ref() != Some(&wanted)).then(|| {
                    let mut grant = rule.grant.clone();
                    grant.status = Some(wanted);
                    grant
                })
            });
            stale.collect()
        })
    }
}

/// What a grant's status should say.
fn status(rule: &Rule, namespaces: &BTreeMap<String, Labels>, now: Timestamp) -> UserPoolGrantStatus {
    use ConditionType::{Ready, Stalled};
    let (wanted, reason, message): (&[_], _, _) = match (&rule.namespaces, &rule.usernames) {
        (Err(reason), _) => (
            &[(Ready, Truth::False), (Stalled, Truth::True)],
            *reason,
            "this grant can never match: correct namespaces or namespaceSelector".to_owned(),
        ),
        (_, Err(reason)) => (
            &[(Ready, Truth::False), (Stalled, Truth::True)],
            *reason,
            "this grant can never match: usernamePattern is not a valid or not a small enough regular expression"
                .to_owned(),
        ),
        (Ok(_), Ok(_)) if rule.grant.spec.suspend => {
            let message =
                "suspended: every request that this grant concerns waits, whatever other grants say".to_owned();
            (&[(Ready, Truth::False)], Reason::GrantSuspended, message)
        }
        (Ok(selected), Ok(_)) => {
            let matching = namespaces.iter().filter(|(name, labels)| selected.contains(name, Some(labels))).count();
            if matching == 0 {
                let message = "no namespace of the cluster is selected at present; nothing is allowed".to_owned();
                (&[(Ready, Truth::False)], Reason::NoNamespaceMatches, message)
            } else {
                (&[(Ready, Truth::True)], Reason::Valid, "the grant is in force".to_owned())
            }
        }
    };
    let standing = rule.grant.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = rule.grant.metadata.generation;
    UserPoolGrantStatus {
        observed_generation: generation,
        conditions: conditions(standing, wanted, reason, &message, generation, now),
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
