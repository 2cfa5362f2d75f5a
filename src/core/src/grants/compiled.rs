//! Compiles a grant for matching.

use std::{collections::BTreeSet, sync::Arc};

use cognito_reset_api::{
    PasswordResetRequest, PasswordResetRequestSpec, UserPoolGrant, UserPoolGrantSpec, UserStateSource,
    conditions::{GrantReason, WaitReason},
};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use regex::{Regex, RegexBuilder};

use crate::{
    action::{
        port::{Role, SessionFailure},
        user_names::KnownUser,
    },
    dispatch::{key::Key, turns::GrantLimits},
    grants::{
        Asked, Labels, Namespace, Watched,
        people::Person,
        queue::{Place, Queue, place},
    },
};

/// The maximum memory of a compiled `usernamePattern`, in bytes.
const PATTERN_SIZE: usize = 1 << 18;

/// A compiled grant, and its state beyond the spec.
#[derive(Clone, Debug)]
pub(super) struct CompiledGrant {
    pub(super) object: UserPoolGrant,
    pub(super) namespaces: Result<Namespaces, GrantReason>,
    pub(super) usernames: Result<Option<Regex>, GrantReason>,
    /// The call by which users are read: that of the grant, or the default one.
    pub(super) source: UserStateSource,
    /// Used only if there is a limit.
    queue: Queue,
    /// The result of the last role check; `None` before the first one.
    pub(super) assumable: Option<Result<(), SessionFailure>>,
    /// The account of the role.
    pub(super) account: Option<Arc<str>>,
    /// The limits of turns by this grant, if it sets any.
    pub(super) limits: Option<Arc<GrantLimits>>,
}

#[derive(Clone, Debug)]
pub(super) enum Namespaces {
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

/// A requirement of a matching grant that a request does not meet. The first one is the furthest
/// from being allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unmet {
    Suspended,
    NotAfter,
    AuthenticatedRequester,
    IndependentRequester,
    AnotherApprover,
    IndependentApprover,
    AuthenticatedApprover,
    Approval,
    PendingLimit,
}

impl Unmet {
    pub(super) const fn reason(self) -> WaitReason {
        match self {
            Self::Suspended => WaitReason::GrantSuspended,
            Self::NotAfter => WaitReason::NotAfterRequired,
            Self::AuthenticatedRequester => WaitReason::RequesterUnverified,
            Self::IndependentRequester => WaitReason::RequesterNotIndependent,
            Self::AnotherApprover => WaitReason::SelfApproval,
            Self::IndependentApprover => WaitReason::ApproverNotIndependent,
            Self::AuthenticatedApprover => WaitReason::ApproverUnverified,
            Self::Approval => WaitReason::AwaitingApproval,
            Self::PendingLimit => WaitReason::PendingLimitReached,
        }
    }
}

impl CompiledGrant {
    pub(super) fn new(grant: UserPoolGrant, default_source: UserStateSource) -> Self {
        let namespaces = match (&grant.spec.namespaces, &grant.spec.namespace_selector) {
            (Some(names), None) if names.iter().any(|name| name == "*") => Ok(Namespaces::All),
            (Some(names), None) => Ok(Namespaces::Named(names.iter().cloned().collect())),
            (None, Some(selector)) => Selector::try_from(selector.clone())
                .ok()
                .filter(|selector| !selector.selects_all())
                .map(Namespaces::Selected)
                .ok_or(GrantReason::InvalidNamespaceSelector),
            _ => Err(GrantReason::InvalidNamespaceSelector),
        };
        let usernames = grant.spec.username_pattern.as_deref().map(whole).transpose();
        let usernames = usernames.map_err(|_| GrantReason::InvalidUsernamePattern);
        let source = grant.spec.user_state_source.unwrap_or(default_source);
        let usernames = match (usernames, source) {
            // The user would have to be read to be compared.
            (Ok(Some(_)), UserStateSource::None) => Err(GrantReason::UserStateNotRead),
            (usernames, _) => usernames,
        };
        let account = role(&grant).and_then(|role| role.account().map(Into::into));
        let limits = limits(&grant);
        Self { namespaces, usernames, source, object: grant, queue: Queue::default(), assumable: None, account, limits }
    }

    /// Returns true if the grant matches this user and namespace, regardless of its other
    /// requirements.
    ///
    /// A grant with an invalid pattern or selector matches no request, nor does one with a pattern
    /// that lets nobody read users. Neither does a selector
    /// match a namespace whose labels are not known, nor a list of uids one whose uid is not: a
    /// grant only ever allows.
    pub(super) fn matches(&self, asked: &Asked<'_>, known: Option<&Namespace>) -> bool {
        self.selects(asked.namespace, known) && self.matches_user(asked)
    }

    /// Returns true if the grant selects the namespace.
    pub(super) fn selects(&self, name: &str, known: Option<&Namespace>) -> bool {
        let labels = known.map(|namespace| &namespace.labels);
        let selected = self.namespaces.as_ref().is_ok_and(|selected| selected.contains(name, labels));
        let uid = known.and_then(|namespace| namespace.uid.as_ref());
        let of_uid = |uids: &Vec<String>| uid.is_some_and(|uid| uids.contains(uid));
        selected && self.object.spec.namespace_uids.as_ref().is_none_or(of_uid)
    }

    /// Compares the pattern with the user's name. The spelling in the request proves nothing,
    /// because Cognito accepts aliases and the `sub`. So a user who was not read yet may have a
    /// name that matches.
    fn matches_user(&self, asked: &Asked<'_>) -> bool {
        let of_user = |pattern: &Option<Regex>| {
            pattern.as_ref().is_none_or(|pattern| match asked.user {
                // The user is read before every claim, and the grant is compared again.
                KnownUser::NotRead => true,
                KnownUser::Unreadable => false,
                KnownUser::Read(names) => names.name().is_some_and(|name| pattern.is_match(name)),
            })
        };
        self.object.spec.user_pool_id == asked.pool && self.usernames.as_ref().is_ok_and(of_user)
    }

    /// Returns true if the labels or the uid of a namespace decide whether the grant selects it.
    pub(super) const fn selects_by_namespaces(&self) -> bool {
        matches!(self.namespaces, Ok(Namespaces::Selected(_))) || self.object.spec.namespace_uids.is_some()
    }

    /// Returns true if the grant is for this user, and the labels or the uid of the namespace
    /// decide whether it matches.
    pub(super) fn may_select(&self, asked: &Asked<'_>) -> bool {
        let by_uid = self.object.spec.namespace_uids.is_some();
        let decides = match &self.namespaces {
            Ok(Namespaces::Selected(_)) => true,
            Ok(Namespaces::All) => by_uid,
            Ok(Namespaces::Named(names)) => by_uid && names.contains(asked.namespace),
            Err(_) => false,
        };
        decides && self.matches_user(asked)
    }

    pub(super) const fn has_pattern(&self) -> bool {
        self.object.spec.username_pattern.is_some()
    }

    /// Returns true if the grant needs to know the users of pending requests.
    pub(super) const fn asks_for_users(&self) -> bool {
        self.has_pattern() || self.object.spec.require_approval
    }

    /// Returns true if the pattern matches this text.
    pub(super) fn pattern_matches(&self, text: &str) -> bool {
        matches!(&self.usernames, Ok(Some(pattern)) if pattern.is_match(text))
    }

    /// Returns the requirement that a matching request does not meet regardless of who made it.
    pub(super) const fn unmet_regardless_of_people(&self, has_not_after: bool) -> Option<Unmet> {
        let UserPoolGrantSpec { suspend, require_not_after, .. } = self.object.spec;
        if suspend {
            Some(Unmet::Suspended)
        } else if require_not_after && !has_not_after {
            Some(Unmet::NotAfter)
        } else {
            None
        }
    }

    /// Returns the requirement that a matching request does not meet.
    pub(super) fn unmet(&self, request: &PasswordResetRequest, namespace: &str) -> Option<Unmet> {
        if let Some(unmet) = self.unmet_regardless_of_people(request.spec.not_after.is_some()) {
            return Some(unmet);
        }
        if self.object.spec.require_approval
            && let Some(unmet) = self.unmet_approval(&request.spec, namespace)
        {
            return Some(unmet);
        }
        (!self.is_in_turn(request, namespace)).then_some(Unmet::PendingLimit)
    }

    /// Returns true if the grant would allow a matching request if it were approved.
    pub(super) fn lacks_only_approval(&self, request: &PasswordResetRequest, namespace: &str) -> bool {
        self.unmet(request, namespace) == Some(Unmet::Approval) && self.is_in_turn(request, namespace)
    }

    /// Returns true if few enough earlier requests of the namespace are pending.
    fn is_in_turn(&self, request: &PasswordResetRequest, namespace: &str) -> bool {
        self.is_place_in_turn(namespace, &place(request))
    }

    /// Returns true if few enough requests of the namespace are pending before this place.
    pub(super) fn is_place_in_turn(&self, namespace: &str, place: &Place) -> bool {
        self.limit().is_none_or(|limit| self.queue.is_among_first(namespace, place, limit))
    }

    /// Checks the approval: requester and approver have to be authenticated, must not depend on the
    /// administrators of the request's namespace, and have to be two people.
    fn unmet_approval(&self, spec: &PasswordResetRequestSpec, namespace: &str) -> Option<Unmet> {
        let named = self.object.spec.approval_service_accounts.as_deref().unwrap_or_default();
        let requester = Person::from(&spec.requested_by);
        if !spec.requested_by.is_authenticated() {
            return Some(Unmet::AuthenticatedRequester);
        }
        if requester.is_dependent(namespace, named) {
            return Some(Unmet::IndependentRequester);
        }
        if !spec.approved {
            return Some(Unmet::Approval);
        }
        let Some(approver) = spec.approved_by.as_ref().map(Person::from) else {
            return Some(Unmet::AuthenticatedApprover);
        };
        if approver.is_dependent(namespace, named) {
            return Some(Unmet::IndependentApprover);
        }
        let identity = self.object.spec.approval_identity.as_deref();
        (!approver.differs_from(requester, identity)).then_some(Unmet::AnotherApprover)
    }

    fn limit(&self) -> Option<usize> {
        // The CRD has a minimum of 1. A lower value lets no request proceed.
        self.object.spec.max_pending_per_namespace.map(|limit| usize::try_from(limit).unwrap_or_default())
    }

    /// Adds a waiting request, unless the grant is for other users.
    pub(super) fn enqueue(&mut self, request: &Watched, user: &KnownUser) {
        if self.limit().is_some() && self.matches_user(&request.asked(user)) {
            self.queue.insert(request);
        }
    }

    /// Adds or removes a waiting request whose user was just read. Returns the request that may
    /// proceed as a result.
    pub(super) fn requeue(&mut self, request: &Watched, user: &KnownUser) -> Option<Key> {
        if self.matches_user(&request.asked(user)) {
            self.enqueue(request, user);
            return None;
        }
        self.dequeue(request)
    }

    /// Removes a request that no longer waits. Returns the request that may proceed as a result.
    pub(super) fn dequeue(&mut self, request: &Watched) -> Option<Key> {
        let limit = self.limit()?;
        self.queue.remove(request, limit)
    }

    pub(super) fn name(&self) -> String {
        self.object.name_any()
    }

    pub(super) fn role(&self) -> Option<Role> {
        role(&self.object)
    }
}

/// Returns the limits of turns by a grant. The CRD has minima of 1; a lower value counts as the
/// lowest limit.
fn limits(grant: &UserPoolGrant) -> Option<Arc<GrantLimits>> {
    let UserPoolGrantSpec { max_resets_per_minute, max_share_percent, .. } = &grant.spec;
    let number = |limit: &Option<i64>| limit.map(|limit| u32::try_from(limit).unwrap_or_default());
    let (per_minute, share_percent) = (number(max_resets_per_minute), number(max_share_percent));
    let is_limited = per_minute.is_some() || share_percent.is_some();
    is_limited.then(|| Arc::new(GrantLimits { grant: grant.name_any().into(), per_minute, share_percent }))
}

fn role(grant: &UserPoolGrant) -> Option<Role> {
    let arn = grant.spec.role_arn.clone()?;
    let session_tags = grant.spec.session_tags.unwrap_or_default();
    Some(Role { arn, external_id: grant.spec.external_id.clone(), session_tags })
}

/// Compiles a pattern that has to match the whole text, in linear time and bounded memory.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    // The pattern is compiled alone first: `a)|(b` is balanced only inside the brackets, and would
    // escape the anchors.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}
