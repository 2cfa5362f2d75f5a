//! The outlook of a pending request: what grants and holds say about it as far as the watch shows
//! it.
//!
//! It decides whether a turn of the request can lead to a call, and in which account. A turn reads
//! the request and asks grants and holds again, so the outlook never allows anything.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use cognito_reset_api::{
    Action, IfResetRequired, PasswordResetRequest, RequestRef, UserStateSource, conditions::WaitReason,
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    action::user_names::KnownUser,
    dispatch::{key::Key, turns::GrantLimits},
    grants::{
        Asked, GrantIndex,
        compiled::{CompiledGrant, Unmet},
        least_limited, probable,
        queue::{Place, place},
        strongest,
    },
    ledger::Identity,
    shared::Shared,
};

/// The parts of a pending request that its outlook depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The key.
    pub key: Key,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The creation, by the API server's clock.
    pub created: Timestamp,
    /// The id of the pool.
    pub user_pool_id: Arc<str>,
    /// The user, as the request names it.
    pub username: Box<str>,
    /// The value of `suspend`.
    pub suspended: bool,
    /// The value of `approved`.
    pub approved: bool,
    /// True if `ifResetRequired` is `Skip`.
    pub skips: bool,
    /// The value of `notAfter`.
    pub not_after: Option<Timestamp>,
    /// The value of `deadlineSeconds`.
    pub deadline_seconds: Option<i64>,
}

impl Watched {
    /// Reads a request. Namespace and pool are shared with other requests.
    #[must_use]
    pub fn of(request: &PasswordResetRequest, names: &mut Shared<str>) -> Self {
        let (created, name) = place(request);
        let spec = &request.spec;
        Self {
            key: Key::of(request),
            namespace: names.share(request.namespace().unwrap_or_default()),
            name,
            created,
            user_pool_id: names.share(spec.user_pool_id.as_str()),
            username: spec.username.as_str().into(),
            suspended: spec.suspend,
            approved: spec.approved,
            skips: spec.if_reset_required == IfResetRequired::Skip,
            not_after: spec.not_after.as_ref().map(|time| time.0),
            deadline_seconds: spec.deadline_seconds,
        }
    }

    /// Returns the identity of the request.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let request = RequestRef { namespace: self.namespace.to_string(), name: self.name.to_string() };
        Identity {
            action: Action::PasswordReset,
            request,
            user_pool_id: self.user_pool_id.to_string(),
            username: self.username.to_string(),
        }
    }

    /// Returns the position of the request in its namespace.
    pub(super) fn place(&self) -> Place {
        (self.created, Arc::clone(&self.name))
    }

    /// Returns true if the other request is for the same user, and in the same place.
    pub(super) fn has_same_place(&self, other: &Self) -> bool {
        let place = |it: &Self| (Arc::clone(&it.namespace), it.place());
        place(self) == place(other) && self.user_pool_id == other.user_pool_id && self.username == other.username
    }

    /// Returns the question to grants and holds about the request and this user.
    pub(super) fn asked<'a>(&'a self, user: &'a KnownUser) -> Asked<'a> {
        Asked { pool: &self.user_pool_id, namespace: &self.namespace, spelling: &self.username, user }
    }
}

/// The outlook of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The reason why, by what the watches show, a turn cannot lead to a call; `None` if it may. A
    /// turn may still find another reason.
    pub blocked: Option<WaitReason>,
    /// The account of the role by which the call would be made; `None` without a role.
    pub account: Option<Arc<str>>,
    /// The call by which the user would be read.
    pub source: UserStateSource,
    /// The limits that the turns of the request count for.
    pub limits: Option<Arc<GrantLimits>>,
    /// A grant that matches the request requires an approval, which makes its deadline later.
    pub approval_required: bool,
    /// A hash of the grants and holds that match. If it changes, the status may have to change.
    pub fingerprint: u64,
}

impl GrantIndex {
    /// Returns the outlook of a request.
    #[must_use]
    pub fn outlook(&self, request: &Watched) -> Outlook {
        let user = self.read_user(request.key);
        let asked = request.asked(user);
        let matching: Vec<_> = self.matching(&asked).collect();
        let judged: Vec<_> = matching.iter().map(|grant| (*grant, unmet(grant, request, user))).collect();
        let allowing =
            probable(judged.iter().filter(|(_, unmet)| unmet.is_none()).map(|(grant, _)| *grant).collect(), &asked);
        let source = strongest(&allowing).unwrap_or_default();
        let held_by = if matching.is_empty() { None } else { self.held_by(&asked, source) };
        let role = allowing.first().map(|grant| grant.role());
        let blocked = if request.suspended {
            Some(WaitReason::Suspended)
        } else if held_by.is_some() {
            Some(WaitReason::UserPoolHeld)
        } else if role.is_none() {
            let closest = judged.iter().filter_map(|(_, unmet)| *unmet).max();
            Some(closest.map_or(WaitReason::NoMatchingGrant, Unmet::reason))
        } else if allowing.iter().any(|grant| Some(grant.role()) != role) {
            Some(WaitReason::ConflictingGrants)
        } else if source == UserStateSource::None && request.skips {
            Some(WaitReason::UserStateNotRead)
        } else {
            None
        };
        let mut hasher = DefaultHasher::new();
        let grants = judged
            .iter()
            .map(|(grant, unmet)| (grant.name(), grant.object.uid(), grant.object.metadata.generation, *unmet));
        (grants.collect::<Vec<_>>(), &held_by, blocked).hash(&mut hasher);
        Outlook {
            blocked,
            account: allowing.first().and_then(|grant| grant.account.clone()),
            source,
            limits: least_limited(&allowing),
            approval_required: matching.iter().any(|grant| grant.object.spec.require_approval),
            fingerprint: hasher.finish(),
        }
    }
}

/// Returns the requirement that a request does not meet, as far as the watch shows it.
///
/// A request that lacks an approval has a turn in which its user is read, so that an approver sees
/// who it is.
fn unmet(grant: &CompiledGrant, request: &Watched, user: &KnownUser) -> Option<Unmet> {
    if let Some(unmet) = grant.unmet_regardless_of_people(request.not_after.is_some()) {
        return Some(unmet);
    }
    let is_read_first = *user == KnownUser::NotRead && grant.source != UserStateSource::None;
    if grant.object.spec.require_approval && !request.approved && !is_read_first {
        return Some(Unmet::Approval);
    }
    let is_in_turn = grant.is_place_in_turn(&request.namespace, &request.place());
    (!is_in_turn).then_some(Unmet::PendingLimit)
}

#[cfg(test)]
mod tests;
