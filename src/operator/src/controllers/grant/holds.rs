//! Watches holds, and updates their status.

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolHold;
use cognito_reset_core::grants::{GrantIndex, HeldCount, ListedKind, UnreadableHold};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::DeserializeGuard,
    runtime::watcher::watcher,
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    Follower, follow,
    statuses::{AFTER_A_FAILURE, BETWEEN_ROUNDS, LONGEST_REST, Pause, Statuses},
};
use crate::{
    controllers::{
        grant::{context::Context, shared::SharedGrants},
        invalid_objects::InvalidObjects,
    },
    kube::store::within,
};

/// Watches the holds, and signals when they have been read for the first time.
///
/// They are read in any shape: a hold that cannot be parsed still holds what can be read of it, or
/// else everything.
pub(crate) async fn watch(context: &Context, read: oneshot::Sender<()>) {
    let Context { config, client, grants, invalid_objects, confirmation, .. } = context;
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<UserPoolHold>(&()));
    let events = || watcher(api.clone(), config.watch.clone());
    follow(events, Holds { grants, invalid_objects }, &confirmation.restart_holds, read).await;
}

struct Holds<'a> {
    grants: &'a SharedGrants,
    invalid_objects: &'a InvalidObjects,
}

impl Follower<DynamicObject> for Holds<'_> {
    fn put(&mut self, object: DynamicObject) {
        let put = |index: &mut GrantIndex| put_hold(index, &object);
        self.grants.change(|index| index.deliver(ListedKind::Hold, object.meta(), put));
        if let Some(guarded) = parsed(&object)
            && let Err(invalid) = &guarded.0
        {
            self.invalid_objects.hold(&guarded, &invalid.error);
        }
    }

    fn remove(&mut self, object: &DynamicObject) {
        let remove = |index: &mut GrantIndex| index.remove_hold(&object.name_any());
        self.grants.change(|index| index.deliver_deletion(ListedKind::Hold, object.meta(), remove));
    }

    fn retain(&mut self, names: &BTreeSet<String>) {
        let retain = |index: &mut GrantIndex| index.retain_holds(names);
        self.grants.change(|index| index.deliver_list(ListedKind::Hold, names, retain));
    }
}

/// Puts a hold into the index, in any shape.
pub(super) fn put_hold(index: &mut GrantIndex, object: &DynamicObject) -> bool {
    match parsed(object) {
        Some(DeserializeGuard(Ok(hold))) => index.put_hold(hold),
        Some(DeserializeGuard(Err(_))) => {
            let spec = object.data.get("spec").cloned().unwrap_or_default();
            index.put_unreadable_hold(unreadable(object, spec))
        }
        None => index.put_unreadable_hold(unreadable(object, Value::Null)),
    }
}

fn unreadable(object: &DynamicObject, spec: Value) -> UnreadableHold {
    let held_requests = object.data.pointer("/status/heldRequests").and_then(Value::as_i64);
    UnreadableHold { name: object.name_any(), uid: object.uid(), spec, held_requests }
}

/// Parses a hold. Reports name an object by its metadata, which the watch has parsed already.
fn parsed(object: &DynamicObject) -> Option<DeserializeGuard<UserPoolHold>> {
    let (spec, status) = (object.data.get("spec").cloned().unwrap_or_default(), object.data.get("status"));
    serde_json::from_value(json!({ "metadata": object.metadata, "spec": spec, "status": status })).ok()
}

/// Keeps the status of holds up to date, forever. Nothing is written while they are.
pub(crate) async fn write_statuses(context: &Context) {
    let statuses = Statuses {
        kind: "hold",
        stale: GrantIndex::stale_hold_statuses,
        written: GrantIndex::hold_status_written,
        // Each request that comes or goes may change a count, so changes are collected.
        pause: Pause::Always,
    };
    tokio::join!(statuses.write(context, context.grants.hold_status_changes()), write_held_counts(context));
}

/// Keeps the number of held requests up to date in the status of holds that cannot be parsed,
/// forever. [`InvalidObjects`] writes the rest of such a status.
async fn write_held_counts(Context { config, client, grants, .. }: &Context) {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<UserPoolHold>(&()));
    let mut changes = grants.hold_status_changes();
    loop {
        let mut failed = false;
        for count in grants.read(GrantIndex::stale_held_counts) {
            let HeldCount { name, uid, held_requests } = &count;
            let patch =
                Patch::Merge(json!({ "metadata": { "uid": uid }, "status": { "heldRequests": held_requests } }));
            match within(config.api_timeout, api.patch_status(name, &PatchParams::default(), &patch)).await {
                Ok(_) => grants.update(|index| index.held_count_written(&count)),
                Err(error) => {
                    failed = true;
                    warn!(controller = "hold", name, %error, "unable to write the number of held requests; retrying");
                }
            }
        }
        sleep(BETWEEN_ROUNDS).await;
        let again = if failed { AFTER_A_FAILURE } else { LONGEST_REST };
        // A change and the end of the pause both start another check.
        let _ = timeout(again, changes.changed()).await;
    }
}
