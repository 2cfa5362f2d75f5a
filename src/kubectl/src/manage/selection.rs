//! The requests of a namespace that a command changes: by name, ticket or label, and never all of
//! them by default.

use std::collections::BTreeSet;

use clap::Args;
use futures::{StreamExt as _, stream};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde_json::Value;

use crate::{cluster::Cluster, failure::Failure, manage::ABREAST, request::Request, selection::PAGE, terminal::shown};

/// The flags that select requests. One of them is required.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = false)]
pub struct Selection {
    /// The names of the requests
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The requests of the namespace with exactly this ticket
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
    /// The requests of the namespace with these labels, as in `kubectl get -l`
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Every request of the namespace
    #[arg(long)]
    pub all: bool,
}

/// A selected request.
#[derive(Clone, Debug)]
pub struct Found {
    /// The object.
    pub object: DynamicObject,
    /// The request, as far as the plugin needs it.
    pub request: Request,
}

/// The selected requests.
#[derive(Clone, Debug)]
pub struct Selected<T> {
    /// The part that was kept of each.
    pub items: Vec<T>,
    /// The names of those that this plugin cannot parse.
    pub unreadable: Vec<String>,
}

impl<T> Selected<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new() }
    }

    fn add(&mut self, object: DynamicObject, keep: &mut impl FnMut(Found) -> T) {
        let parsed = serde_json::to_value(&object).and_then(serde_json::from_value);
        match parsed {
            Ok(request) => self.items.push(keep(Found { object, request })),
            Err(_) => self.unreadable.push(object.name_any()),
        }
    }

    /// Prints the names of the requests that cannot be parsed.
    pub fn report_unreadable(&self, nothing: &str) {
        for name in &self.unreadable {
            anstream::eprintln!("{}: this plugin cannot parse it, so {nothing}: update the plugin", shown(name));
        }
    }
}

impl Selection {
    /// Reads the selected requests of the command's namespace, and keeps of each what `keep`
    /// returns.
    ///
    /// # Errors
    /// When a request that is named does not exist, or the API server refuses.
    pub async fn read<T>(&self, cluster: &Cluster, mut keep: impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        if self.names.is_empty() { self.list(cluster, &mut keep).await } else { self.named(cluster, &mut keep).await }
    }

    /// Returns an error if nothing was selected.
    ///
    /// # Errors
    /// When nothing was selected: a ticket with a typing error must not look like a success.
    pub fn require<T>(&self, selected: &Selected<T>, cluster: &Cluster) -> Result<(), Failure> {
        if selected.items.is_empty() && selected.unreadable.is_empty() {
            let (namespace, these) = (&cluster.namespace, self.described());
            return Err(Failure::refused(format!(
                "namespace {namespace} has no request{these}; nothing was changed: check -n and the selection"
            )));
        }
        Ok(())
    }

    /// Returns the selection in words that follow "request".
    fn described(&self) -> String {
        match (&self.ticket, &self.selector) {
            (Some(ticket), _) => format!(" with the ticket {ticket:?}"),
            (_, Some(selector)) => format!(" with the labels {selector:?}"),
            _ => String::new(),
        }
    }

    async fn list<T>(&self, cluster: &Cluster, keep: &mut impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        let (api, what) = (api(cluster), format!("list requests in namespace {}", cluster.namespace));
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector.clone_from(&self.selector);
        let mut selected = Selected::new();
        loop {
            let page = api.list(&params).await.map_err(|error| Failure::of_api(&error, &what))?;
            for object in page.items.into_iter().filter(|object| self.matches(&object.data)) {
                selected.add(object, keep);
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(selected);
            }
        }
    }

    /// Returns true unless a ticket was given and the object has another one.
    fn matches(&self, object: &Value) -> bool {
        let has = object.pointer("/spec/ticket").and_then(Value::as_str);
        self.ticket.as_ref().is_none_or(|ticket| has == Some(ticket))
    }

    async fn named<T>(&self, cluster: &Cluster, keep: &mut impl FnMut(Found) -> T) -> Result<Selected<T>, Failure> {
        let api = api(cluster);
        let names: BTreeSet<&String> = self.names.iter().collect();
        let mut reads = stream::iter(names.into_iter().map(|name| read(&api, name))).buffered(ABREAST);
        let (mut selected, mut missing) = (Selected::new(), Vec::new());
        while let Some((name, object)) = reads.next().await {
            match object? {
                Some(object) => selected.add(object, keep),
                None => missing.push(name),
            }
        }
        if missing.is_empty() {
            return Ok(selected);
        }
        let namespace = &cluster.namespace;
        Err(Failure::refused(format!(
            "namespace {namespace} has no request {}; nothing was changed",
            missing.join(", ")
        )))
    }
}

/// Returns the requests of the command's namespace in any shape.
#[must_use]
pub fn api(cluster: &Cluster) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Request>(&()))
}

async fn read<'a>(api: &Api<DynamicObject>, name: &'a str) -> (&'a str, Result<Option<DynamicObject>, Failure>) {
    let object = api.get_opt(name).await;
    (name, object.map_err(|error| Failure::of_api(&error, &format!("read the request {name}"))))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        selection: Selection,
    }

    #[test]
    fn exactly_one_way_to_select_is_required() {
        let valid = |arguments: &[&str]| Command::try_parse_from([&["it"], arguments].concat()).is_ok();
        for (arguments, wanted) in [
            (&["a", "b"][..], true),
            (&["--ticket", "T"], true),
            (&["-l", "a=b"], true),
            (&["--all"], true),
            (&[], false),
            (&["a", "--all"], false),
            (&["--ticket", "T", "-l", "a=b"], false),
        ] {
            assert_eq!(valid(arguments), wanted, "{arguments:?}");
        }
    }

    #[test]
    fn a_ticket_is_compared_as_a_whole() {
        let parsed = Command::try_parse_from(["it", "--ticket", "INC-1"]).expect("a selection").selection;
        for (object, wanted) in [
            (json!({ "spec": { "ticket": "INC-1" } }), true),
            (json!({ "spec": { "ticket": "INC-12" } }), false),
            (json!({ "spec": { "ticket": "inc-1" } }), false),
            (json!({ "spec": {} }), false),
        ] {
            assert_eq!(parsed.matches(&object), wanted, "{object}");
            assert!(Selection::default().matches(&object));
        }
    }
}
