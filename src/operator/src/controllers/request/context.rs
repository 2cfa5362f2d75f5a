//! The context that all reconciles of this process share.

use std::{collections::HashSet, sync::Arc};

use cognito_reset_core::{
    action::port::Cognito,
    dispatch::{closings::Closings, key::Key},
    ledger::{Backoff, Identity},
    memory::{first_observed::FirstObserved, lasting_waits::LastingWaits, refused_writes::RefusedWrites},
};
use kube::Client;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::error;

use crate::{
    controllers::{
        grant::{confirmation::Confirmation, shared::SharedGrants},
        invalid_objects::InvalidObjects,
        request::{config::Config, held_up::HeldUp, metrics::Metrics, turns::Turns, user_locks::UserLocks},
    },
    kube::{store::Store, user_records::UserRecordLists},
    telemetry::events::Events,
};

/// The context that all reconciles of this process share.
pub(crate) struct Context<C: Cognito> {
    pub(super) config: Config,
    pub(super) client: Client,
    pub(super) store: Store,
    pub(super) user_records: UserRecordLists,
    pub(super) cognito: C,
    pub(super) grants: Arc<SharedGrants>,
    pub(super) confirmation: Arc<Confirmation>,
    pub(super) turns: Turns,
    /// The slots of closings, by namespace.
    pub(super) closings: Mutex<Closings>,
    pub(super) events: Events,
    pub(super) invalid_objects: InvalidObjects,
    pub(super) metrics: Metrics,
    pub(super) user_locks: UserLocks,
    pub(super) first_observed: Mutex<FirstObserved>,
    pub(super) lasting_waits: Mutex<LastingWaits>,
    pub(super) refused_writes: Mutex<RefusedWrites>,
    pub(super) held_up: HeldUp,
    /// The start of the monotonic clock.
    pub(super) started: Instant,
}

impl<C: Cognito> Context<C> {
    /// Puts the parts together.
    pub(crate) fn new(
        config: Config,
        client: Client,
        cognito: C,
        confirmation: Arc<Confirmation>,
        events: Events,
        invalid_objects: InvalidObjects,
        metrics: Metrics,
    ) -> Self {
        Self {
            store: Store::new(client.clone(), config.api_timeout),
            user_records: UserRecordLists::new(client.clone(), config.api_timeout),
            client,
            cognito,
            grants: confirmation.grants(),
            confirmation,
            turns: Turns::new(config.limits.clone()),
            closings: Mutex::default(),
            events,
            invalid_objects,
            metrics,
            user_locks: UserLocks::default(),
            first_observed: Mutex::default(),
            lasting_waits: Mutex::new(LastingWaits::new(config.patience)),
            refused_writes: Mutex::new(RefusedWrites::new(config.machine.waits.backoff)),
            held_up: HeldUp::new(config.most_held_up),
            started: Instant::now(),
            config,
        }
    }

    /// Returns the client of Cognito.
    pub(crate) const fn cognito(&self) -> &C {
        &self.cognito
    }

    /// Returns the back-off between attempts.
    #[must_use]
    pub(crate) fn backoff(&self) -> Backoff {
        self.config.machine.waits.backoff
    }

    /// Returns true if there are effects that are known and could not be stored yet.
    pub(crate) fn holds_effects(&self) -> bool {
        !self.held_up.records().is_empty()
    }

    /// Logs the records whose effect would be lost if the process ended now.
    pub(crate) fn report_held_up(&self) {
        let records = self.held_up.records();
        if !records.is_empty() {
            let (number, records) = (records.len(), records.join(" "));
            // Not a warning, of which one a minute is written.
            error!(
                number, %records,
                "the results of these requests are not in their records yet, because the API server does not accept them; if the operator ends before it does, their outcome may be Unknown"
            );
        }
    }

    /// Forgets a request that has ended or is gone.
    pub(super) fn forget(&self, identity: &Identity, uid: Option<&str>) {
        let record = identity.record_name();
        self.first_observed.lock().forget(&record);
        self.refused_writes.lock().forget(&record);
        self.lasting_waits.lock().forget(&identity.request.namespace, &identity.request.name);
        if let Some(uid) = uid {
            self.release_closing(Key::of_uid(uid));
        }
    }

    /// Lets no further claim and no further call begin.
    pub(crate) fn stop_turns(&self) {
        self.turns.stop();
    }

    /// Releases the place of a request among the closings of its namespace.
    pub(super) fn release_closing(&self, request: Key) {
        self.closings.lock().forget(request);
    }

    /// Releases the places of all requests but these.
    pub(super) fn retain_closings(&self, requests: &HashSet<Key>) {
        self.closings.lock().retain(requests);
    }
}
