//! Confirms that grants, holds and the labels of namespaces are known as they are, regardless of
//! the watches.
//!
//! A task of the leader lists grants and holds again and again, metadata only, and compares them
//! with the index. If they differ, one full list replaces the index. A reconcile asks for the
//! namespace of its request, if its labels decide, and waits for a list if the watch has just shown
//! something that has to be compared first. `cognito_reset_core::grants` decides about all of it.

mod reads;

use std::{collections::HashMap, sync::Arc, time::Duration};

use cognito_reset_api::{PasswordResetRequest, UserPoolGrant, UserPoolHold};
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{Evaluation, GrantIndex, ListedKind, Moment, Replaced},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use kube::{Client, Resource, api::DynamicObject, core::DeserializeGuard};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use super::{holds, metrics::Metrics, shared::SharedGrants};
use crate::kube::store::StoreError;

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
    pub(crate) fn new(client: Client, metrics: Metrics, grants: SharedGrants) -> Self {
        Self {
            client,
            grants: Arc::new(grants),
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
        // The watch may deliver another state during the read. Then the namespace is read once
        // more.
        for _ in 0..2 {
            if let Some(namespace) = self.grants.namespace_to_read(request) {
                self.read_namespace(namespace).await;
            }
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
            Err(error) => {
                warn!(%error, "unable to confirm grants and holds; retrying; nothing is sent once the last confirmation is too old")
            }
            Ok(_) => {}
        }
        self.failed.send_replace(failed);
        if self.grants.is_confirmed() {
            self.grants.wake_unconfirmed();
        }
    }

    async fn confirm_grants(&self) -> Result<bool, StoreError> {
        if self.compare::<UserPoolGrant>(ListedKind::Grant).await? {
            return Ok(true);
        }
        let sent = self.list_sent(ListedKind::Grant);
        let objects = reads::objects::<UserPoolGrant, DeserializeGuard<_>>(&self.client, self.half()).await?;
        self.replaced(&self.restart_grants, |index| {
            let put = |index: &mut GrantIndex, object| super::put_grant(index, &object);
            index.replace(ListedKind::Grant, objects, sent, put, GrantIndex::retain_grants)
        });
        Ok(false)
    }

    async fn confirm_holds(&self) -> Result<bool, StoreError> {
        if self.compare::<UserPoolHold>(ListedKind::Hold).await? {
            return Ok(true);
        }
        let sent = self.list_sent(ListedKind::Hold);
        let objects = reads::objects::<UserPoolHold, _>(&self.client, self.half()).await?;
        self.replaced(&self.restart_holds, |index| {
            let put = |index: &mut GrantIndex, object: DynamicObject| holds::put_hold(index, &object);
            index.replace(ListedKind::Hold, objects, sent, put, GrantIndex::retain_holds)
        });
        Ok(false)
    }

    /// Compares the metadata of a kind with the index.
    async fn compare<K>(&self, kind: ListedKind) -> Result<bool, StoreError>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug,
    {
        let sent = self.grants.now();
        let listed = reads::versions::<K>(&self.client, self.half()).await?;
        Ok(self.grants.update(|index| index.compare(kind, &listed, sent)))
    }

    fn list_sent(&self, kind: ListedKind) -> Moment {
        self.grants.update(|index| index.list_sent(kind));
        self.grants.now()
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

/// Reads a namespace. After an error it stays unconfirmed, and is not read again at once.
async fn read_namespace(client: Client, shared: Arc<SharedGrants>, name: String, timeout: Duration) {
    let sent = shared.now();
    shared.update(|index| index.namespace_read_sent(&name));
    match reads::namespace(&client, &name, timeout).await {
        Ok(namespace) => shared.update(|index| index.confirm_namespace(&name, namespace, sent)),
        Err(error) => {
            warn!(namespace = %name, %error, "unable to read a namespace; retrying");
            shared.update(|index| index.namespace_read_failed(&name, sent));
        }
    }
}

#[cfg(test)]
mod tests;
