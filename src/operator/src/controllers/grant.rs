//! Watches grants, holds and namespaces, and updates the status of grants and holds.

pub(crate) mod context;
pub(crate) mod holds;
pub(crate) mod metrics;
mod refused_statuses;
pub(crate) mod role_check;
pub(crate) mod shared;
mod statuses;

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolGrant;
use cognito_reset_core::grants::{self, GrantIndex};
use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::oneshot;
use tracing::warn;

use self::statuses::{Pause, Statuses};
use crate::{
    controllers::grant::{context::Context, shared::SharedGrants},
    kube::errors::of_watch,
    telemetry::invalid_objects::InvalidObjects,
};

type Guarded = DeserializeGuard<UserPoolGrant>;

/// Watches the grants, and signals when they have been read for the first time.
pub(crate) async fn watch_grants(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, invalid_objects, .. } = context;
    let events = watcher(Api::<Guarded>::all(client.clone()), config.watch.clone());
    follow(events, Grants { grants, invalid_objects }, read).await;
}

/// Watches the namespaces' labels, and signals when they have been read for the first time.
pub(crate) async fn watch_namespaces(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, .. } = context;
    let events = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), config.watch.clone());
    follow(events, Namespaces { grants }, read).await;
}

/// The receiver of the events of a watch.
trait Follower<K> {
    fn put(&mut self, object: K);
    fn remove(&mut self, object: &K);
    fn retain(&mut self, names: &BTreeSet<String>);
}

struct Grants<'a> {
    grants: &'a SharedGrants,
    invalid_objects: &'a InvalidObjects,
}

impl Follower<Guarded> for Grants<'_> {
    fn put(&mut self, object: Guarded) {
        match &object.0 {
            Ok(grant) => self.grants.change(|index| index.put_grant(grant.clone())),
            Err(invalid) => {
                self.grants.change(|index| index.remove_grant(&object.name_any()));
                self.invalid_objects.grant(&object, &invalid.error);
            }
        }
    }

    fn remove(&mut self, object: &Guarded) {
        self.grants.change(|index| index.remove_grant(&object.name_any()));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        self.grants.change(|index| index.retain_grants(names));
    }
}

struct Namespaces<'a> {
    grants: &'a SharedGrants,
}

impl Follower<PartialObjectMeta<Namespace>> for Namespaces<'_> {
    fn put(&mut self, object: PartialObjectMeta<Namespace>) {
        let selected_by = grants::Namespace { uid: object.uid(), labels: object.labels().clone() };
        self.grants.change(|index| index.put_namespace(object.name_any(), selected_by));
    }

    fn remove(&mut self, object: &PartialObjectMeta<Namespace>) {
        self.grants.change(|index| index.remove_namespace(&object.name_any()));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        self.grants.change(|index| index.retain_namespaces(names));
    }
}

/// Consumes a watch forever, with a back-off after errors, and signals when it has been read for
/// the first time.
async fn follow<K: Resource>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    mut follower: impl Follower<K>,
    read: oneshot::Sender<()>,
) {
    let mut read = Some(read);
    let mut listed = BTreeSet::new();
    let mut events = std::pin::pin!(events.default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(object))) => follower.put(object),
            Ok(Some(Event::Delete(object))) => follower.remove(&object),
            Ok(Some(Event::Init)) => listed.clear(),
            Ok(Some(Event::InitApply(object))) => {
                listed.insert(object.meta().name.clone().unwrap_or_default());
                follower.put(object);
            }
            Ok(Some(Event::InitDone)) => {
                follower.retain(&listed);
                if let Some(read) = read.take() {
                    // The receiver is gone during a shutdown.
                    let _ = read.send(());
                }
            }
            Ok(None) => return,
            Err(error) => warn!(error = %of_watch(&error), "unable to watch; retrying"),
        }
    }
}

/// Keeps the status of grants up to date, forever. Nothing is written while they are.
pub(crate) async fn write_statuses(context: &Context) {
    let statuses = Statuses {
        kind: "grant",
        stale: GrantIndex::stale_statuses,
        written: GrantIndex::status_written,
        // Many namespaces may be created and deleted at a time, and each changes the counts of grants.
        pause: Pause::AfterWrites,
    };
    statuses.write(context, context.grants.status_changes()).await;
}
