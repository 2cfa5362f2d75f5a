//! Shares the dispatcher between the task that hands out turns and the reconciles that have them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use cognito_reset_core::{
    dispatch::{
        lane::Limits,
        turns::{Dispatcher, Response, Turn, WaitsFor},
    },
    machine::state::PaceReason,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The dispatcher behind a lock, with a notification of what its turns report.
///
/// It is only lent to closures, so that the lock is never held while something is awaited.
#[derive(Debug)]
pub(crate) struct Turns {
    dispatcher: Mutex<Dispatcher>,
    changed: Notify,
    stopped: AtomicBool,
}

impl Turns {
    /// Returns a dispatcher without requests.
    pub(super) fn new(limits: Limits) -> Self {
        let dispatcher = Mutex::new(Dispatcher::new(limits, Instant::now()));
        Self { dispatcher, changed: Notify::new(), stopped: AtomicBool::new(false) }
    }

    /// Returns a value from the dispatcher, or changes it. The second argument is the time.
    pub(super) fn with<T>(&self, access: impl FnOnce(&mut Dispatcher, Instant) -> T) -> T {
        access(&mut self.dispatcher.lock(), Instant::now())
    }

    /// Waits until a reconcile has reported something that may make another turn due.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Lets no further claim and no further call begin.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Returns the reason why a turn is not valid any more: another one's response stopped its
    /// calls, or this process stops.
    ///
    /// # Errors
    /// Returns the reason.
    pub(super) fn may_begin(&self, turn: Option<&Turn>) -> Result<(), PaceReason> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(PaceReason::RateLimited);
        }
        let stopped = turn.map_or(Ok(()), |turn| self.with(|dispatcher, now| dispatcher.may_begin(turn, now)));
        stopped.map_err(pace_reason)
    }

    /// Reports the response to the call of a turn.
    pub(super) fn responded(&self, turn: &Turn, response: &Response) {
        self.with(|dispatcher, now| dispatcher.responded(turn, response, now));
        self.changed.notify_one();
    }
}

/// Returns the reason that a request shows while it waits for its turn.
pub(super) const fn pace_reason(waits_for: WaitsFor) -> PaceReason {
    match waits_for {
        WaitsFor::Turn | WaitsFor::Reason(_) | WaitsFor::Look => PaceReason::RateLimited,
        WaitsFor::Grant(limit) => PaceReason::GrantLimited(limit),
        WaitsFor::Throttled => PaceReason::Throttled,
        WaitsFor::Delivery { .. } => PaceReason::DeliveryFailing,
        WaitsFor::Service { .. } => PaceReason::CognitoUnreachable,
        WaitsFor::User => PaceReason::UserBusy,
    }
}
