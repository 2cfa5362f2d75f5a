//! Watches holds, and updates their status.

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolHold;
use cognito_reset_core::grants::StaleHoldStatus;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
    core::DeserializeGuard,
    runtime::watcher::watcher,
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument, error_span};

use super::{
    AFTER_A_FAILURE, BETWEEN_ROUNDS, Follower, LONGEST_REST, RefusedWrites, follow,
    refused_statuses::{RefusedStatuses, notes},
    report,
};
use crate::{
    controllers::grant::{context::Context, shared::SharedGrants},
    kube::store::within,
    telemetry::invalid_objects::InvalidObjects,
};

/// Watches the holds, and signals when they have been read for the first time.
///
/// They are read in any shape: a hold that cannot be parsed still holds what can be read of it, or
/// else everything.
pub(crate) async fn watch(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, invalid_objects, .. } = context;
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<UserPoolHold>(&()));
    follow(watcher(api, config.watch.clone()), Holds { grants, invalid_objects }, read).await;
}

struct Holds<'a> {
    grants: &'a SharedGrants,
    invalid_objects: &'a InvalidObjects,
}

impl Follower<DynamicObject> for Holds<'_> {
    fn put(&mut self, object: DynamicObject) {
        let name = object.name_any();
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        // Reports name an object by its metadata, which the watch has parsed already.
        let metadata = json!({ "metadata": object.metadata, "spec": spec, "status": object.data.get("status") });
        match serde_json::from_value::<DeserializeGuard<UserPoolHold>>(metadata) {
            Ok(DeserializeGuard(Ok(hold))) => self.grants.change(|index| index.put_hold(hold)),
            Ok(guarded) => {
                self.grants.change(|index| index.put_unreadable_hold(name, &spec));
                if let Err(invalid) = &guarded.0 {
                    self.invalid_objects.hold(&guarded, &invalid.error);
                }
            }
            Err(_) => self.grants.change(|index| index.put_unreadable_hold(name, &Value::Null)),
        }
    }

    fn remove(&mut self, object: &DynamicObject) {
        self.grants.change(|index| index.remove_hold(&object.name_any()));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        self.grants.change(|index| index.retain_holds(names));
    }
}

/// Keeps the status of holds up to date, forever. Nothing is written while they are.
pub(crate) async fn write_statuses(context: &Context) {
    let Context { config, client, grants, events, metrics, .. } = context;
    let mut changes = grants.hold_status_changes();
    let api: Api<UserPoolHold> = Api::all(client.clone());
    let mut refused = RefusedWrites { events, metrics, statuses: RefusedStatuses::default() };
    loop {
        let mut failed = false;
        let stale = grants.read(|index| index.stale_hold_statuses(Timestamp::now()));
        refused.statuses.retain(&stale.iter().map(|stale| stale.hold.name_any()).collect());
        for StaleHoldStatus { hold, changed } in stale {
            let (name, said) = (hold.name_any(), notes(&changed));
            if !refused.statuses.is_due(&name, &said, Instant::now()) {
                continue;
            }
            let span = error_span!("write_status", controller = "hold", name);
            let write = async {
                match within(config.api_timeout, api.replace_status(&name, &PostParams::default(), &hold)).await {
                    Ok(stored) => {
                        grants.update(|index| index.hold_status_written(&stored));
                        refused.statuses.written(&name);
                        changed.iter().for_each(|condition| report(events, &stored, condition));
                    }
                    Err(error) => failed |= !refused.report(&hold, said, &error),
                }
            };
            write.instrument(span).await;
        }
        // Each request that comes or goes may change a count, so changes are collected.
        sleep(BETWEEN_ROUNDS).await;
        let due = refused.statuses.next().map(|due| due.saturating_duration_since(Instant::now()));
        let again = if failed { AFTER_A_FAILURE } else { due.unwrap_or(LONGEST_REST) };
        // A change and the end of the pause both start another check.
        let _ = timeout(again, changes.changed()).await;
    }
}
