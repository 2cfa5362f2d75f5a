//! The context of the tasks that follow grants.

use std::{sync::Arc, time::Duration};

use kube::{Client, runtime::watcher};

use crate::{
    cli::RunArgs,
    controllers::{
        grant::{confirmation::Confirmation, metrics::Metrics, shared::SharedGrants},
        invalid_objects::InvalidObjects,
    },
    kube::watch,
    telemetry::events::Events,
};

/// The configuration of the tasks that follow grants.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The configuration of the watches of grants and namespaces.
    pub(crate) watch: watcher::Config,
    /// The timeout of each call to the API server.
    pub(crate) api_timeout: Duration,
    /// The time between two checks of a role.
    pub(crate) role_check_interval: Duration,
}

impl From<&RunArgs> for Config {
    fn from(args: &RunArgs) -> Self {
        Self {
            watch: watch::config(args.watch_timeout),
            api_timeout: args.api_timeout,
            role_check_interval: args.role_check_interval,
        }
    }
}

/// The context of the tasks that follow grants.
pub(crate) struct Context {
    pub(super) config: Config,
    pub(super) client: Client,
    pub(super) grants: Arc<SharedGrants>,
    pub(super) events: Events,
    pub(super) invalid_objects: InvalidObjects,
    pub(super) metrics: Metrics,
    pub(super) confirmation: Arc<Confirmation>,
}

impl Context {
    /// Puts the parts together.
    pub(crate) fn new(
        config: Config,
        client: Client,
        events: Events,
        invalid_objects: InvalidObjects,
        metrics: Metrics,
        confirmation: Arc<Confirmation>,
    ) -> Self {
        let grants = confirmation.grants();
        Self { config, client, grants, events, invalid_objects, metrics, confirmation }
    }
}
