//! A grant made ready to match.

use std::collections::BTreeSet;

use cognito_reset_api::{PasswordResetRequest, PasswordResetRequestSpec, UserPoolGrant, conditions::Reason};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use regex::{Regex, RegexBuilder};

use crate::{
    action::port::{Role, SessionFailure},
    grants::{
        Labels,
        queue::{NamespacedName, Pending, Queue, place},
    },
};

/// The most memory that a compiled `usernamePattern` may take, in bytes.
const PATTERN_SIZE: usize = 1 << 18;

/// A grant made ready to match, and what is known of it beside its spec.
#[derive(Clone, Debug)]
pub(super) struct CompiledGrant {
    pub(super) object: UserPoolGrant,
    pub(super) namespaces: Result<Namespaces, Reason>,
    pub(super) usernames: Result<Option<Regex>, Reason>,
    /// Kept only where there is a limit.
    queue: Queue,
    /// Whether the role could be assumed at the last try, and if not, why.
    pub(super) assumable: Option<Result<(), SessionFailure>>,
}

#[derive(Clone, Debug)]
pub(super) enum Namespaces {
    All,
    Named(BTreeSet<String>),
    Selected(Selector),
}

impl Namespaces {
    pub(super) fn contains(&self, name: &str, labels: Option<&Labels>) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
            Self::Selected(selector) => labels.is_some_and(|labels| selector.matches(labels)),
        }
    }
}

/// What a request lacks of what a grant that concerns it asks for, the furthest from being allowed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unmet {
    Expiration,
    Proof,
    Approval,
    Turn,
}

impl Unmet {
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Expiration => Reason::ExpirationRequired,
            Self::Proof => Reason::ApprovalNotProven,
            Self::Approval => Reason::AwaitingApproval,
            Self::Turn => Reason::PendingLimitReached,
        }
    }
}

impl CompiledGrant {
    pub(super) fn new(grant: UserPoolGrant) -> Self {
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
        let usernames = usernames.map_err(|_| Reason::InvalidUsernamePattern);
        Self { namespaces, usernames, object: grant, queue: Queue::default(), assumable: None }
    }

    /// Whether it is about this user from this namespace, leaving aside what else it asks for.
    ///
    /// What cannot be understood allows nobody, and where the grant is suspended holds back everybody:
    /// a kill switch with a slip of the pen is one all the same.
    pub(super) fn matches(&self, request: &PasswordResetRequest, namespace: &str, labels: Option<&Labels>) -> bool {
        let unclear = self.object.spec.suspend;
        let in_namespaces = self.namespaces.as_ref().map_or(unclear, |selected| selected.contains(namespace, labels));
        in_namespaces && self.matches_user(&request.spec.user_pool_id, &request.spec.username, unclear)
    }

    fn matches_user(&self, user_pool_id: &str, username: &str, unclear: bool) -> bool {
        let of_username = |pattern: &Option<Regex>| pattern.as_ref().is_none_or(|pattern| pattern.is_match(username));
        self.object.spec.user_pool_id == user_pool_id && self.usernames.as_ref().map_or(unclear, of_username)
    }

    /// What the request, which it concerns, lacks of what it asks for beside.
    pub(super) fn unmet(&self, request: &PasswordResetRequest, namespace: &str) -> Option<Unmet> {
        let asked = &self.object.spec;
        if asked.require_expiration && request.spec.expiration_time.is_none() {
            return Some(Unmet::Expiration);
        }
        if asked.require_approval
            && let Some(unmet) = unmet_approval(&request.spec)
        {
            return Some(unmet);
        }
        let waits = self.limit().is_some_and(|limit| !self.queue.is_among_first(namespace, &place(request), limit));
        waits.then_some(Unmet::Turn)
    }

    fn limit(&self) -> Option<usize> {
        // The definition has a minimum of 1. What is below it lets nobody pass.
        self.object.spec.max_pending_per_namespace.map(|limit| usize::try_from(limit).unwrap_or_default())
    }

    /// A request waits, by namespace and name.
    pub(super) fn enqueue(&mut self, (namespace, name): &NamespacedName, pending: &Pending) {
        if self.limit().is_some() && self.matches_user(&pending.user_pool_id, &pending.username, false) {
            self.queue.insert(namespace, (pending.created, name.clone()));
        }
    }

    /// It does not any more. Names the one whose turn has come thereby.
    pub(super) fn dequeue(&mut self, (namespace, name): &NamespacedName, pending: &Pending) -> Option<NamespacedName> {
        let moved_up = self.queue.remove(namespace, &(pending.created, name.clone()), self.limit()?)?;
        Some((namespace.clone(), moved_up))
    }

    pub(super) fn name(&self) -> String {
        self.object.name_any()
    }

    pub(super) fn role(&self) -> Option<Role> {
        let arn = self.object.spec.role_arn.clone()?;
        let session_tags = self.object.spec.session_tags.unwrap_or_default();
        Some(Role { arn, external_id: self.object.spec.external_id.clone(), session_tags })
    }
}

/// An approval counts where it is proven who asked and who approved, and the two differ.
fn unmet_approval(spec: &PasswordResetRequestSpec) -> Option<Unmet> {
    if !spec.requested_by.is_proven() {
        return Some(Unmet::Proof);
    }
    if !spec.approved {
        return Some(Unmet::Approval);
    }
    let by_another = spec.approved_by.as_ref().is_some_and(|approver| approver.differs_from(&spec.requested_by));
    (!by_another).then_some(Unmet::Proof)
}

/// A pattern that has to match the whole text, in linear time and bounded memory.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    // By itself first: `a)|(b` only balances inside the brackets, and would escape the anchors.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}
