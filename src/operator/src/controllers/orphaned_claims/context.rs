//! The context of the search for orphaned claims.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{action::port::Cognito, watched_namespaces::WatchedNamespaces};

use crate::{
    cli::RunArgs,
    controllers::{invalid_objects::InvalidObjects, orphaned_claims::metrics::Metrics, request},
    kube::store::Store,
};

/// The configuration of the search.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The time between two lists of the open claims.
    pub(crate) period: Duration,
    /// The namespaces of the requests whose claims are resolved.
    pub(crate) watched: WatchedNamespaces,
}

impl From<&RunArgs> for Config {
    fn from(args: &RunArgs) -> Self {
        Self { period: args.sweep_interval, watched: args.watch_namespaces.clone() }
    }
}

/// The context of the search.
pub(crate) struct Context<C: Cognito> {
    pub(super) config: Config,
    pub(super) store: Store,
    /// Resolves what is found: a claim is resolved by the same reconcile as that of a request.
    pub(super) requests: Arc<request::context::Context<C>>,
    pub(super) invalid_objects: InvalidObjects,
    pub(super) metrics: Metrics,
}

impl<C: Cognito> Context<C> {
    /// Puts the parts together.
    pub(crate) const fn new(
        config: Config,
        store: Store,
        requests: Arc<request::context::Context<C>>,
        invalid_objects: InvalidObjects,
        metrics: Metrics,
    ) -> Self {
        Self { config, store, requests, invalid_objects, metrics }
    }
}
