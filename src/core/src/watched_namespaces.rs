//! The namespaces whose requests this operator handles. Pure.

use std::{collections::BTreeSet, sync::Arc};

/// The namespace of a list or watch; `None` for one of the whole cluster.
pub type Scope = Option<Arc<str>>;

/// The namespaces whose requests this operator handles.
///
/// Requests of other namespaces, and the records of such requests, are left to the operators that
/// watch those namespaces: only they know how long a call can be in flight and how long a record is
/// kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchedNamespaces {
    /// All namespaces.
    #[default]
    All,
    /// These namespaces, whether or not they exist.
    These(Arc<BTreeSet<String>>),
}

impl WatchedNamespaces {
    /// Returns true if the requests of this namespace are handled.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(namespace),
        }
    }

    /// Returns the names in order, `None` for all namespaces.
    #[must_use]
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::All => None,
            Self::These(names) => Some(names),
        }
    }

    /// Returns the names separated by commas, as the flag takes them; `None` for all namespaces.
    #[must_use]
    pub fn listed(&self) -> Option<String> {
        self.names().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    }

    /// Returns the scopes of the lists and watches that show all these requests.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        self.names().map_or_else(|| vec![None], |names| names.iter().map(|name| Some(name.as_str().into())).collect())
    }
}

impl<const N: usize> From<[&str; N]> for WatchedNamespaces {
    fn from(names: [&str; N]) -> Self {
        Self::These(Arc::new(names.map(str::to_owned).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_namespaces_are_watched_if_any_are() {
        let two = WatchedNamespaces::from(["support", "shops"]);
        for (namespace, watched) in
            [("support", true), ("shops", true), ("shop", false), ("Support", false), ("", false)]
        {
            assert_eq!(two.contains(namespace), watched, "{namespace}");
            assert!(WatchedNamespaces::All.contains(namespace), "{namespace}");
        }
        assert_eq!(two.scopes(), [Some("shops".into()), Some("support".into())]);
        assert_eq!(WatchedNamespaces::default().scopes(), [None]);
        assert_eq!((two.listed().as_deref(), WatchedNamespaces::All.listed()), (Some("shops,support"), None));
    }
}
