//! The lists of pending requests that are being read, one for each watch. Pure.

use std::collections::{BTreeMap, HashSet};

use cognito_reset_core::{dispatch::key::Key, watched_namespaces::Scope};

/// A list that is being read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    /// The requests of the list.
    pub(super) listed: HashSet<Key>,
    /// Those that were not known before. The order of a list is another one than that of creation.
    pub(super) new: Vec<Key>,
}

/// The lists that are being read.
#[derive(Debug, Default)]
pub(super) struct Lists(BTreeMap<Scope, List>);

impl Lists {
    /// Begins a list. It may begin again before it is complete; its new requests then are still
    /// new.
    pub(super) fn begin(&mut self, scope: &Scope) {
        self.0.entry(scope.clone()).or_default().listed.clear();
    }

    /// Adds a request to a list that has begun.
    pub(super) fn add(&mut self, scope: &Scope, key: Key) {
        if let Some(list) = self.0.get_mut(scope) {
            list.listed.insert(key);
        }
    }

    /// Notes a request that was not known before. Returns false if no list of its scope is being
    /// read, so that nothing is to be waited for.
    #[must_use]
    pub(super) fn is_waiting(&mut self, scope: &Scope, key: Key) -> bool {
        self.0.get_mut(scope).map(|list| list.new.push(key)).is_some()
    }

    /// Ends a list, and returns it.
    pub(super) fn end(&mut self, scope: &Scope) -> List {
        self.0.remove(scope).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<const N: usize>(uids: [&str; N]) -> Vec<Key> {
        uids.map(Key::of_uid).to_vec()
    }

    #[test]
    fn lists_of_two_namespaces_are_apart() {
        let [one, other] = ["one", "other"].map(|name| Scope::Some(name.into()));
        let (mut lists, [a, b, c]) = (Lists::default(), ["a", "b", "c"].map(Key::of_uid));
        assert!(!lists.is_waiting(&one, a), "no list has begun");
        lists.begin(&one);
        lists.add(&one, a);
        assert!(lists.is_waiting(&one, a));
        assert!(!lists.is_waiting(&other, b), "the list of another namespace");
        lists.begin(&other);
        lists.add(&other, b);
        assert!(lists.is_waiting(&other, b));
        // The first list begins again without its request.
        lists.begin(&one);
        lists.add(&one, c);
        assert!(lists.is_waiting(&one, c));
        let ended = lists.end(&one);
        assert_eq!((ended.listed, ended.new), (HashSet::from([c]), keys(["a", "c"])));
        assert!(!lists.is_waiting(&one, a), "the list is complete");
        let ended = lists.end(&other);
        assert_eq!((ended.listed, ended.new), (HashSet::from([b]), keys(["b"])));
        assert_eq!(lists.end(&other), List::default());
    }
}
