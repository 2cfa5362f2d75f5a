//! Decides which requests the grants allow, and whether a grant can allow any.

mod compiled;
mod freshness;
mod hold;
mod holds;
mod outlook;
mod people;
mod queue;
mod status;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

pub(crate) use self::people::is_service_account_of;
use self::{compiled::CompiledGrant, freshness::Freshness, hold::CompiledHold};
pub use self::{
    freshness::{ListedKind, ListedObject, Moment, Replaced, Version, Versions},
    hold::{HeldBy, HeldCount, HoldCause, UnreadableHold},
    holds::Learned,
    outlook::{Outlook, Watched},
};
use crate::{
    action::{
        port::{Role, SessionFailure},
        user_names::KnownUser,
    },
    dispatch::{key::Key, turns::GrantLimits},
    watched_namespaces::WatchedNamespaces,
};
use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, UserStateSource, conditions::WaitReason};

/// A namespace's labels.
pub type Labels = BTreeMap<String, String>;

/// The parts of a namespace that grants select by, besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its uid, which a namespace that is created again under the same name does not have.
    pub uid: Option<String>,
    /// Its labels.
    pub labels: Labels,
}

/// The authorization of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// The role to assume.
    pub role: Option<Role>,
    /// The call by which the user is read.
    pub source: UserStateSource,
    /// The names of the grants, at most 16.
    pub grants: Vec<String>,
    /// The limits that the turns of the request count for.
    pub limits: Option<Arc<GrantLimits>>,
}

/// A question to grants and holds about one request.
#[derive(Clone, Copy)]
struct Asked<'a> {
    pool: &'a str,
    namespace: &'a str,
    /// The user as the request names it.
    spelling: &'a str,
    user: &'a KnownUser,
}

/// The access by which the user of a request is read that is not allowed yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadAccess {
    /// The role to assume.
    pub role: Option<Role>,
    /// The call by which the user is read.
    pub source: UserStateSource,
    /// The limits that the turn counts for.
    pub limits: Option<Arc<GrantLimits>>,
}

/// The evaluation of all grants and holds for a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evaluation {
    /// A grant that matches the request requires an approval, whether or not the request has one.
    pub approval_required: bool,
    /// The request is allowed only by grants with a `usernamePattern`, which allow nothing while
    /// the user cannot be read. If the user was not read yet, any of them may match.
    pub user_required: bool,
    /// The authorization, or the reason why the request has none.
    pub authorization: Result<Authorization, WaitReason>,
    /// Present if the request lacks nothing but an approval and its user was not read: the access
    /// to read the user with, so that an approver sees who it is.
    pub read_before_approval: Option<ReadAccess>,
    /// The hold, if the reason is `UserPoolHeld`.
    pub held_by: Option<HeldBy>,
    /// True if what the evaluation is based on was confirmed recently enough. Nothing is sent
    /// otherwise.
    pub confirmed: bool,
}

/// Describes the evaluation for the log, without the texts that people wrote.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { approval_required, user_required, authorization, read_before_approval, held_by, confirmed } = self;
        write!(f, "{authorization:?}")?;
        if *approval_required {
            f.write_str(", approval required")?;
        }
        if *user_required {
            f.write_str(", user required")?;
        }
        if read_before_approval.is_some() {
            f.write_str(", user to be read before the approval")?;
        }
        if !confirmed {
            f.write_str(", not confirmed")?;
        }
        held_by.as_ref().map_or(Ok(()), |held_by| write!(f, ", held by {} and {} others", held_by.hold, held_by.others))
    }
}

/// A grant or hold whose status has to change.
#[derive(Clone, Debug, PartialEq)]
pub struct StaleStatus<K> {
    /// The object with its new status.
    pub object: K,
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

/// The grants, holds, namespaces and pending requests of the cluster, as the watches show them.
#[derive(Debug, Default)]
pub struct GrantIndex {
    /// The source of grants without one of their own.
    default_source: UserStateSource,
    /// The namespaces whose pending requests are put into the index.
    watched: WatchedNamespaces,
    grants: BTreeMap<String, CompiledGrant>,
    holds: BTreeMap<String, CompiledHold>,
    /// The users of pending requests that were read while a hold or a grant asked for users.
    users: BTreeMap<Key, KnownUser>,
    namespaces: BTreeMap<String, Namespace>,
    pending: BTreeMap<Key, Arc<Watched>>,
    freshness: Freshness,
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
                self.insert(name, CompiledGrant::new(grant, self.default_source));
                true
            }
        }
    }

    /// Stores a grant's status that was written. The response may be late, so this never adds a
    /// grant: only the watch and the lists that confirm it add and remove grants.
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
    pub fn put_namespace(&mut self, name: String, namespace: Namespace) -> bool {
        self.freshness.namespace_delivered(&name, Some(&namespace));
        self.namespaces.insert(name, namespace.clone()).as_ref() != Some(&namespace)
    }

    /// Removes a namespace. Returns true if it existed.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        self.freshness.namespace_delivered(name, None);
        self.namespaces.remove(name).is_some()
    }

    /// Removes all namespaces except these. Returns true if any was removed.
    pub fn retain_namespaces(&mut self, names: &BTreeSet<String>) -> bool {
        let gone: Vec<_> = self.namespaces.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in &gone {
            self.remove_namespace(name);
        }
        !gone.is_empty()
    }

    /// Returns true if the labels or uids of namespaces decide whether a grant matches.
    #[must_use]
    pub fn selects_by_namespaces(&self) -> bool {
        self.grants.values().any(CompiledGrant::selects_by_namespaces)
    }

    /// Adds or updates a pending request. Returns the requests that may proceed because its place
    /// has changed.
    pub fn put_pending(&mut self, request: &Arc<Watched>) -> Vec<Key> {
        if let Some(known) = self.pending.get_mut(&request.key)
            && known.has_same_place(request)
        {
            *known = Arc::clone(request);
            return Vec::new();
        }
        let moved_up = self.remove_pending(request.key);
        self.grants.values_mut().for_each(|grant| grant.enqueue(request, &KnownUser::NotRead));
        self.pending.insert(request.key, Arc::clone(request));
        moved_up
    }

    /// Removes a request that is no longer pending, or deleted. Returns the requests that may
    /// proceed as a result.
    pub fn remove_pending(&mut self, key: Key) -> Vec<Key> {
        self.users.remove(&key);
        let Some(pending) = self.pending.remove(&key) else { return Vec::new() };
        self.grants.values_mut().filter_map(|grant| grant.dequeue(&pending)).collect()
    }

    /// Removes all pending requests except these. Returns the requests that may proceed as a
    /// result.
    pub fn retain_pending(&mut self, keys: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<_> = self.pending.keys().filter(|key| !keys.contains(*key)).copied().collect();
        gone.into_iter().flat_map(|key| self.remove_pending(key)).collect()
    }

    /// Evaluates grants and holds for this request, without asking whether they are confirmed.
    ///
    /// A hold comes before everything that a grant says. Only a request that no grant matches does
    /// not show it: a namespace without a grant learns nothing of a pool.
    #[must_use]
    pub fn evaluate(&self, request: &PasswordResetRequest, user: &KnownUser) -> Evaluation {
        let namespace = request.namespace().unwrap_or_default();
        let asked = self.asked(request, &namespace, user);
        let matching: Vec<_> = self.matching(&asked).collect();
        let approval_required = matching.iter().any(|grant| grant.object.spec.require_approval);
        let (authorization, user_required) = authorize(&matching, request, &asked);
        let held_by = if matching.is_empty() { None } else { self.held_by(&asked, source_of(&authorization)) };
        let (authorization, user_required) = match held_by {
            Some(_) => (Err(WaitReason::UserPoolHeld), false),
            None => (authorization, user_required),
        };
        let read_before_approval =
            if authorization == AWAITING_APPROVAL { read_access(&matching, request, &asked) } else { None };
        Evaluation { approval_required, user_required, authorization, read_before_approval, held_by, confirmed: false }
    }

    /// Returns the question about a request of this namespace.
    fn asked<'a>(&'a self, request: &'a PasswordResetRequest, namespace: &'a str, user: &'a KnownUser) -> Asked<'a> {
        let (spec, user) = (&request.spec, self.known_user(request, user));
        Asked { pool: &spec.user_pool_id, namespace, spelling: &spec.username, user }
    }

    /// Returns the grants that match a request, regardless of their other requirements.
    fn matching(&self, asked: &Asked<'_>) -> impl Iterator<Item = &CompiledGrant> {
        let watched = self.namespaces.get(asked.namespace);
        let known = self.freshness.namespace(asked.namespace).unwrap_or(watched);
        self.grants.values().filter(move |grant| grant.matches(asked, known))
    }

    /// Returns the grants whose status has to change.
    #[must_use]
    pub fn stale_statuses(&self, now: Timestamp) -> Vec<StaleStatus<UserPoolGrant>> {
        let all = status::statuses(&self.grants, &self.namespaces, now);
        let stale = all.filter(|(grant, wanted)| grant.object.status.as_ref() != Some(wanted));
        let changes = stale.map(|(grant, wanted)| {
            let before = grant.object.status.as_ref();
            let changed = status::changed(before.map(|it| it.conditions.as_slice()), &wanted.conditions);
            StaleStatus { object: UserPoolGrant { status: Some(wanted), ..grant.object.clone() }, changed }
        });
        changes.collect()
    }

    /// Returns the grants that name a role and select a watched namespace.
    #[must_use]
    pub fn roles(&self) -> Vec<GrantRole> {
        let of_grant = |grant: &CompiledGrant| {
            let (user_pool_id, uid) = (grant.object.spec.user_pool_id.clone(), grant.object.uid().unwrap_or_default());
            Some(GrantRole { grant: grant.name(), uid, user_pool_id, role: grant.role()? })
        };
        self.grants.values().filter(|grant| self.selects_watched(grant)).filter_map(of_grant).collect()
    }

    /// Returns true if a grant can allow a request of a watched namespace.
    fn selects_watched(&self, grant: &CompiledGrant) -> bool {
        let selects = |name: &String| grant.selects(name, self.namespaces.get(name));
        self.watched.names().is_none_or(|names| names.iter().any(selects))
    }

    /// Returns true if a namespace exists.
    #[must_use]
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
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
        self.pending.values().for_each(|pending| grant.enqueue(pending, self.read_user(pending.key)));
        grant.assumable = self.grants.get(&name).filter(|old| old.role() == grant.role()).and_then(|old| old.assumable);
        self.grants.insert(name, grant);
    }
}

const AWAITING_APPROVAL: Result<Authorization, WaitReason> = Err(WaitReason::AwaitingApproval);

/// Returns the access to read the user with, if the user was not read yet, and a grant would allow
/// the request if it were approved.
fn read_access(matching: &[&CompiledGrant], request: &PasswordResetRequest, asked: &Asked<'_>) -> Option<ReadAccess> {
    if *asked.user != KnownUser::NotRead {
        return None;
    }
    let grants = matching.iter().filter(|grant| grant.lacks_only_approval(request, asked.namespace)).copied();
    let grants = probable(grants.collect(), asked);
    let source = strongest(&grants)?;
    let access = grants.first().map(|grant| ReadAccess { role: grant.role(), source, limits: least_limited(&grants) });
    access.filter(|access| access.source != UserStateSource::None)
}

/// Returns the strongest source of the grants without a pattern or, if there are none, of all;
/// `None` without a grant.
///
/// Grants add up: one that reads less takes no evidence away from what another one allows. A
/// pattern is compared with the user only after the read, so it does not decide about the read
/// beside a grant that allows the request anyway: the source would depend on its own result.
fn strongest(grants: &[&CompiledGrant]) -> Option<UserStateSource> {
    let of = |has_pattern: bool| {
        grants.iter().filter(|grant| grant.has_pattern() == has_pattern).map(|grant| grant.source).min()
    };
    of(false).or_else(|| of(true))
}

/// Returns the source by which the user of this request is read. A request that is not allowed is
/// compared with holds as one whose user will be read.
fn source_of(authorization: &Result<Authorization, WaitReason>) -> UserStateSource {
    authorization.as_ref().map_or_else(|_| UserStateSource::default(), |allowed| allowed.source)
}

/// Returns the limits that the turns of a request count for which these grants allow: grants add
/// up, so there are none if one of the grants sets none, and otherwise it is the highest rate, then
/// the highest share, then the first name.
fn least_limited(allowing: &[&CompiledGrant]) -> Option<Arc<GrantLimits>> {
    let limits = allowing.iter().map(|grant| grant.limits.as_ref()).collect::<Option<Vec<_>>>()?;
    let order = |limits: &&Arc<GrantLimits>| {
        let (rate, share) = (limits.per_minute.unwrap_or(u32::MAX), limits.share_percent.unwrap_or(u32::MAX));
        (rate, share, Reverse(Arc::clone(&limits.grant)))
    };
    limits.into_iter().max_by_key(order).cloned()
}

/// Returns the authorization of a request by the grants that match it, and true if all grants that
/// allow it have a pattern, so that the user has to be read.
///
/// # Errors
/// Returns the reason why it is not allowed. Grants add up, and those that allow it have to agree
/// in role, external id and session tags. If several grants each require something more, the reason
/// is that of the grant which the request comes closest to satisfying.
fn authorize(
    matching: &[&CompiledGrant],
    request: &PasswordResetRequest,
    asked: &Asked<'_>,
) -> (Result<Authorization, WaitReason>, bool) {
    let judged: Vec<_> = matching.iter().map(|grant| (*grant, grant.unmet(request, asked.namespace))).collect();
    let allowing = judged.iter().filter(|(_, unmet)| unmet.is_none()).map(|(grant, _)| *grant);
    let allowing = probable(allowing.collect(), asked);
    let (Some(first), Some(source)) = (allowing.first(), strongest(&allowing)) else {
        let closest = judged.iter().filter_map(|(_, unmet)| *unmet).max();
        return (Err(closest.map_or(WaitReason::NoMatchingGrant, compiled::Unmet::reason)), false);
    };
    let role = first.role();
    if allowing.iter().any(|grant| grant.role() != role) {
        return (Err(WaitReason::ConflictingGrants), false);
    }
    let user_required = allowing.iter().all(|grant| grant.has_pattern());
    let grants = allowing.iter().map(|grant| grant.name()).take(16).collect();
    (Ok(Authorization { role, source, grants, limits: least_limited(&allowing) }), user_required)
}

/// Returns the grants that decide on the role and the call by which a user is read.
///
/// Once the user is known, these are all grants. Before, each pattern may match, also those of two
/// grants that do not agree. Then grants without a pattern decide, or else the grant whose pattern
/// matches the spelling, or else the first one. The grants are asked again about the user who was
/// read.
fn probable<'a>(grants: Vec<&'a CompiledGrant>, asked: &Asked<'_>) -> Vec<&'a CompiledGrant> {
    if *asked.user != KnownUser::NotRead {
        return grants;
    }
    let (with_pattern, without): (Vec<_>, Vec<_>) = grants.into_iter().partition(|grant| grant.has_pattern());
    if !without.is_empty() {
        return without;
    }
    let by_spelling = with_pattern.iter().find(|grant| grant.pattern_matches(asked.spelling));
    let role = by_spelling.or_else(|| with_pattern.first()).map(|grant| grant.role());
    with_pattern.into_iter().filter(|grant| Some(grant.role()) == role).collect()
}

#[cfg(test)]
mod tests;
