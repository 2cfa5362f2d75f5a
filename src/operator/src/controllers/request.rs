//! The controller of requests: it watches pending ones only, and hands out turns to reconcile them.

pub(crate) mod config;
pub(crate) mod context;
mod held_up;
mod invalid;
mod known;
pub(crate) mod metrics;
mod notes;
mod pending;
pub(crate) mod reconcile;
mod running;
mod turns;
mod user_locks;

use std::{pin::pin, sync::Arc, time::Instant};

use cognito_reset_core::{
    action::port::Cognito,
    dispatch::{lane::Lane, turns::Turn},
    machine::{Next, Start, state::PaceReason},
};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher::watcher},
};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use crate::{
    controllers::request::{
        context::Context,
        pending::{Pending, Work},
        reconcile::span,
        running::{End, Running},
        turns::pace_reason,
    },
    kube::{errors::of_watch, trimmed::TrimmedRequest},
};

/// The number of requests in one page of the first list. With 1.5 MiB each, the maximum of etcd,
/// they fit into the memory of a small container.
const PAGE: u32 = 25;
/// The estimate of the wait of a request whose status says that it waits for its turn. It is only
/// compared with the shortest wait that is written into a status.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Works on pending requests until `stop` is cancelled and what is in flight has finished.
///
/// A request that waits costs no task, no timer and no request to the API server. Nothing begins
/// before the first list is complete.
pub(crate) async fn run<C: Cognito>(context: Arc<Context<C>>, stop: &CancellationToken) {
    let config = context.config.watch.clone().fields("status.outcome=Pending").page_size(PAGE);
    let mut events = pin!(watcher(Api::<TrimmedRequest>::all(context.client.clone()), config).default_backoff());
    let (mut changes, mut moved_up) = (context.grants.changes(), context.grants.moved_up());
    let mut pending = Pending::new(Arc::clone(&context));
    let mut running = Running::default();
    let mut is_listed = false;
    loop {
        if is_listed {
            hand_out(&context, &mut pending, &mut running);
        }
        let wake_at = context.turns.with(|dispatcher, _| dispatcher.wake_at()).filter(|_| is_listed);
        let wake_at = wake_at.into_iter().chain(pending.report_at()).min();
        tokio::select! {
            () = stop.cancelled() => break,
            Some((turn, end)) = running.ended() => pending.finished(&turn, end),
            event = events.try_next() => match event {
                Ok(Some(event)) => is_listed |= pending.follow(event),
                Ok(None) => break,
                Err(error) => warn!(error = %of_watch(&error), "unable to watch requests; retrying"),
            },
            Ok(()) = changes.changed() => pending.grants_changed(),
            Some(key) = moved_up.next() => pending.moved_up([key]),
            () = context.turns.changed() => {}
            () = sleep_until(wake_at.unwrap_or_else(Instant::now).into()), if wake_at.is_some() => pending.report_again(),
        }
    }
    while let Some((turn, end)) = running.ended().await {
        pending.finished(&turn, end);
    }
}

/// Starts a task for each turn that is due.
fn hand_out<C: Cognito>(context: &Arc<Context<C>>, pending: &mut Pending<C>, running: &mut Running) {
    while let Some(turn) = context.turns.with(|dispatcher, now| dispatcher.next(now)) {
        match pending.work(&turn) {
            Some(work) => running.spawn(turn, |turn| reconcile(Arc::clone(context), turn, work)),
            None => pending.finished(&turn, Ok(Next::Done)),
        }
    }
}

/// Reconciles a request in its turn.
async fn reconcile<C: Cognito>(context: Arc<Context<C>>, turn: Arc<Turn>, work: Work) -> End {
    let span = span("request", &work.identity);
    let executed = async {
        let _working = context.metrics.working();
        let start = start(&turn, &work);
        let end = context.execute(work.identity, start, Some(&turn)).await;
        end.inspect_err(|error| warn!(%error, "unable to reconcile a request; retrying"))
    };
    executed.instrument(span).await
}

/// Returns what the reconcile of a turn begins with.
fn start(turn: &Turn, Work { assume_unclaimed, own_account, .. }: &Work) -> Start {
    match &turn.lane {
        Lane::Api => {
            let now = Timestamp::now();
            match turn.shows {
                Some(shows) => Start::Look { reason: pace_reason(shows), until: now + SHOWN_WAIT },
                None => Start::Look { reason: PaceReason::RateLimited, until: now },
            }
        }
        lane @ Lane::Cognito { .. } => {
            let (lane, grant, own_account) = (lane.clone(), turn.grant.clone(), own_account.clone());
            Start::Turn { lane, grant, own_account, source: turn.source, assume_unclaimed: *assume_unclaimed }
        }
    }
}
