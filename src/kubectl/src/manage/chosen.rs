//! The requests of a namespace that a command changes: by name, ticket, pool or label, and never
//! all of them by default.

use std::collections::BTreeSet;

use clap::{ArgGroup, Args};
use futures::{StreamExt as _, stream};
use kube::{Api, ResourceExt as _, api::DynamicObject};

use crate::{
    cluster::Cluster,
    failure::Failure,
    manage::ABREAST,
    request::Request,
    selection::{self, Filter, Listed, Selection},
    terminal::{remark, shown},
};

/// The flags that choose requests. One of them is required.
#[derive(Args, Clone, Debug, Default)]
#[command(group = ArgGroup::new("chosen").required(true).multiple(true).args(["names", "selector", "pool", "ticket", "all"]))]
pub struct Chosen {
    /// The names of the requests
    #[arg(value_name = "NAME", value_parser = selection::name, conflicts_with_all = ["selector", "pool", "ticket", "all"])]
    pub names: Vec<String>,
    /// The filter.
    #[command(flatten)]
    pub filter: Filter,
    /// Every request of the namespace
    #[arg(long, conflicts_with_all = ["selector", "pool", "ticket"])]
    pub all: bool,
}

/// A chosen request.
#[derive(Clone, Debug)]
pub struct Found {
    /// The object.
    pub object: DynamicObject,
    /// The request, as far as the plugin needs it.
    pub request: Request,
}

/// The chosen requests.
#[derive(Clone, Debug)]
pub struct Selected<T> {
    /// The part that was kept of each.
    pub items: Vec<T>,
    /// The names of those that this plugin cannot parse.
    pub unreadable: Vec<String>,
    /// The names that no request has.
    pub missing: Vec<String>,
}

impl<T> Selected<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new(), missing: Vec::new() }
    }

    fn add(&mut self, listed: Listed, keep: &mut impl FnMut(Found) -> T) {
        let Listed { object, request } = listed;
        match request {
            Some(request) => self.items.push(keep(Found { object, request })),
            None => self.unreadable.push(object.name_any()),
        }
    }

    /// Returns the number of names for which nothing can be done.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.unreadable.len() + self.missing.len()
    }

    /// Prints the names for which nothing can be done. `nothing` says so of a request.
    pub fn report(&self, cluster: &Cluster, nothing: &str) {
        for name in &self.unreadable {
            remark!("{}: this plugin cannot parse it, so {nothing}: update the plugin", shown(name));
        }
        for name in &self.missing {
            remark!("{}: there is no such request in namespace {}", shown(name), cluster.namespace);
        }
    }
}

impl Chosen {
    /// Reads the chosen requests of the command's namespace, and keeps of each what `keep` returns.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn read<T>(&self, cluster: &Cluster, mut keep: impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        if self.names.is_empty() { self.list(cluster, &mut keep).await } else { self.named(cluster, &mut keep).await }
    }

    /// Returns an error if nothing was chosen.
    ///
    /// # Errors
    /// When there is none: a ticket with a typing error must not look like a success.
    pub fn require<T>(&self, selected: &Selected<T>, cluster: &Cluster) -> Result<(), Failure> {
        if selected.items.is_empty() && selected.unreadable.is_empty() {
            let (namespace, words) = (&cluster.namespace, self.words());
            return Err(Failure::refused(format!(
                "there is no request{words} in namespace {namespace}; nothing was changed: check -n and the selection"
            )));
        }
        Ok(())
    }

    /// Returns the choice in words that follow "no request".
    fn words(&self) -> String {
        if self.all {
            return String::new();
        }
        let names: Vec<_> = self.names.iter().map(|name| shown(name)).collect();
        if names.is_empty() {
            format!(" of {}", self.filter.words().join(", "))
        } else {
            format!(" {}", names.join(", "))
        }
    }

    async fn list<T>(&self, cluster: &Cluster, keep: &mut impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        let selection = Selection { filter: self.filter.clone(), all_namespaces: false };
        let (mut pages, mut selected) = (selection.pages(cluster, None), Selected::new());
        while let Some(page) = pages.next().await? {
            page.into_iter().for_each(|listed| selected.add(listed, keep));
        }
        Ok(selected)
    }

    async fn named<T>(&self, cluster: &Cluster, keep: &mut impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        let api = api(cluster);
        let names: BTreeSet<&String> = self.names.iter().collect();
        let mut reads = stream::iter(names.into_iter().map(|name| read(&api, name))).buffered(ABREAST);
        let mut selected = Selected::new();
        while let Some((name, object)) = reads.next().await {
            match object? {
                Some(object) => selected.add(object.into(), keep),
                None => selected.missing.push(name.to_owned()),
            }
        }
        Ok(selected)
    }
}

/// Returns the requests of the command's namespace in any shape.
#[must_use]
pub fn api(cluster: &Cluster) -> Api<DynamicObject> {
    selection::api(cluster, false)
}

async fn read<'a>(api: &Api<DynamicObject>, name: &'a str) -> (&'a str, Result<Option<DynamicObject>, Failure>) {
    let object = api.get_opt(name).await;
    (name, object.map_err(|error| Failure::of_api(&error, &format!("read the request {name}"))))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        chosen: Chosen,
    }

    #[test]
    fn names_a_filter_or_all_are_required() {
        let valid = |arguments: &[&str]| Command::try_parse_from([&["it"], arguments].concat()).is_ok();
        for (arguments, wanted) in [
            (&["a", "b"][..], true),
            (&["--ticket", "T"], true),
            (&["-l", "a=b"], true),
            (&["--ticket", "T", "-l", "a=b", "--pool", "p_1"], true),
            (&["--all"], true),
            (&[], false),
            (&["a", "--all"], false),
            (&["a", "--ticket", "T"], false),
            (&["--all", "--pool", "p_1"], false),
        ] {
            assert_eq!(valid(arguments), wanted, "{arguments:?}");
        }
    }

    #[test]
    fn a_choice_without_requests_is_named() {
        for (arguments, wanted) in [
            (&["nosuch"][..], " nosuch"),
            (&["a", "b"], " a, b"),
            (&["--ticket", "inc-8", "--pool", "p_1"], " of pool p_1, ticket inc-8"),
            (&["--all"], ""),
        ] {
            let command = Command::try_parse_from([&["it"], arguments].concat()).expect("a choice");
            assert_eq!(command.chosen.words(), wanted, "{arguments:?}");
        }
    }
}
