//! Watches holds, and updates their status.

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolHold;
use cognito_reset_core::grants::{GrantIndex, ListedKind};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::DeserializeGuard,
    runtime::watcher::watcher,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Follower, follow,
    statuses::{Pause, Statuses},
};
use crate::controllers::{
    grant::{context::Context, shared::SharedGrants},
    invalid_objects::InvalidObjects,
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
            index.put_unreadable_hold(object.name_any(), &spec)
        }
        None => index.put_unreadable_hold(object.name_any(), &Value::Null),
    }
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
    statuses.write(context, context.grants.hold_status_changes()).await;
}
