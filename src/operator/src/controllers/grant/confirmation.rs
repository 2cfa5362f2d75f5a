//! Confirms that grants, holds and the labels of namespaces are known as they are, regardless of
//! the watches.
//!
//! A task of the leader lists grants and holds again and again, metadata only, and compares them
//! with the index. If they differ, one full list replaces the index. A reconcile asks for the
//! namespace of its request, if its labels decide, and waits for a list if the watch has just shown
//! something that has to be compared first. `cognito_reset_core::grants` decides about all of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, UserPoolHold};
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{self, Evaluation, GrantIndex, ListedKind, ListedObject, Moment, Replaced, Version, Versions},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, ObjectList},
    core::{DeserializeGuard, PartialObjectMeta},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use super::{holds, metrics::Metrics, shared::SharedGrants};
use crate::kube::store::{StoreError, within};

/// The shortest time between two rounds, for as long as the watch shows changes that have to be
/// confirmed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// A read of a namespace that several reconciles wait for.
type NamespaceRead = Shared<BoxFuture<'static, ()>>;

/// Confirms grants, holds and labels.
pub(crate) struct Confirmation {
    client: Client,
    grants: Arc<SharedGrants>,
    metrics: Metrics,
    /// Asks for a round before its time.
    asked: Notify,
    /// The end of each round, and whether it failed.
    failed: watch::Sender<bool>,
    reads: Mutex<HashMap<String, NamespaceRead>>,
    /// Start the watch of grants or holds again.
    pub(super) restart_grants: Notify,
    pub(super) restart_holds: Notify,
}

impl Confirmation {
    /// Creates the state before the first round, with an index without objects.
    #[must_use]
    pub(crate) fn new(client: Client, metrics: Metrics, fresh_for: Duration) -> Self {
        Self {
            client,
            grants: Arc::new(SharedGrants::new(fresh_for)),
            metrics,
            asked: Notify::new(),
            failed: watch::Sender::default(),
            reads: Mutex::default(),
            restart_grants: Notify::new(),
            restart_holds: Notify::new(),
        }
    }

    /// Returns the index of grants and holds that is confirmed.
    #[must_use]
    pub(crate) fn grants(&self) -> Arc<SharedGrants> {
        Arc::clone(&self.grants)
    }

    /// The timeout of each read, and the time between two rounds.
    fn half(&self) -> Duration {
        self.grants.fresh_for() / 2
    }

    /// Evaluates grants and holds for a request, after reading what has to be confirmed for it.
    pub(crate) async fn evaluate(&self, request: &PasswordResetRequest, user: &KnownUser) -> Evaluation {
        // The first lists, or a comparison after an event of the watch, take moments.
        let _ = timeout(self.half(), self.wait_for_lists()).await;
        if let Some(namespace) = self.grants.namespace_to_read(request) {
            self.read_namespace(namespace).await;
        }
        self.grants.evaluate(request, user)
    }

    /// Waits until grants and holds are confirmed, or a round fails.
    async fn wait_for_lists(&self) {
        let mut failed = self.failed.subscribe();
        while !self.grants.is_confirmed() && !*failed.borrow_and_update() {
            self.asked.notify_one();
            if failed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads a namespace, or waits for the read of another reconcile.
    async fn read_namespace(&self, namespace: String) {
        let read = {
            let mut reads = self.reads.lock();
            let begin = || {
                let (client, grants, timeout) = (self.client.clone(), Arc::clone(&self.grants), self.half());
                read_namespace(client, grants, namespace.clone(), timeout).boxed().shared()
            };
            reads.entry(namespace.clone()).or_insert_with(begin).clone()
        };
        read.clone().await;
        let mut reads = self.reads.lock();
        if reads.get(&namespace).is_some_and(|other| other.ptr_eq(&read)) {
            reads.remove(&namespace);
        }
    }

    /// Confirms grants and holds, forever.
    pub(crate) async fn run(&self) {
        self.metrics.confirming(self.grants());
        loop {
            let begun = Instant::now();
            let (grants, holds) = tokio::join!(self.confirm_grants(), self.confirm_holds());
            self.report(grants.and(holds));
            sleep_until(begun + SHORTEST_PAUSE).await;
            // A reconcile that waits and the end of the pause both start another round.
            let _ = timeout_at(begun + self.half(), self.asked.notified()).await;
        }
    }

    fn report(&self, result: Result<bool, StoreError>) {
        let failed = result.is_err();
        let failed_before = *self.failed.borrow();
        match result {
            Ok(_) if failed_before => info!("grants and holds are confirmed again"),
            Err(error) if failed_before => debug!(%error, "still unable to confirm grants and holds"),
            Err(error) => warn!(%error, "unable to confirm grants and holds; retrying; nothing is sent meanwhile"),
            Ok(_) => {}
        }
        self.failed.send_replace(failed);
        if self.grants.is_confirmed() {
            self.grants.wake_unconfirmed();
        }
    }

    async fn confirm_grants(&self) -> Result<bool, StoreError> {
        let api: Api<UserPoolGrant> = Api::all(self.client.clone());
        if self.compare(ListedKind::Grant, &api).await? {
            return Ok(true);
        }
        let sent = self.list_sent(ListedKind::Grant);
        let api: Api<DeserializeGuard<UserPoolGrant>> = Api::all(self.client.clone());
        let objects = self.list_all(api).await?;
        self.replaced(&self.restart_grants, |index| {
            let put = |index: &mut GrantIndex, object| super::put_grant(index, &object);
            index.replace(ListedKind::Grant, objects, sent, put, GrantIndex::retain_grants)
        });
        Ok(false)
    }

    async fn confirm_holds(&self) -> Result<bool, StoreError> {
        let api: Api<UserPoolHold> = Api::all(self.client.clone());
        if self.compare(ListedKind::Hold, &api).await? {
            return Ok(true);
        }
        let sent = self.list_sent(ListedKind::Hold);
        let api = Api::all_with(self.client.clone(), &ApiResource::erase::<UserPoolHold>(&()));
        let objects = self.list_all(api).await?;
        self.replaced(&self.restart_holds, |index| {
            let put = |index: &mut GrantIndex, object: DynamicObject| holds::put_hold(index, &object);
            index.replace(ListedKind::Hold, objects, sent, put, GrantIndex::retain_holds)
        });
        Ok(false)
    }

    /// Lists the metadata of a kind. Without a resourceVersion, the list contains every write that
    /// was complete before it was sent.
    async fn compare<K>(&self, kind: ListedKind, api: &Api<K>) -> Result<bool, StoreError>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let sent = self.grants.now();
        let list = whole(within(self.half(), api.list_metadata(&ListParams::default())).await?)?;
        let listed: Versions = list
            .iter()
            .map(|object| (object.metadata.name.clone().unwrap_or_default(), Version::of(&object.metadata)))
            .collect();
        Ok(self.grants.update(|index| index.compare(kind, &listed, sent)))
    }

    fn list_sent(&self, kind: ListedKind) -> Moment {
        self.grants.update(|index| index.list_sent(kind));
        self.grants.now()
    }

    async fn list_all<K>(&self, api: Api<K>) -> Result<Vec<ListedObject<K>>, StoreError>
    where
        K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let list = whole(within(self.half(), api.list(&ListParams::default())).await?)?;
        let listed = |object: K| ListedObject { name: object.name_any(), version: Version::of(object.meta()), object };
        Ok(list.into_iter().map(listed).collect())
    }

    fn replaced(&self, restart: &Notify, replace: impl FnOnce(&mut GrantIndex) -> Replaced) {
        let mut watch_is_behind = false;
        self.grants.change(|index| {
            let replaced = replace(index);
            watch_is_behind = replaced.watch_is_behind;
            replaced.changed
        });
        if watch_is_behind {
            restart.notify_one();
        }
    }
}

/// Returns the objects of a list that the API server returned as a whole.
fn whole<K: Clone>(list: ObjectList<K>) -> Result<Vec<K>, StoreError> {
    let is_whole = list.metadata.continue_.is_none_or(|token| token.is_empty());
    let has_version = list.metadata.resource_version.is_some_and(|version| !version.is_empty());
    if is_whole && has_version { Ok(list.items) } else { Err(StoreError::AnotherList) }
}

/// Reads a namespace. After an error it stays unconfirmed.
async fn read_namespace(client: Client, shared: Arc<SharedGrants>, name: String, timeout: Duration) {
    let sent = shared.now();
    let api: Api<Namespace> = Api::all(client);
    let read: Result<Option<PartialObjectMeta<Namespace>>, _> = match within(timeout, api.get_metadata(&name)).await {
        Ok(namespace) => Ok(Some(namespace)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    };
    match read {
        Ok(namespace) => {
            let read = namespace.map(|read| grants::Namespace { uid: read.uid(), labels: read.labels().clone() });
            shared.update(|index| index.confirm_namespace(&name, read, sent));
        }
        Err(error) => warn!(namespace = %name, %error, "unable to read a namespace; retrying"),
    }
}
