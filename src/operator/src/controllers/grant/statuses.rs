//! Writes the statuses of grants and holds.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use cognito_reset_api::conditions::Truth;
use cognito_reset_core::{
    grants::{GrantIndex, StaleStatus},
    memory::refused_statuses::{Note, RefusedStatuses, notes},
};
use jiff::Timestamp;
use k8s_openapi::{ClusterResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, Resource, ResourceExt, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{Instrument, debug, error_span, warn};

use super::{context::Context, metrics::Metrics};
use crate::{
    kube::store::{StoreError, within},
    telemetry::events::Events,
};

/// The minimum time between two rounds of status writes.
pub(super) const BETWEEN_ROUNDS: Duration = Duration::from_millis(500);
/// The pause before a failed write that was not rejected is retried.
pub(super) const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// The maximum time between two checks of all objects.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(3600);

/// The statuses of one kind of objects in the index.
pub(super) struct Statuses<K> {
    /// The kind, for the log.
    pub kind: &'static str,
    /// Returns the objects whose status has to change.
    pub stale: fn(&GrantIndex, Timestamp) -> Vec<StaleStatus<K>>,
    /// Stores a status that was written.
    pub written: fn(&mut GrantIndex, &K),
    /// The rounds that a pause follows.
    pub pause: Pause,
}

/// The rounds that a pause follows, so that changes are collected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Only a round that has tried to write.
    AfterWrites,
    /// Every round.
    Always,
}

impl<K> Statuses<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    /// Keeps the statuses up to date, forever. Nothing is written while they are.
    pub(super) async fn write(&self, context: &Context, mut changes: watch::Receiver<()>) {
        let Context { config, client, grants, events, metrics, .. } = context;
        let api: Api<K> = Api::all(client.clone());
        let mut refused = RefusedWrites { events, metrics, statuses: RefusedStatuses::default() };
        loop {
            let mut failed = false;
            let mut tried_any = false;
            let stale = grants.read(|index| (self.stale)(index, Timestamp::now()));
            refused.statuses.retain(&stale.iter().map(|stale| stale.object.name_any()).collect());
            for StaleStatus { object, changed } in stale {
                let (name, notes) = (object.name_any(), notes(&changed));
                if !refused.statuses.is_due(&name, &notes, Instant::now()) {
                    continue;
                }
                tried_any = true;
                let span = error_span!("write_status", controller = self.kind, name);
                let write = async {
                    match within(config.api_timeout, api.replace_status(&name, &PostParams::default(), &object)).await {
                        Ok(stored) => {
                            grants.update(|index| (self.written)(index, &stored));
                            refused.statuses.written(&name);
                            changed.iter().for_each(|condition| report(events, &stored, condition));
                        }
                        Err(error) => failed |= !refused.report(&object, notes, &error),
                    }
                };
                write.instrument(span).await;
            }
            if tried_any || self.pause == Pause::Always {
                sleep(BETWEEN_ROUNDS).await;
            }
            let due = refused.statuses.next().map(|due| due.saturating_duration_since(Instant::now()));
            let again = if failed { AFTER_A_FAILURE } else { due.unwrap_or(LONGEST_REST) };
            // A change and the end of the pause both start another check.
            let _ = timeout(again, changes.changed()).await;
        }
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
    fn report<K>(&mut self, object: &K, notes: Vec<Note>, error: &StoreError) -> bool
    where
        K: Resource<DynamicType = ()>,
    {
        let name = object.name_any();
        let Some(refuser) = error.refuser() else {
            debug!(%error, "unable to write a status yet");
            return false;
        };
        self.metrics.status_refused(&refuser);
        let due = self.statuses.refused(&name, notes, &refuser, Instant::now());
        if due.is_empty() {
            debug!(%error, "the API server still rejects a status");
            return true;
        }
        warn!(%error, "the API server rejected a status; retrying");
        for (reason, note) in due {
            self.events.warning(object.object_ref(&()), &reason, &note, "UpdateStatus");
        }
        true
    }
}
