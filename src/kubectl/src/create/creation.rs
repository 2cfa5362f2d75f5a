//! Finds what exists, and creates the rest.

use std::collections::{HashMap, HashSet};

use cognito_reset_api::RequestedBy;
use futures::{StreamExt as _, stream};
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use serde_json::Value;

use super::{
    options::Options,
    plan::{Existing, Found, Plan, Wanted},
    requester,
};
use crate::{PROGRAM, cluster::Cluster, exit::Exit, failure::Failure, request::Request, selection::PAGE};

/// The number of requests that are created at the same time. An interruption leaves each either
/// created or not.
const ABREAST: usize = 8;

/// Finds the requests of the namespace that have a wanted name or, under another name, have reset a
/// wanted user before.
///
/// # Errors
/// When they cannot be listed.
pub(super) async fn find(cluster: &Cluster, pool: &str, wanted: &[Wanted]) -> Result<Found, Failure> {
    let names: HashSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let users: HashSet<&str> = wanted.iter().map(|wanted| wanted.username.as_str()).collect();
    let what = format!("list requests in namespace {}", cluster.namespace);
    let mut params = ListParams::default().limit(PAGE).fields(&format!("spec.userPoolID={pool}"));
    let mut found = Found::default();
    loop {
        let page = cluster.requests().list(&params).await.map_err(|error| Failure::of_api(&error, &what))?;
        for request in &page.items {
            match request.metadata.name.as_deref() {
                Some(name) if names.contains(name) => {
                    found.by_name.insert(name.to_owned(), Existing::from(request));
                }
                _ if users.contains(request.spec.username.as_str()) => found.earlier.add(request),
                _ => {}
            }
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(found);
        }
    }
}

/// The creation of requests in a cluster.
#[derive(Clone)]
pub(super) struct Creation<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
    /// The requester, if a policy demands the name.
    requested_by: Option<RequestedBy>,
}

impl<'a> Creation<'a> {
    pub(super) const fn new(cluster: &'a Cluster, options: &'a Options) -> Self {
        Self { cluster, options, requested_by: None }
    }

    /// Lets the API server check the first request, and returns it as it would be stored. Where a
    /// policy demands the requester, the name is filled in.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub(super) async fn check(&mut self, wanted: &[Wanted]) -> Result<Option<Value>, Failure> {
        let Some(first) = wanted.first() else { return Ok(None) };
        if let Err(error) = self.post(first, true).await
            && requester::is_demanded(&error)
        {
            self.requested_by = Some(requester::of_this_user(&self.cluster.client).await?);
        }
        self.create_one(first, true).await.map(Some)
    }

    /// Creates requests until Ctrl-C.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn create_all(&self, wanted: &[Wanted]) -> Result<Exit, Failure> {
        if wanted.is_empty() {
            return Ok(Exit::Succeeded);
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                anstream::eprintln!("interrupted: each request was created or not; the same command goes on");
                Ok(Exit::Interrupted)
            }
            created = self.create(wanted, false) => created.map(|()| Exit::Succeeded),
        }
    }

    /// Creates requests, a few at a time, and prints them as `-o` says. One that somebody else
    /// created in the meantime is unchanged.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub(super) async fn create(&self, wanted: &[Wanted], dry_run: bool) -> Result<(), Failure> {
        let mut created = stream::iter(wanted.iter().map(|wanted| self.create_one(wanted, dry_run))).buffered(ABREAST);
        let mut done = 0;
        while let Some(result) = created.next().await {
            let object = result.map_err(|failure| Failure {
                message: match dry_run {
                    true => format!("{failure}\nnothing was created"),
                    false => format!("{failure}\n{done} of {} were created; the same command goes on", wanted.len()),
                },
                ..failure
            })?;
            done += 1;
            self.options.print_one(&object)?;
        }
        Ok(())
    }

    async fn create_one(&self, wanted: &Wanted, dry_run: bool) -> Result<Value, Failure> {
        let Self { cluster, options, .. } = self;
        let what = format!("create the request {} in namespace {}", wanted.name, cluster.namespace);
        let stored = match self.post(wanted, dry_run).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = cluster.requests().get(&wanted.name).await;
                let there = there.map_err(|error| Failure::of_api(&error, &what))?;
                let by_name = HashMap::from([(wanted.name.clone(), Existing::from(&there))]);
                Plan::new(vec![wanted.clone()], &options.pool, &by_name)?;
                serde_json::to_value(there)
            }
            stored => serde_json::to_value(stored.map_err(|error| Failure::of_api(&error, &what))?),
        };
        stored.map_err(|error| Failure::refused(format!("cannot {what}: {error}")))
    }

    async fn post(&self, wanted: &Wanted, dry_run: bool) -> kube::Result<DynamicObject> {
        let Self { cluster, options, requested_by } = self;
        let manifest = options.manifest(wanted, &cluster.namespace, requested_by.as_ref());
        let manifest = serde_json::to_value(manifest).and_then(serde_json::from_value::<DynamicObject>);
        let manifest = manifest.map_err(kube::Error::SerdeError)?;
        let resource = ApiResource::erase::<Request>(&());
        let requests: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        let params = PostParams { dry_run, field_manager: Some(PROGRAM.into()) };
        let mut stored = requests.create(&params, &manifest).await?;
        stored.metadata.managed_fields = None;
        Ok(stored)
    }
}
