//! The holds of the index: which requests they hold, and their statuses.

use std::{collections::BTreeSet, sync::Arc};

use cognito_reset_api::{PasswordResetRequest, UserPoolHold, UserStateSource};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    action::user_names::KnownUser,
    dispatch::key::Key,
    grants::{
        Asked, GrantIndex, HeldBy, HoldCause, StaleStatus, Watched, authorize,
        compiled::CompiledGrant,
        hold::{CompiledHold, HeldCount, Match, Seen, UnreadableHold},
        source_of, status,
    },
};

/// The consequences of a user who was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// True if the user was not known before, which may change the status of a hold.
    pub is_new: bool,
    /// The requests that may proceed, because a grant with a limit turned out to be for other
    /// users.
    pub moved_up: Vec<Key>,
}

impl GrantIndex {
    /// Adds or updates a hold. Returns true if this may change which requests are held.
    pub fn put_hold(&mut self, hold: UserPoolHold) -> bool {
        let name = hold.name_any();
        match self.holds.get_mut(&name) {
            // Only the status has changed.
            Some(known) if known.is_same(&hold) => {
                known.object = Seen::Parsed(Box::new(hold));
                false
            }
            _ => {
                self.holds.insert(name, CompiledHold::new(hold));
                true
            }
        }
    }

    /// Adds or updates a hold that cannot be parsed, from its spec in any shape.
    ///
    /// It is bounded by the pool and the namespaces if these can be read, and otherwise holds every
    /// request. Returns true if this may change which requests are held.
    pub fn put_unreadable_hold(&mut self, hold: UnreadableHold) -> bool {
        let (name, compiled) = (hold.name.clone(), CompiledHold::unreadable(hold));
        let is_same = self.holds.get(&name).is_some_and(|known| known.holds_like(&compiled));
        self.holds.insert(name, compiled);
        !is_same
    }

    /// Removes a hold. Returns true if it existed.
    pub fn remove_hold(&mut self, name: &str) -> bool {
        let existed = self.holds.remove(name).is_some();
        self.forget_users();
        existed
    }

    /// Removes all holds except these. Returns true if any was removed.
    pub fn retain_holds(&mut self, names: &BTreeSet<String>) -> bool {
        let before = self.holds.len();
        self.holds.retain(|name, _| names.contains(name));
        self.forget_users();
        self.holds.len() != before
    }

    /// Returns true if there is a hold.
    #[must_use]
    pub fn has_holds(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Remembers the user of a pending request, if a hold or a grant asks for users. Later
    /// evaluations then know the user without another read.
    pub fn learn_user(&mut self, key: Key, user: &KnownUser) -> Learned {
        let Some(pending) = self.pending.get(&key).filter(|_| self.asks_for_users()) else { return Learned::default() };
        match user {
            KnownUser::Unreadable | KnownUser::Read(_) if self.users.get(&key) != Some(user) => {
                let requeued = self.grants.values_mut().filter_map(|grant| match user {
                    KnownUser::Read(_) => grant.requeue(pending, user),
                    KnownUser::NotRead | KnownUser::Unreadable => None,
                });
                let moved_up = requeued.collect();
                self.users.insert(key, user.clone());
                Learned { is_new: true, moved_up }
            }
            KnownUser::NotRead | KnownUser::Unreadable | KnownUser::Read(_) => Learned::default(),
        }
    }

    /// Returns the user of a pending request, if that was read.
    pub(super) fn read_user(&self, key: Key) -> &KnownUser {
        self.users.get(&key).filter(|user| matches!(user, KnownUser::Read(_))).unwrap_or(&KnownUser::NotRead)
    }

    /// Returns true if a hold names users, or a grant has a pattern or requires an approval.
    #[must_use]
    pub fn asks_for_users(&self) -> bool {
        self.holds.values().any(CompiledHold::names_users) || self.grants.values().any(CompiledGrant::asks_for_users)
    }

    pub(super) fn forget_users(&mut self) {
        if !self.asks_for_users() {
            self.users.clear();
        }
    }

    /// Returns the user of a request, as it was read now or earlier.
    pub(super) fn known_user<'a>(&'a self, request: &PasswordResetRequest, user: &'a KnownUser) -> &'a KnownUser {
        match (user, self.users.get(&Key::of(request))) {
            // A user who could not be read is read again.
            (KnownUser::NotRead, Some(read @ KnownUser::Read(_))) => read,
            (user, _) => user,
        }
    }

    /// Returns the hold that a request shows whose user is read by this source, if any holds it.
    pub(super) fn held_by(&self, asked: &Asked<'_>, source: UserStateSource) -> Option<HeldBy> {
        let holding: Vec<_> = self.holding(asked, source).collect();
        // A hold that matches is a better reason than one that may.
        let first = holding.iter().find(|(matched, ..)| *matched == Match::Holds).or_else(|| holding.first());
        let held_by = |&(matched, name, hold): &(Match, &String, &CompiledHold)| HeldBy {
            hold: name.clone(),
            cause: hold.cause(matched),
            others: holding.len().saturating_sub(1),
        };
        first.map(held_by)
    }

    /// Returns the names of all holds that hold a request, and the causes.
    #[must_use]
    pub fn all_holding(&self, request: &PasswordResetRequest, user: &KnownUser) -> Vec<(String, HoldCause)> {
        let namespace = request.namespace().unwrap_or_default();
        let asked = self.asked(request, &namespace, user);
        let matching: Vec<_> = self.matching(&asked).collect();
        if matching.is_empty() {
            return Vec::new();
        }
        let source = source_of(&authorize(&matching, request, &asked).0);
        self.holding(&asked, source).map(|(matched, name, hold)| (name.clone(), hold.cause(matched))).collect()
    }

    /// Returns the holds that hold a request whose user is read by this source.
    fn holding(
        &self,
        asked: &Asked<'_>,
        source: UserStateSource,
    ) -> impl Iterator<Item = (Match, &String, &CompiledHold)> {
        let compared = self.holds.iter().map(move |(name, hold)| (hold.matches(asked, source), name, hold));
        compared.filter(|(matched, ..)| *matched != Match::Not)
    }

    /// Returns the number of pending requests that a hold holds; `None` if it can hold none of a
    /// watched namespace.
    fn held(&self, hold: &CompiledHold) -> Option<usize> {
        let is_held = |pending: &&Arc<Watched>| {
            let asked = pending.asked(self.users.get(&pending.key).unwrap_or(&KnownUser::NotRead));
            let is_held = || !hold.names_users() || hold.matches(&asked, self.outlook(pending).source) != Match::Not;
            hold.reaches(&asked) && self.matching(&asked).next().is_some() && is_held()
        };
        hold.reaches_watched(&self.watched).then(|| self.pending.values().filter(is_held).count())
    }

    /// Returns the holds whose status has to change, except for those that cannot be parsed: see
    /// [`GrantIndex::stale_held_counts`].
    #[must_use]
    pub fn stale_hold_statuses(&self, now: Timestamp) -> Vec<StaleStatus<UserPoolHold>> {
        let stale = self.holds.values().filter_map(|compiled| {
            let hold = compiled.parsed()?;
            let wanted = compiled.status(hold, self.held(compiled), &self.namespaces, now);
            let before = hold.status.as_ref();
            let changed = status::changed(before.map(|it| it.conditions.as_slice()), &wanted.conditions);
            let object = UserPoolHold { status: Some(wanted), ..hold.clone() };
            (before != object.status.as_ref()).then_some(StaleStatus { object, changed })
        });
        stale.collect()
    }

    /// Stores a hold's status that was written. The response may be late, so this never adds a
    /// hold.
    pub fn hold_status_written(&mut self, stored: &UserPoolHold) {
        let known = self.holds.get_mut(&stored.name_any()).map(|hold| &mut hold.object);
        if let Some(Seen::Parsed(hold)) = known {
            hold.status.clone_from(&stored.status);
        }
    }

    /// Returns the holds that cannot be parsed and whose status does not show how many requests
    /// they hold. The rest of such a status reports the error, and is written with the report.
    #[must_use]
    pub fn stale_held_counts(&self) -> Vec<HeldCount> {
        let stale = self.holds.iter().filter_map(|(name, hold)| match &hold.object {
            Seen::Parsed(_) => None,
            Seen::Unreadable { uid, shown } => {
                let held_requests = i64::try_from(self.held(hold)?).unwrap_or(i64::MAX);
                let count = HeldCount { name: name.clone(), uid: uid.clone(), held_requests };
                (*shown != Some(held_requests)).then_some(count)
            }
        });
        stale.collect()
    }

    /// Stores a number that was written into the status of a hold that cannot be parsed.
    pub fn held_count_written(&mut self, written: &HeldCount) {
        let known = self.holds.get_mut(&written.name).map(|hold| &mut hold.object);
        if let Some(Seen::Unreadable { uid, shown }) = known
            && *uid == written.uid
        {
            *shown = Some(written.held_requests);
        }
    }
}
