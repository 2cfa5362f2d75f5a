//! The requests that a command watches, and the command that watches them again.

use std::collections::BTreeSet;

use kube::{Api, runtime::watcher::Config};

use crate::{
    cluster::Cluster,
    request::{Id, Request},
    shell::quoted,
};

/// The number of names of a command that is shown to the user.
const NAMES_SHOWN: usize = 5;

/// The requests to watch. Each part narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The names; any if there are none.
    pub names: BTreeSet<String>,
    /// The selector of labels.
    pub labels: Option<String>,
    /// The ticket of the spec.
    pub ticket: Option<String>,
    /// True for all namespaces.
    pub all_namespaces: bool,
}

impl Selection {
    /// Returns true if a request of the watch is selected. The API server has compared its labels.
    #[must_use]
    pub fn selects(&self, request: &Request) -> bool {
        let of_name = |name: &String| self.names.contains(name);
        (self.names.is_empty() || request.metadata.name.as_ref().is_some_and(of_name))
            && (self.ticket.is_none() || self.ticket == request.spec.ticket)
    }

    /// Returns the requests that the API server watches for this.
    #[must_use]
    pub fn api(&self, cluster: &Cluster) -> Api<Request> {
        if self.all_namespaces { cluster.all_requests() } else { cluster.requests() }
    }

    /// Narrows a watch as far as the API server can.
    #[must_use]
    pub fn narrow(&self, mut config: Config) -> Config {
        config.label_selector.clone_from(&self.labels);
        if let Some(name) = self.names.first().filter(|_| self.names.len() == 1) {
            config = config.fields(&format!("metadata.name={name}"));
        }
        config
    }

    /// Returns the requests that are selected by name.
    #[must_use]
    pub fn ids(&self, namespace: &str) -> Vec<Id> {
        let id = |name: &String| Id { namespace: namespace.to_owned(), name: name.clone() };
        self.names.iter().map(id).collect()
    }

    /// Returns a command for the same requests, such as `watch`, if it is short enough to be typed.
    #[must_use]
    pub fn command(&self, verb: &str, flags: &str) -> Option<String> {
        let mut words = vec![format!("kubectl cognito-reset {verb}")];
        if let Some(ticket) = &self.ticket {
            words.push(format!("--ticket {}", quoted(ticket)));
        } else if self.names.len() > NAMES_SHOWN {
            return None;
        } else {
            words.extend(self.names.iter().map(|name| quoted(name)));
        }
        words.extend(self.labels.as_ref().map(|labels| format!("-l {}", quoted(labels))));
        words.extend(self.all_namespaces.then(|| "-A".to_owned()));
        words.push(flags.to_owned());
        Some(words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str], ticket: Option<&str>) -> Selection {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Selection { names, ticket: ticket.map(str::to_owned), ..Selection::default() }
    }

    #[test]
    fn the_command_watches_the_same_requests() {
        let flags = "--context dev -n support";
        for (selection, wanted) in [
            (Selection::default(), Some("kubectl cognito-reset watch --context dev -n support")),
            (selection(&["a", "b"], None), Some("kubectl cognito-reset watch a b --context dev -n support")),
            (
                selection(&[], Some("INC 7's")),
                Some(r"kubectl cognito-reset watch --ticket 'INC 7'\''s' --context dev -n support"),
            ),
            (selection(&["1", "2", "3", "4", "5", "6"], None), None),
            (
                Selection { labels: Some("team in (a,b)".into()), all_namespaces: true, ..Selection::default() },
                Some("kubectl cognito-reset watch -l 'team in (a,b)' -A --context dev -n support"),
            ),
        ] {
            assert_eq!(selection.command("watch", flags).as_deref(), wanted);
        }
    }

    #[test]
    fn names_and_ticket_select_together() {
        let request: Request = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "one", "namespace": "support"}, "spec": {"ticket": "INC-7"}
        }))
        .unwrap();
        for (names, ticket, wanted) in [
            (&[][..], None, true),
            (&["one"], Some("INC-7"), true),
            (&["two"], Some("INC-7"), false),
            (&["one"], Some("inc-7"), false),
        ] {
            assert_eq!(selection(names, ticket).selects(&request), wanted, "{names:?} {ticket:?}");
        }
    }
}
