//! The requests that a command watches, and the command that watches them again.

use std::collections::BTreeSet;

use kube::{api::DynamicObject, runtime::watcher::Config};

use crate::{cluster::Cluster, pages::PAGE, request::Id, selection::Selection, shell::quoted};

/// The number of names of a command that is shown to the user.
const NAMES_SHOWN: usize = 5;

/// The requests to watch. Each part narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// The names; any if there are none.
    pub names: BTreeSet<String>,
    /// The further selection.
    pub selection: Selection,
}

impl Watched {
    /// Returns true if an object of the watch is selected. The API server has compared its labels
    /// and its pool.
    #[must_use]
    pub fn takes(&self, object: &DynamicObject) -> bool {
        let is_named = |name: &String| self.names.contains(name);
        (self.names.is_empty() || object.metadata.name.as_ref().is_some_and(is_named))
            && self.selection.filter.takes(object)
    }

    /// Returns the watch, narrowed as far as the API server can.
    #[must_use]
    pub fn config(&self) -> Config {
        let filter = &self.selection.filter;
        let mut fields = filter.fields();
        if let Some(name) = self.names.first().filter(|_| self.names.len() == 1) {
            fields.push(format!("metadata.name={name}"));
        }
        let mut config = Config::default().page_size(PAGE);
        config.label_selector.clone_from(&filter.selector);
        config.field_selector = (!fields.is_empty()).then(|| fields.join(","));
        config
    }

    /// Returns the requests that are selected by name.
    #[must_use]
    pub fn ids(&self, cluster: &Cluster) -> Vec<Id> {
        let id = |name: &String| Id { namespace: cluster.namespace.clone(), name: name.clone() };
        self.names.iter().map(id).collect()
    }

    /// Returns a command for the same requests, such as `watch`, if it is short enough to be typed.
    #[must_use]
    pub fn command(&self, verb: &str, flags: &str) -> Option<String> {
        if self.names.len() > NAMES_SHOWN {
            return None;
        }
        let mut words = vec![format!("kubectl cognito-reset {verb}")];
        words.extend(self.names.iter().map(|name| quoted(name)));
        words.extend(self.selection.filter.flags());
        words.extend(self.selection.all_namespaces.then(|| "-A".to_owned()));
        words.push(flags.to_owned());
        Some(words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::selection::Filter;

    fn watched(names: &[&str], ticket: Option<&str>) -> Watched {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let filter = Filter { ticket: ticket.map(str::to_owned), ..Filter::default() };
        Watched { names, selection: Selection { filter, ..Selection::default() } }
    }

    #[test]
    fn the_command_watches_the_same_requests() {
        let flags = "--context dev -n support";
        let of_labels = Filter { selector: Some("team in (a,b)".into()), ..Filter::default() };
        let everywhere = Selection { filter: of_labels, all_namespaces: true };
        for (watched, wanted) in [
            (Watched::default(), Some("kubectl cognito-reset watch --context dev -n support")),
            (watched(&["a", "b"], None), Some("kubectl cognito-reset watch a b --context dev -n support")),
            (
                watched(&["a"], Some("INC-7")),
                Some("kubectl cognito-reset watch a --ticket INC-7 --context dev -n support"),
            ),
            (watched(&["1", "2", "3", "4", "5", "6"], None), None),
            (
                Watched { selection: everywhere, ..Watched::default() },
                Some("kubectl cognito-reset watch -l 'team in (a,b)' -A --context dev -n support"),
            ),
        ] {
            assert_eq!(watched.command("watch", flags).as_deref(), wanted);
        }
    }

    #[test]
    fn names_and_ticket_select_together() {
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "one", "namespace": "support"}, "spec": {"ticket": "INC-7"}
        }))
        .unwrap();
        for (names, ticket, wanted) in [
            (&[][..], None, true),
            (&["one"], Some("INC-7"), true),
            (&["two"], Some("INC-7"), false),
            (&["one"], Some("inc-7"), true),
            (&["one"], Some("INC-70"), false),
        ] {
            assert_eq!(watched(names, ticket).takes(&object), wanted, "{names:?} {ticket:?}");
        }
    }
}
