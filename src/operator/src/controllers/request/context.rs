//! The context that all reconciles of this process share.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{
    action::port::Cognito,
    dispatch::Pacer,
    ledger::{Backoff, Identity},
    machine::Settings,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    controllers::{
        grant::shared::SharedGrants,
        request::{
            lasting::LastingWaits,
            refusals::{HeldUp, Refusals},
            user_locks::{FirstObserved, UserLocks},
        },
    },
    kube::store::Store,
    telemetry::{events::Events, metrics::Metrics},
};

/// The settings of the reconciles of a process.
#[derive(Clone, Debug)]
pub struct ContextSettings {
    /// The settings of each reconcile.
    pub machine: Settings,
    /// The time after which an Event reports a wait for AWS.
    pub patience: Duration,
    /// The number of requests whose effects cannot be stored from which on no request is claimed.
    pub most_held_up: usize,
}

/// Returns the number of effects that may be held up for this number of concurrent reconciles, which is 2 or more. It is at
/// most half of them, so that at least one is left for all other requests.
#[must_use]
pub const fn most_held_up(concurrency: u16) -> usize {
    (concurrency / 2) as usize
}

/// The context that all reconciles of this process share.
pub struct Context<C: Cognito> {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) cognito: C,
    pub(super) grants: Arc<SharedGrants>,
    pub(super) pacer: Mutex<Pacer>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) user_locks: UserLocks,
    pub(super) first_observed: FirstObserved,
    pub(super) lasting: LastingWaits,
    pub(super) refusals: Refusals,
    pub(super) held_up: HeldUp,
    /// The number of effects that cannot be stored from which on no request is claimed.
    pub(super) most_held_up: usize,
    /// The start of the monotonic clock.
    pub(super) started: Instant,
}

impl<C: Cognito> Context<C> {
    /// Puts the parts together.
    pub fn new(
        settings: ContextSettings,
        store: Store,
        cognito: C,
        grants: Arc<SharedGrants>,
        pacer: Pacer,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            settings: Arc::new(settings.machine),
            store,
            cognito,
            grants,
            pacer: Mutex::new(pacer),
            events,
            metrics,
            user_locks: UserLocks::default(),
            first_observed: FirstObserved::default(),
            lasting: LastingWaits::new(settings.patience),
            refusals: Refusals::default(),
            held_up: HeldUp::default(),
            most_held_up: settings.most_held_up,
            started: Instant::now(),
        }
    }

    /// Returns the client of Cognito.
    pub const fn cognito(&self) -> &C {
        &self.cognito
    }

    /// Returns the back-off between attempts.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        self.settings.waits.backoff
    }

    /// Logs the records whose effect would be lost if the process ended now.
    pub fn warn_of_held_up(&self) {
        let records = self.held_up.records();
        if !records.is_empty() {
            let (number, records) = (records.len(), records.join(" "));
            warn!(
                number, %records,
                "the results of these requests are not in their records yet, because the API server does not accept them; if the operator ends before it does, their outcome may be Unknown"
            );
        }
    }

    /// Forgets a request that has ended or is gone.
    pub(super) fn forget(&self, identity: &Identity, uid: Option<&str>) {
        let record = identity.record_name();
        self.first_observed.forget(&record);
        self.refusals.forget(&record);
        self.lasting.forget(&identity.request.namespace, &identity.request.name);
        if let Some(uid) = uid {
            self.pacer.lock().forget(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::most_held_up;
    use crate::cli::{Cli, Command};

    #[test]
    fn at_least_one_reconcile_is_never_held_up() {
        let taken = |number: u16| {
            let arguments = ["cognito-reset-operator".to_owned(), "run".into(), format!("--concurrency={number}")];
            match Cli::try_parse_from(arguments).ok()?.command {
                Command::Run(args) => Some(args.concurrency),
                Command::Crds(_) => None,
            }
        };
        let taken: Vec<u16> = (0..=1025).filter_map(taken).collect();
        assert_eq!((taken.first(), taken.last()), (Some(&2), Some(&1024)));
        for concurrency in taken {
            assert!((1..usize::from(concurrency)).contains(&most_held_up(concurrency)), "{concurrency}");
        }
    }
}
