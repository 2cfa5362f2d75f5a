//! Watches holds, and updates their status.

use std::collections::BTreeSet;

use cognito_reset_api::UserPoolHold;
use cognito_reset_core::grants::GrantIndex;
use kube::{
    Api, ResourceExt,
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
use crate::{
    controllers::grant::{context::Context, shared::SharedGrants},
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
    let statuses = Statuses {
        kind: "hold",
        stale: GrantIndex::stale_hold_statuses,
        written: GrantIndex::hold_status_written,
        // Each request that comes or goes may change a count, so changes are collected.
        pause: Pause::Always,
    };
    statuses.write(context, context.grants.hold_status_changes()).await;
}
