//! Compiles a hold for matching, and computes its status. Pure.

use std::collections::{BTreeMap, BTreeSet};

use cognito_reset_api::{
    UserPoolHold, UserPoolHoldStatus, UserStateSource,
    conditions::{ConditionType, HoldReason, Truth, conditions},
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    action::user_names::{KnownUser, UserNames},
    escape::escaped,
    grants::{Asked, Namespace},
    watched_namespaces::WatchedNamespaces,
};

/// A hold as it is applied. Each part only narrows it: `None` means all.
#[derive(Clone, Debug)]
pub(super) struct CompiledHold {
    /// The hold, as it was last seen.
    pub(super) object: Seen,
    user_pool_id: Option<String>,
    namespaces: Option<BTreeSet<String>>,
    /// In lower case: pools may ignore case, and a hold that holds too much is the safe mistake.
    usernames: Option<BTreeSet<String>>,
}

/// A hold as it was last seen.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// The hold.
    Parsed(Box<UserPoolHold>),
    /// A hold that cannot be parsed: its uid, and the number of requests that its status shows.
    Unreadable { uid: Option<String>, shown: Option<i64> },
}

/// A hold that cannot be parsed.
#[derive(Clone, Debug, Default)]
pub struct UnreadableHold {
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: Option<String>,
    /// The spec in any shape.
    pub spec: Value,
    /// The number of requests that its status shows.
    pub held_requests: Option<i64>,
}

/// The number of requests that a hold holds which cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCount {
    /// The name of the hold.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
    /// The number of requests.
    pub held_requests: i64,
}

/// The relation of a hold to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The hold does not hold the request.
    Not,
    /// The hold holds the request.
    Holds,
    /// The hold names users, and the user of the request cannot be read to compare them.
    UserUnreadable,
    /// The hold names users, and the grants let nobody read the user of the request.
    UserNotRead,
}

/// The hold that a request shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldBy {
    /// The name of the hold.
    pub hold: String,
    /// The cause.
    pub cause: HoldCause,
    /// The number of other holds that hold the request.
    pub others: usize,
}

/// The cause for which a hold holds a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HoldCause {
    /// The hold matches the request, for the reason that its author wrote.
    Matches(String),
    /// The hold cannot be parsed. It holds what could be read of it, or else everything.
    HoldUnreadable,
    /// The hold names users, and the user of the request cannot be read.
    UserUnreadable,
    /// The hold names users, and the grants let nobody read the user of the request.
    UserNotRead,
}

impl CompiledHold {
    pub(super) fn new(hold: UserPoolHold) -> Self {
        let spec = &hold.spec;
        let lower = |names: &Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
        Self {
            user_pool_id: spec.user_pool_id.as_deref().and_then(pool),
            namespaces: spec.namespaces.as_deref().and_then(|names| namespaces(names.iter().map(String::as_str))),
            usernames: spec.usernames.as_ref().filter(|names| !names.is_empty()).map(lower),
            object: Seen::Parsed(Box::new(hold)),
        }
    }

    /// Compiles a hold that cannot be parsed, from its spec in any shape. It is bounded by the pool
    /// and the namespaces if these can be read, and by nothing else.
    pub(super) fn unreadable(UnreadableHold { spec, uid, held_requests, .. }: UnreadableHold) -> Self {
        let names = spec.get("namespaces").and_then(Value::as_array);
        Self {
            object: Seen::Unreadable { uid, shown: held_requests },
            user_pool_id: spec.get("userPoolID").and_then(Value::as_str).and_then(pool),
            namespaces: names.and_then(|names| namespaces(names.iter().map(|name| name.as_str().unwrap_or_default()))),
            usernames: None,
        }
    }

    /// Returns true if the request is in the pool and the namespaces of the hold.
    pub(super) fn reaches(&self, asked: &Asked<'_>) -> bool {
        let in_pool = self.user_pool_id.as_ref().is_none_or(|held| held == asked.pool);
        in_pool && self.namespaces.as_ref().is_none_or(|names| names.contains(asked.namespace))
    }

    /// Compares the hold with a request whose user is read by this source.
    pub(super) fn matches(&self, asked: &Asked<'_>, source: UserStateSource) -> Match {
        match &self.usernames {
            _ if !self.reaches(asked) => Match::Not,
            None => Match::Holds,
            Some(held) => matches_user(held, asked.spelling, asked.user, source),
        }
    }

    pub(super) const fn names_users(&self) -> bool {
        self.usernames.is_some()
    }

    pub(super) fn cause(&self, matched: Match) -> HoldCause {
        match (&self.object, matched) {
            (Seen::Unreadable { .. }, _) => HoldCause::HoldUnreadable,
            (Seen::Parsed(_), Match::UserUnreadable) => HoldCause::UserUnreadable,
            (Seen::Parsed(_), Match::UserNotRead) => HoldCause::UserNotRead,
            (Seen::Parsed(hold), Match::Holds | Match::Not) => {
                HoldCause::Matches(escaped(&hold.spec.reason, |_| false).into_owned())
            }
        }
    }

    /// Returns the hold, unless it cannot be parsed.
    pub(super) fn parsed(&self) -> Option<&UserPoolHold> {
        match &self.object {
            Seen::Parsed(hold) => Some(hold),
            Seen::Unreadable { .. } => None,
        }
    }

    /// Returns true if the hold can hold a request of a watched namespace.
    pub(super) fn reaches_watched(&self, watched: &WatchedNamespaces) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| watched.contains(name)))
    }

    /// Returns the status of a hold that holds so many requests; `None` leaves the number to the
    /// operators that watch the namespaces of the hold.
    pub(super) fn status(
        &self,
        hold: &UserPoolHold,
        held: Option<usize>,
        namespaces: &BTreeMap<String, Namespace>,
        now: Timestamp,
    ) -> UserPoolHoldStatus {
        let some_exist =
            self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| namespaces.contains_key(name)));
        let (truth, reason, message) = if some_exist {
            (Truth::True, HoldReason::InForce, "the hold is in force; delete it to release the held requests")
        } else {
            (
                Truth::False,
                HoldReason::NoNamespaceMatches,
                "none of the hold's namespaces exists yet; the hold applies as soon as one is created",
            )
        };
        let before = hold.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let generation = hold.metadata.generation;
        UserPoolHoldStatus {
            observed_generation: generation,
            held_requests: match held {
                Some(held) => Some(i64::try_from(held).unwrap_or(i64::MAX)),
                None => hold.status.as_ref().and_then(|status| status.held_requests),
            },
            conditions: conditions(before, &[(ConditionType::Ready, truth)], reason, message, generation, now),
        }
    }

    /// Returns true if neither of the two can be parsed, and both hold the same requests.
    pub(super) fn holds_like(&self, other: &Self) -> bool {
        self.parsed().is_none()
            && other.parsed().is_none()
            && (&self.user_pool_id, &self.namespaces) == (&other.user_pool_id, &other.namespaces)
    }

    /// Returns true if this is the same object with the same spec, so that only its status differs.
    pub(super) fn is_same(&self, hold: &UserPoolHold) -> bool {
        self.parsed().is_some_and(|known| known.spec == hold.spec && known.uid() == hold.uid())
    }
}

fn matches_user(held: &BTreeSet<String>, spelling: &str, user: &KnownUser, source: UserStateSource) -> Match {
    let is_held = |name: &str| held.contains(&name.to_lowercase());
    match (user, source) {
        _ if is_held(spelling) => Match::Holds,
        // A user who was read for another grant may have other names by now.
        (_, UserStateSource::None) => Match::UserNotRead,
        (KnownUser::Read(names), _) if names.all().any(is_held) => Match::Holds,
        (KnownUser::Unreadable, _) => Match::UserUnreadable,
        // The user is read before every claim, and the hold is compared again.
        (KnownUser::NotRead | KnownUser::Read(UserNames { .. }), _) => Match::Not,
    }
}

/// Returns the id of a pool, or `None` for a text that no pool can have as its id, which the CRD
/// rejects: it would hold nothing.
fn pool(id: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let named = id.rsplit_once('_').is_some_and(|(region, own)| !region.is_empty() && !own.is_empty());
    (named && id.bytes().all(fits)).then(|| id.to_owned())
}

/// Returns the names of namespaces, or `None` for a list with a name that no namespace can have, or
/// an empty one.
fn namespaces<'a>(names: impl Iterator<Item = &'a str>) -> Option<BTreeSet<String>> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name = |name: &str| (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_owned());
    names.map(name).collect::<Option<BTreeSet<_>>>().filter(|names| !names.is_empty())
}
