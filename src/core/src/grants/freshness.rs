//! Decides for how long grants, holds and namespaces are known to be current.
//!
//! A watch alone cannot show that: one that is frozen, refused or cut looks like one without
//! changes. So the operator also lists grants and holds again and again, with consistent reads, and
//! compares names, uids and generations with the index. If they are equal, the index contains every
//! change that was complete when the list was sent: it is *confirmed* as of that moment. Where the
//! labels or the uid of a namespace decide, the namespace is read in the same way.
//!
//! An event of a watch may be late. One that is certainly out of date changes nothing. One that may
//! be out of date is applied, and the index counts as not confirmed until the next comparison.

mod known;
mod moment;
mod namespaces;

use std::{collections::BTreeSet, time::Duration};

use cognito_reset_api::{PasswordResetRequest, UserStateSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use self::{known::Known, namespaces::NamespaceReads};
pub use self::{
    known::{Version, Versions},
    moment::Moment,
};
use crate::{
    action::user_names::KnownUser,
    grants::{Asked, Evaluation, GrantIndex, Namespace},
    watched_namespaces::WatchedNamespaces,
};

/// A kind of objects whose current state is confirmed by lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// `UserPoolGrant`.
    Grant,
    /// `UserPoolHold`.
    Hold,
}

/// An object of a full list.
#[derive(Clone, Debug)]
pub struct ListedObject<T> {
    /// The name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The object.
    pub object: T,
}

/// The result of replacing the objects of a kind by those of a full list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// True if this may change which requests are allowed.
    pub changed: bool,
    /// True if the watch has missed several changes, and has to be started again.
    pub watch_is_behind: bool,
}

/// The confirmations of the index.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// The time for which a confirmation is valid.
    limit: Duration,
    grants: Known,
    holds: Known,
    namespaces: NamespaceReads,
}

impl Freshness {
    fn of(&mut self, kind: ListedKind) -> &mut Known {
        match kind {
            ListedKind::Grant => &mut self.grants,
            ListedKind::Hold => &mut self.holds,
        }
    }

    fn is_valid(&self, confirmed: Option<Moment>, now: Moment) -> bool {
        confirmed.is_some_and(|confirmed| now.since(confirmed) <= self.limit)
    }

    /// Returns a namespace as it was read.
    pub(super) fn namespace(&self, name: &str) -> Option<Option<&Namespace>> {
        self.namespaces.namespace(name)
    }

    /// Forgets the read of a namespace that the watch shows in another state, or as deleted.
    pub(super) fn namespace_delivered(&mut self, name: &str, namespace: Option<&Namespace>) {
        self.namespaces.delivered(name, namespace);
    }
}

impl GrantIndex {
    /// Returns an index without objects, in which a confirmation is valid for this time.
    #[must_use]
    pub fn new(fresh_for: Duration) -> Self {
        Self { freshness: Freshness { limit: fresh_for, ..Freshness::default() }, ..Self::default() }
    }

    /// Sets the source of the user's state by grants without one of their own. Grants that are
    /// added before keep the earlier one.
    #[must_use]
    pub fn with_default_source(self, default_source: UserStateSource) -> Self {
        Self { default_source, ..self }
    }

    /// Sets the namespaces whose pending requests are put into the index.
    #[must_use]
    pub fn with_watched_namespaces(self, watched: WatchedNamespaces) -> Self {
        Self { watched, ..self }
    }

    /// Applies an object from the watch, unless it is out of date. Returns the result of `apply`.
    pub fn deliver(&mut self, kind: ListedKind, metadata: &ObjectMeta, apply: impl FnOnce(&mut Self) -> bool) -> bool {
        let name = metadata.name.as_deref().unwrap_or_default();
        self.freshness.of(kind).delivered(name, &Version::of(metadata)) && apply(self)
    }

    /// Applies a deletion from the watch, unless it is that of an earlier object of the name.
    /// Returns the result of `apply`.
    pub fn deliver_deletion(
        &mut self,
        kind: ListedKind,
        metadata: &ObjectMeta,
        apply: impl FnOnce(&mut Self) -> bool,
    ) -> bool {
        let (name, uid) = (metadata.name.as_deref().unwrap_or_default(), metadata.uid.as_deref().unwrap_or_default());
        self.freshness.of(kind).deleted(name, uid) && apply(self)
    }

    /// Applies the names of all objects as the watch has listed them. Returns the result of
    /// `apply`.
    pub fn deliver_list(
        &mut self,
        kind: ListedKind,
        names: &BTreeSet<String>,
        apply: impl FnOnce(&mut Self) -> bool,
    ) -> bool {
        self.freshness.of(kind).relisted(names);
        apply(self)
    }

    /// Compares a list with the index. Returns true if they are equal, and confirms the index as of
    /// the moment when the list was sent.
    pub fn compare(&mut self, kind: ListedKind, listed: &Versions, sent: Moment) -> bool {
        self.freshness.of(kind).compare(listed, sent)
    }

    /// Records that a full list is about to be sent: what the watch delivers from now on may be
    /// newer.
    pub fn list_sent(&mut self, kind: ListedKind) {
        self.freshness.of(kind).list_sent();
    }

    /// Replaces the objects of a kind by a full list, except for what the watch has delivered since
    /// the list was sent. `put` adds an object, and `retain` removes all objects but those named.
    pub fn replace<T>(
        &mut self,
        kind: ListedKind,
        objects: Vec<ListedObject<T>>,
        sent: Moment,
        mut put: impl FnMut(&mut Self, T) -> bool,
        retain: impl FnOnce(&mut Self, &BTreeSet<String>) -> bool,
    ) -> Replaced {
        let listed = objects.iter().map(|it| (it.name.clone(), it.version.clone())).collect();
        let merge = self.freshness.of(kind).merge(&listed, sent);
        let mut changed = false;
        for ListedObject { name, object, .. } in objects {
            changed |= merge.put.contains(&name) && put(self, object);
        }
        changed |= retain(self, &merge.retain);
        Replaced { changed, watch_is_behind: merge.watch_is_behind }
    }

    /// Records that a read of a namespace is about to be sent.
    pub fn namespace_read_sent(&mut self, name: &str) {
        self.freshness.namespaces.sent(name);
    }

    /// Takes in a namespace that was read, or `None` if it does not exist. It replaces that of the
    /// watch until the watch shows another state. A state that the watch has shown since the read
    /// was sent is kept, and then the namespace has to be read again.
    pub fn confirm_namespace(&mut self, name: &str, namespace: Option<Namespace>, sent: Moment) {
        let Freshness { limit, namespaces, .. } = &mut self.freshness;
        namespaces.retain(|earlier| sent.since(earlier) <= *limit);
        namespaces.returned(name, namespace, self.namespaces.get(name), sent);
    }

    /// Records that a read of a namespace failed. It is not repeated at once.
    pub fn namespace_read_failed(&mut self, name: &str, sent: Moment) {
        let Freshness { limit, namespaces, .. } = &mut self.freshness;
        namespaces.retain(|earlier| sent.since(earlier) <= *limit);
        namespaces.ended_without_response(name, sent);
    }

    /// Returns the time for which a confirmation is valid.
    #[must_use]
    pub const fn fresh_for(&self) -> Duration {
        self.freshness.limit
    }

    /// Returns the age of the older one of the last confirmations of grants and of holds; `None` if
    /// there was none. A later event that has to be compared first makes no difference.
    #[must_use]
    pub fn confirmation_age(&self, now: Moment) -> Option<Duration> {
        let Freshness { grants, holds, .. } = &self.freshness;
        Some(now.since(grants.last_confirmed()?).max(now.since(holds.last_confirmed()?)))
    }

    /// Returns true if the last confirmations are recent enough for a call, except for events that
    /// have to be compared first, which takes moments.
    #[must_use]
    pub fn is_confirming(&self, now: Moment) -> bool {
        self.confirmation_age(now).is_some_and(|age| age <= self.freshness.limit)
    }

    /// Returns true if grants and holds were confirmed recently enough for a call.
    #[must_use]
    pub fn is_confirmed(&self, now: Moment) -> bool {
        let Freshness { grants, holds, .. } = &self.freshness;
        [grants, holds].iter().all(|known| self.freshness.is_valid(known.confirmed(), now))
    }

    /// Returns the namespace of a request if its labels or its uid decide about the request, and no
    /// read was sent in the last half of the time for which a confirmation is valid. A read that
    /// failed counts, too, so that its cost does not grow with the number of requests.
    #[must_use]
    pub fn namespace_to_read(&self, request: &PasswordResetRequest, now: Moment) -> Option<String> {
        let namespace = request.namespace().unwrap_or_default();
        let is_recent = |read: Moment| now.since(read) <= self.freshness.limit / 2;
        let reads = &self.freshness.namespaces;
        let is_read = reads.confirmed(&namespace).is_some_and(is_recent);
        let has_failed = reads.failed(&namespace).is_some_and(is_recent);
        (!is_read && !has_failed && self.namespace_decides(request)).then_some(namespace)
    }

    /// Evaluates grants and holds for this request, and whether they are confirmed.
    #[must_use]
    pub fn evaluate_confirmed(&self, request: &PasswordResetRequest, user: &KnownUser, now: Moment) -> Evaluation {
        let namespace = request.namespace().unwrap_or_default();
        let namespace_confirmed = || self.freshness.is_valid(self.freshness.namespaces.confirmed(&namespace), now);
        let confirmed = self.is_confirmed(now) && (!self.namespace_decides(request) || namespace_confirmed());
        Evaluation { confirmed, ..self.evaluate(request, user) }
    }

    /// Returns true if the labels or the uid of the namespace decide whether a grant matches the
    /// request.
    fn namespace_decides(&self, request: &PasswordResetRequest) -> bool {
        let (namespace, spec) = (request.namespace().unwrap_or_default(), &request.spec);
        let user = self.known_user(request, &KnownUser::NotRead);
        let asked = Asked { pool: &spec.user_pool_id, namespace: &namespace, spelling: &spec.username, user };
        self.grants.values().any(|grant| grant.may_select(&asked))
    }
}

#[cfg(test)]
mod tests;
