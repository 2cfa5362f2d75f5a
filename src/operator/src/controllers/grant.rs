//! Watches grants, holds and namespaces, and updates the status of grants and holds.

pub(crate) mod context;
pub(crate) mod holds;
pub(crate) mod metrics;
mod refused_statuses;
pub(crate) mod role_check;
pub(crate) mod shared;

use std::{collections::BTreeSet, time::Duration};

use cognito_reset_api::{UserPoolGrant, conditions::Truth};
use cognito_reset_core::grants::{self, StaleStatus};
use futures::{Stream, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Resource, ResourceExt,
    api::PostParams,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument, debug, error_span, warn};

use self::refused_statuses::{Note, RefusedStatuses, notes};
use crate::{
    controllers::grant::{context::Context, metrics::Metrics, shared::SharedGrants},
    kube::{
        errors::of_watch,
        store::{StoreError, within},
    },
    telemetry::{events::Events, invalid_objects::InvalidObjects},
};

/// The minimum time between two rounds of status writes.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(500);
/// The pause before a failed write that was not rejected is retried.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// The maximum time between two checks of all grants.
const LONGEST_REST: Duration = Duration::from_secs(3600);

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
    let Context { config, client, grants, events, metrics, .. } = context;
    let mut changes = grants.status_changes();
    let api: Api<UserPoolGrant> = Api::all(client.clone());
    let mut refused = RefusedWrites { events, metrics, statuses: RefusedStatuses::default() };
    loop {
        let mut failed = false;
        let mut tried_any = false;
        let stale = grants.read(|index| index.stale_statuses(Timestamp::now()));
        refused.statuses.retain(&stale.iter().map(|stale| stale.grant.name_any()).collect());
        for StaleStatus { grant, changed } in stale {
            let (name, said) = (grant.name_any(), notes(&changed));
            if !refused.statuses.is_due(&name, &said, Instant::now()) {
                continue;
            }
            tried_any = true;
            let span = error_span!("write_status", controller = "grant", name);
            let write = async {
                match within(config.api_timeout, api.replace_status(&name, &PostParams::default(), &grant)).await {
                    Ok(stored) => {
                        grants.update(|index| index.status_written(&stored));
                        refused.statuses.written(&name);
                        changed.iter().for_each(|condition| report(events, &stored, condition));
                    }
                    Err(error) => failed |= !refused.report(&grant, said, &error),
                }
            };
            write.instrument(span).await;
        }
        if tried_any {
            // Many namespaces may be created and deleted at a time, and each changes the counts of
            // grants.
            sleep(BETWEEN_ROUNDS).await;
        }
        let due = refused.statuses.next().map(|due| due.saturating_duration_since(Instant::now()));
        let again = if failed { AFTER_A_FAILURE } else { due.unwrap_or(LONGEST_REST) };
        // A change and the end of the pause both start another check.
        let _ = timeout(again, changes.changed()).await;
    }
}

/// Publishes an Event about a changed condition of a grant or hold.
fn report<K>(events: &Events, object: &K, Condition { status, reason, message, .. }: &Condition)
where
    K: Resource<DynamicType = ()>,
{
    let object = object.object_ref(&());
    if *status == Truth::True.as_str() {
        events.normal(object, reason, message, "Validate");
    } else {
        events.warning(object, reason, message, "Validate");
    }
}

/// Reports grants and holds whose status is rejected.
struct RefusedWrites<'a> {
    events: &'a Events,
    metrics: &'a Metrics,
    statuses: RefusedStatuses,
}

impl RefusedWrites<'_> {
    /// Publishes an Event with the content of the status. Returns true if the status was rejected,
    /// and false if the write failed for another reason.
    fn report<K>(&mut self, object: &K, news: Vec<Note>, error: &StoreError) -> bool
    where
        K: Resource<DynamicType = ()>,
    {
        let name = object.name_any();
        let Some(refuser) = error.refuser() else {
            debug!(%error, "unable to write a status yet");
            return false;
        };
        self.metrics.status_refused(&refuser);
        let told = self.statuses.refused(&name, news, &refuser, Instant::now());
        if told.is_empty() {
            debug!(%error, "the API server still refuses a status");
            return true;
        }
        warn!(%error, "the API server refuses a status; retrying");
        for (reason, note) in told {
            self.events.warning(object.object_ref(&()), &reason, &note, "UpdateStatus");
        }
        true
    }
}
