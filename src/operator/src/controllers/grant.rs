//! Watches grants, holds and namespaces, and updates the status of grants and holds.

pub(crate) mod confirmation;
pub(crate) mod context;
pub(crate) mod holds;
pub(crate) mod metrics;
pub(crate) mod role_check;
pub(crate) mod shared;
mod statuses;

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolGrant;
use cognito_reset_core::grants::{self, GrantIndex, ListedKind};
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
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use self::statuses::{Pause, Statuses};
use crate::{
    controllers::{
        grant::{context::Context, shared::SharedGrants},
        invalid_objects::InvalidObjects,
    },
    kube::errors::of_watch,
};

type Guarded = DeserializeGuard<UserPoolGrant>;

/// Watches the grants, and signals when they have been read for the first time.
pub(crate) async fn watch_grants(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, invalid_objects, confirmation, .. } = context;
    let events = || watcher(Api::<Guarded>::all(client.clone()), config.watch.clone());
    follow(events, Grants { grants, invalid_objects }, &confirmation.restart_grants, read).await;
}

/// Watches the namespaces' labels, and signals when they have been read for the first time.
pub(crate) async fn watch_namespaces(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, .. } = context;
    let events = || watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), config.watch.clone());
    // Where labels decide, the namespace is read, so that this watch is never started again for
    // them.
    follow(events, Namespaces { grants }, &Notify::new(), read).await;
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
        let put = |index: &mut GrantIndex| put_grant(index, &object);
        self.grants.change(|index| index.deliver(ListedKind::Grant, object.meta(), put));
        if let Err(invalid) = &object.0 {
            self.invalid_objects.grant(&object, &invalid.error);
        }
    }

    fn remove(&mut self, object: &Guarded) {
        let remove = |index: &mut GrantIndex| index.remove_grant(&object.name_any());
        self.grants.change(|index| index.deliver_deletion(ListedKind::Grant, object.meta(), remove));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        let retain = |index: &mut GrantIndex| index.retain_grants(names);
        self.grants.change(|index| index.deliver_list(ListedKind::Grant, names, retain));
    }
}

/// Puts a grant into the index, or removes one that cannot be parsed: it allows nothing.
fn put_grant(index: &mut GrantIndex, object: &Guarded) -> bool {
    match &object.0 {
        Ok(grant) => index.put_grant(grant.clone()),
        Err(_) => index.remove_grant(&object.name_any()),
    }
}

struct Namespaces<'a> {
    grants: &'a SharedGrants,
}

impl Follower<PartialObjectMeta<Namespace>> for Namespaces<'_> {
    fn put(&mut self, object: PartialObjectMeta<Namespace>) {
        let selected_by = grants::Namespace { uid: object.uid(), labels: object.labels().clone() };
        self.grants.change_namespaces(|index| index.put_namespace(object.name_any(), selected_by));
    }

    fn remove(&mut self, object: &PartialObjectMeta<Namespace>) {
        self.grants.change_namespaces(|index| index.remove_namespace(&object.name_any()));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        self.grants.change_namespaces(|index| index.retain_namespaces(names));
    }
}

/// Consumes watches forever, with a back-off after errors, and signals when the first one has been
/// read for the first time. `restart` ends a watch, and begins another one.
async fn follow<K: Resource, S: Stream<Item = watcher::Result<Event<K>>>>(
    events: impl Fn() -> S,
    mut follower: impl Follower<K>,
    restart: &Notify,
    read: oneshot::Sender<()>,
) {
    let mut read = Some(read);
    loop {
        tokio::select! {
            () = follow_one(events(), &mut follower, &mut read) => return,
            () = restart.notified() => {
                warn!("a watch of grants or holds shows no changes; starting it again");
            }
        }
    }
}

async fn follow_one<K: Resource>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    follower: &mut impl Follower<K>,
    read: &mut Option<oneshot::Sender<()>>,
) {
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
        // Many namespaces may be created and deleted at a time, and each changes the counts of
        // grants.
        pause: Pause::AfterWrites,
    };
    statuses.write(context, context.grants.status_changes()).await;
}
