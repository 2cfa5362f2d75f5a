//! Searches the cluster for what exists already.

use std::collections::{HashMap, HashSet};

use kube::ResourceExt as _;
use serde_json::Value;

use super::{
    found::Found,
    options::Options,
    plan::{Existing, Wanted, unparsed},
};
use crate::{
    cluster::Cluster,
    failure::Failure,
    ledger,
    pages::{Pages, field},
    request::Spec,
    selection::{self, Listed},
};

/// Finds the requests of the namespace that have a wanted name and, as far as they may be listed,
/// those of all namespaces that have reset a wanted user before.
///
/// # Errors
/// When those of the namespace cannot be listed, or this plugin cannot parse one of a wanted name.
pub(super) async fn find(cluster: &Cluster, options: &Options, wanted: &[Wanted]) -> Result<Found, Failure> {
    let mut search = Search::new(cluster, options, wanted);
    match search.read(true).await? {
        Err(error) if is_forbidden(&error) => {}
        read => return search.found(read, "list requests in all namespaces"),
    }
    search.found = Found { is_partial: true, ..Found::default() };
    let read = search.read(false).await?;
    search.found(read, &format!("list requests in namespace {}", cluster.namespace))
}

/// Adds what the records of the pool say about the names and users of these requests. It reads the
/// whole ledger of the pool, and keeps only that. A ledger that is not read to its end says
/// nothing.
pub(super) async fn add_records(cluster: &Cluster, pool: &str, new: &[Wanted], found: &mut Found) {
    let names: HashMap<_, _> = new.iter().map(|wanted| (&*wanted.username, &*wanted.name)).collect();
    let mut with_records = found.clone();
    let read = ledger::each(cluster, Some(pool), |entry| {
        with_records.add_record(&entry, &cluster.namespace, &names);
        Ok(())
    });
    match read.await {
        Ok(_) => *found = with_records,
        Err(failure) if failure.is_of_permission() => {
            found.records_unknown = Some("you may not list the records, as an auditor may".to_owned());
        }
        Err(failure) => found.records_unknown = Some(failure.message),
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

/// A search for requests of wanted names and users.
struct Search<'a> {
    cluster: &'a Cluster,
    pool: &'a str,
    spec: Spec,
    names: HashSet<&'a str>,
    users: HashSet<&'a str>,
    found: Found,
}

impl<'a> Search<'a> {
    fn new(cluster: &'a Cluster, options: &'a Options, wanted: &'a [Wanted]) -> Self {
        Self {
            cluster,
            pool: &options.pool,
            spec: options.spec(),
            names: wanted.iter().map(|wanted| wanted.name.as_str()).collect(),
            users: wanted.iter().map(|wanted| wanted.username.as_str()).collect(),
            found: Found::default(),
        }
    }

    async fn read(&mut self, all_namespaces: bool) -> Result<kube::Result<()>, Failure> {
        let api = selection::api(self.cluster, all_namespaces);
        let mut pages = Pages::new(api, &[field("spec.userPoolID", self.pool)], None);
        loop {
            match pages.next().await {
                Ok(Some(page)) => page.into_iter().try_for_each(|object| self.add(object.into()))?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn add(&mut self, Listed { object, request }: Listed) -> Result<(), Failure> {
        let name = object.name_any();
        let is_named = object.namespace().as_ref() == Some(&self.cluster.namespace) && self.names.contains(&*name);
        let username = object.data.pointer("/spec/username").and_then(Value::as_str).unwrap_or_default();
        let is_wanted = self.users.contains(username);
        match request {
            Some(request) if is_named => {
                self.found.by_name.insert(name, Existing::new(&request, &self.spec));
            }
            None if is_named => return Err(unparsed(&name)),
            Some(request) if is_wanted => self.found.earlier.add(&request),
            None if is_wanted => self.found.earlier.add_unparsed(username),
            _ => {}
        }
        Ok(())
    }

    fn found(self, read: kube::Result<()>, what: &str) -> Result<Found, Failure> {
        read.map(|()| self.found).map_err(|error| Failure::of_api(&error, what))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::tests::{attempt, responding, stored};

    #[tokio::test]
    async fn records_that_are_not_read_to_their_end_say_nothing() {
        let wanted = [Wanted { name: "inc-7-alice".into(), username: "alice".into() }];
        for (failure, cause) in [
            (None, None),
            (Some((410, "the list is too old")), Some("run the same command again")),
            (Some((403, "records is forbidden: User \"rita\" cannot list")), Some("as an auditor may")),
        ] {
            let cluster = responding(move |url| {
                let page = |next: &str, name: &str| {
                    let fields = json!({"request": {"namespace": "support", "name": name}, "effect": "Performed",
                        "attempts": [attempt("a", json!({}))]});
                    (200, json!({"metadata": {"continue": next}, "items": [stored(name, fields)]}))
                };
                match failure {
                    _ if !url.contains("continue=next") => page("next", "inc-7-alice"),
                    None => page("", "inc-6-alice"),
                    Some((code, message)) => (code, json!({"status": "Failure", "code": code, "message": message})),
                }
            });
            let cluster = Cluster { namespace: "support".into(), ..cluster };
            let mut found = Found::default();
            add_records(&cluster, "eu-west-1_Example01", &wanted, &mut found).await;
            let (remark, reset) = (found.ended(&wanted), found.earlier.resets(&wanted, false));
            assert_eq!((remark.is_some(), reset.is_some()), (cause.is_none(), cause.is_none()), "{found:?}");
            let unknown = found.records_unknown.unwrap_or_default();
            assert!(unknown.contains(cause.unwrap_or_default()) && unknown.is_empty() == cause.is_none(), "{unknown}");
        }
    }
}
