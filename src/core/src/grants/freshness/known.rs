//! Compares what the watch of a kind of objects has delivered with lists of that kind.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Moment;

/// The number of times that a list replaces the index, without an event from the watch, before the
/// watch is started again.
const MOST_REPLACEMENTS: u32 = 2;

/// The version of the spec of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    uid: String,
    generation: i64,
}

impl Version {
    /// Returns the version of the object with this metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self { uid: metadata.uid.clone().unwrap_or_default(), generation: metadata.generation.unwrap_or_default() }
    }

    /// Returns true if this is a newer version of the same object.
    fn is_newer(&self, than: &Self) -> bool {
        self.uid == than.uid && self.generation > than.generation
    }
}

/// The versions of all objects of a kind, by name.
pub type Versions = BTreeMap<String, Version>;

/// The state of the index for one kind.
#[derive(Debug, Default)]
pub(super) struct Known {
    versions: Versions,
    /// The time before the last list that was equal to the index; `None` if there was none since a
    /// change that may be out of date.
    confirmed: Option<Moment>,
    /// The time before the last list that was equal to the index, regardless of changes since.
    last_confirmed: Option<Moment>,
    /// The names that the watch has delivered since the last full list was sent, and the version
    /// that each had before.
    delivered: BTreeMap<String, Option<Version>>,
    /// The uids that the watch has removed since the last full list was sent.
    removed: BTreeSet<String>,
    /// The number of replacements since the last event of the watch.
    replacements: u32,
}

/// The effect of a full list on the index.
pub(super) struct Merge {
    /// The names of the objects to put into the index.
    pub(super) put: BTreeSet<String>,
    /// The names of all objects that stay in the index.
    pub(super) retain: BTreeSet<String>,
    pub(super) watch_is_behind: bool,
}

impl Known {
    /// Takes in an object from the watch. Returns false if it is out of date.
    pub(super) fn delivered(&mut self, name: &str, version: &Version) -> bool {
        self.replacements = 0;
        let known = self.versions.get(name);
        match known {
            Some(known) if known.uid == version.uid => {
                if version.generation < known.generation {
                    return false;
                }
            }
            // A late event may show an object that is deleted by now, or one of two that had this
            // name.
            Some(_) | None => self.confirmed = None,
        }
        self.delivered.entry(name.to_owned()).or_insert_with(|| known.cloned());
        self.versions.insert(name.to_owned(), version.clone());
        true
    }

    /// Takes in a deletion from the watch. Returns false if it is that of an earlier object.
    pub(super) fn deleted(&mut self, name: &str, uid: &str) -> bool {
        self.replacements = 0;
        self.removed.insert(uid.to_owned());
        if self.versions.get(name).is_none_or(|known| known.uid != uid) {
            return false;
        }
        self.versions.remove(name);
        true
    }

    /// Takes in the names of all objects as the watch listed them.
    pub(super) fn relisted(&mut self, names: &BTreeSet<String>) {
        let before = self.versions.len();
        self.versions.retain(|name, _| names.contains(name));
        if self.versions.len() != before {
            // The list may be older than one by which the index was confirmed.
            self.confirmed = None;
        }
    }

    /// Returns the time before the last list that was equal to the index.
    pub(super) const fn confirmed(&self) -> Option<Moment> {
        self.confirmed
    }

    /// Returns the time before the last list that was equal to the index, regardless of changes
    /// since.
    pub(super) const fn last_confirmed(&self) -> Option<Moment> {
        self.last_confirmed
    }

    fn confirm(&mut self, sent: Moment) {
        self.confirmed = self.confirmed.max(Some(sent));
        self.last_confirmed = self.last_confirmed.max(Some(sent));
    }

    /// Records that a full list is about to be sent.
    pub(super) fn list_sent(&mut self) {
        self.delivered.clear();
        self.removed.clear();
    }

    /// Compares a list with the index. Returns true if they are equal.
    pub(super) fn compare(&mut self, listed: &Versions, sent: Moment) -> bool {
        let is_equal = self.versions == *listed;
        if is_equal {
            self.confirm(sent);
            self.list_sent();
        }
        is_equal
    }

    /// Replaces what is known by a full list, except for what the watch has delivered since it was
    /// sent. The result is confirmed, unless either may be out of date.
    pub(super) fn merge(&mut self, listed: &Versions, sent: Moment) -> Merge {
        let (delivered, removed) = (std::mem::take(&mut self.delivered), std::mem::take(&mut self.removed));
        let mut is_certain = true;
        let mut put = BTreeSet::new();
        let mut versions = Versions::new();
        for (name, version) in listed.iter().filter(|(_, version)| !removed.contains(&version.uid)) {
            let known = self.versions.get(name);
            let before = delivered.get(name).map_or(known, Option::as_ref);
            // A list contains what the watch delivered before it was sent, or it is not consistent.
            is_certain &= before.is_none_or(|before| !before.is_newer(version));
            let is_current = |known: &&Version| *known == version || delivered.contains_key(name);
            let kept = known.filter(is_current).filter(|known| !version.is_newer(known));
            if kept.is_none() {
                put.insert(name.clone());
            }
            versions.insert(name.clone(), kept.unwrap_or(version).clone());
        }
        for (name, version) in self.versions.iter().filter(|(name, _)| delivered.contains_key(*name)) {
            // An object that the list lacks or has with another uid may be newer or older.
            is_certain &= listed.get(name).is_some_and(|listed| listed.uid == version.uid);
            versions.entry(name.clone()).or_insert_with(|| version.clone());
        }
        let is_changed = versions != self.versions;
        self.versions = versions;
        if is_certain {
            self.confirm(sent);
        } else {
            self.confirmed = None;
        }
        self.replacements += u32::from(is_changed);
        let watch_is_behind = self.replacements >= MOST_REPLACEMENTS;
        if watch_is_behind {
            self.replacements = 0;
        }
        Merge { put, retain: self.versions.keys().cloned().collect(), watch_is_behind }
    }
}
