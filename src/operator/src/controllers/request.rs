//! The controller of requests: it watches pending ones only, and hands out turns to reconcile them.

pub(crate) mod config;
pub(crate) mod context;
mod held_up;
mod invalid;
mod known;
mod lists;
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
    watched_namespaces::Scope,
};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    runtime::watcher::{self, Event, watcher},
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
    kube::{errors::of_watch, trimmed::TrimmedRequest, watch::merged},
};

/// The number of requests in the pages of the lists that are read at a time. With 1.5 MiB each, the
/// maximum of etcd, they fit into the memory of a small container.
const PAGE: usize = 25;
/// The estimate of the wait of a request whose status says that it waits for its turn. It is only
/// compared with the shortest wait that is written into a status.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// An event of the watch of a scope.
type Watched = (Scope, watcher::Result<Event<TrimmedRequest>>);

/// Works on pending requests until `stop` is cancelled and what is in flight has finished.
///
/// A request that waits costs no task, no timer and no request to the API server. No request gets a
/// turn before the first list that contains it is complete: that of the cluster, or of its
/// namespace.
pub(crate) async fn run<C: Cognito>(context: Arc<Context<C>>, stop: &CancellationToken) {
    let mut events = pin!(watch_requests(&context));
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
            event = events.next() => match event {
                Some((scope, Ok(event))) => is_listed |= pending.follow(&scope, event),
                Some((namespace, Err(error))) => {
                    warn!(namespace = namespace.as_deref(), error = %of_watch(&error), "unable to watch requests; retrying");
                }
                None => break,
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

/// Watches the pending requests of the cluster, or of each watched namespace.
fn watch_requests<C: Cognito>(context: &Context<C>) -> impl Stream<Item = Watched> + use<C> {
    let scopes = context.config.watched.scopes();
    let page = u32::try_from(PAGE / scopes.len().max(1)).unwrap_or(u32::MAX).max(1);
    let config = context.config.watch.clone().fields("status.outcome=Pending").page_size(page);
    let client = context.client.clone();
    merged(scopes, move |namespace| {
        let api: Api<TrimmedRequest> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        watcher(api, config.clone())
    })
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
