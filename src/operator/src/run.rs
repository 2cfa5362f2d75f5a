//! Creates and connects all parts of the operator, from the flags to the shutdown.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use cognito_reset_aws::{
    client::{Aws, Limits},
    endpoint::Unusable,
};
use cognito_reset_core::{
    action::port::Cognito,
    dispatch::Pacer,
    ledger::{Backoff, Waits},
    panics::caught,
};
use jiff::SignedDuration;
use kube::{Client, runtime::watcher};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    cli::RunArgs,
    controllers::{
        grant::{self, role_check, shared::SharedGrants},
        orphaned_claims,
        request::{
            self,
            performer::{Performer, Settings, most_held_up},
        },
        retention::{self, Retention, store::RetentionStore},
    },
    kube::{
        config::{Cluster, ClusterError},
        lease::{Election, Leadership},
        preflight::{self, Needs, StartError},
        store::Store,
    },
    telemetry::{
        events::Events,
        invalid_objects::InvalidObjects,
        metrics::Metrics,
        server::{self, Health},
    },
};

/// The time beyond the server's own timeout for which a watch may be silent.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// The margin between the longest call and the moment when an open claim of another process is
/// resolved.
const IN_FLIGHT_MARGIN: Duration = Duration::from_secs(5);
/// The shortest wait that is written into a status.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_secs(2);

/// The number of initial retry pauses that a wait for AWS has to last before an Event reports it.
const LASTING: u32 = 4;

/// The shortest retention without a warning: a shorter one is probably a mistake.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// An error that ends the operator.
#[derive(Debug, Error)]
pub enum RunError {
    /// No cluster is configured, or its configuration cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster lacks something that the operator needs.
    #[error(transparent)]
    Start(#[from] StartError),
    /// User names would be sent to a server that does not belong to AWS, or nothing could ever be
    /// sent.
    #[error(transparent)]
    Aws(#[from] Unusable),
    /// The port is in use.
    #[error("failed to listen on {address}: {cause}; choose another with --listen")]
    Listen {
        /// The address.
        address: String,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// Probes are no longer served, so the kubelet would end the process.
    #[error("failed to serve /livez, /readyz and /metrics any longer: {0}")]
    Unserved(String),
    /// The operating system returned an error.
    #[error("failed to {0}: {1}")]
    System(&'static str, io::Error),
    /// The Lease is lost; another replica may be leading by now.
    #[error(
        "failed to keep the lease: it could not be renewed in time or another replica has it; what is in flight is resolved by the next leader"
    )]
    LeaseLost,
    /// Calls were still in flight when the shutdown timeout ended.
    #[error("failed to finish what was in flight within {0:?}; the next start resolves it without a second call")]
    Unfinished(Duration),
}

/// Runs the operator until it is asked to stop and calls in flight have finished.
///
/// # Errors
/// Returns an error that prevents the operator from starting, or from stopping in time.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    // This comes before all slow steps, so that `/readyz` can say why the operator is not ready.
    let listener =
        server::bind(args.listen).map_err(|cause| RunError::Listen { address: args.listen.to_string(), cause })?;
    let health = Health::new(Arc::new(Metrics::new()));
    let stop = CancellationToken::new();
    // The future and its parts are boxed: a debug build would otherwise copy the whole operator
    // from stack frame to stack frame.
    beside(server::serve(listener, health.clone()), Box::pin(start(args, health, &stop)), &stop).await
}

/// Runs `work`, and stops it in an orderly way if the server beside it ends, with an error, a panic
/// or without a reason.
async fn beside(
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    work: impl Future<Output = Result<(), RunError>>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let mut work = pin!(work);
    let ended = tokio::select! {
        result = &mut work => return result,
        ended = tokio::spawn(caught(serving)) => ended,
    };
    let cause = match ended {
        Ok(Ok(Ok(()))) => "it has ended".to_owned(),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(panicked)) => panicked.to_string(),
        Err(error) => error.to_string(),
    };
    let unserved = RunError::Unserved(cause);
    error!(error = %unserved, "probes are not answered any more");
    stop.cancel();
    work.await.and(Err(unserved))
}

/// Checks the cluster and the configuration, and works until `stop` is cancelled.
async fn start(args: RunArgs, health: Health, stop: &CancellationToken) -> Result<(), RunError> {
    let mut cluster = Cluster::find().await?;
    let config = &mut cluster.config;
    config.read_timeout = Some(args.watch_timeout + WATCH_GRACE);
    config.reset_reader_on_write = true;
    config.connect_timeout = Some(args.api_timeout);
    let limits = Limits { connect: args.connect_timeout, call: args.call_timeout, read: args.read_timeout };
    let cognito = Aws::from_environment(limits).await?;
    cognito.check(args.allow_test_endpoints)?;
    if args.allow_test_endpoints {
        warn!("endpoints other than AWS's own are allowed: this is for tests");
    }
    let url = cluster.described();
    let namespace = args.lease_namespace.clone().unwrap_or_else(|| cluster.config.default_namespace.clone());
    let lease = args.lease.then_some(namespace);
    let client = cluster.client()?;
    let needs = Needs { lease: lease.as_deref(), retention: !args.record_retention.is_zero() };
    preflight::check(&client, &url, needs, args.api_timeout).await?;
    if needs.retention && args.record_retention < SHORT_RETENTION {
        warn!(
            "records are kept for less than a day: a request that is deleted and applied again after that resets again"
        );
    }
    info!(version = env!("CARGO_PKG_VERSION"), identity = %args.identity, server = %url, listen = %args.listen, "starting");
    stop_on_signal(stop.clone())?;
    Box::pin(serve(args, lease, client, cognito, health, stop.clone())).await
}

/// Runs with any implementation of Cognito until `stop` is cancelled, with a Lease in the namespace
/// `lease`, if there is one.
///
/// # Errors
/// Returns an error if the Lease is lost, or if calls in flight do not finish in time.
pub async fn serve<C: Cognito>(
    args: RunArgs,
    lease: Option<String>,
    client: Client,
    cognito: C,
    health: Health,
    stop: CancellationToken,
) -> Result<(), RunError> {
    health.reading();
    let metrics = health.metrics();
    let mut election = lease.map(|namespace| {
        let (duration, limit) = (args.lease_duration, args.api_timeout);
        Election::new(client.clone(), &namespace, &args.identity, duration, limit, Arc::clone(&metrics))
    });
    let lease_refuser = election.as_ref().map_or_else(|| watch::channel(None).1, Election::refuser);
    let leadership = election.as_ref().map_or_else(|| watch::channel(Leadership::Leader).1, Election::leadership);
    let grants = Arc::new(SharedGrants::default());
    let events = Events::start(client.clone(), args.identity.clone(), Arc::clone(&metrics));
    let store = Store::new(client.clone(), args.api_timeout);
    let performer = Arc::new(Performer::new(
        settings(&args),
        store.clone(),
        cognito,
        Arc::clone(&grants),
        Pacer::new(args.rate),
        events.clone(),
        Arc::clone(&metrics),
    ));
    let retention_store = RetentionStore::new(client.clone(), args.api_timeout);
    let retention = Retention::new(retention_store, retention_settings(&args), events.clone(), Arc::clone(&metrics));
    let unreadable = InvalidObjects::new(events.clone(), Arc::clone(&metrics));
    let seconds = u32::try_from(args.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    let watched = watcher::Config::default().timeout(seconds);
    let (grants_read, when_grants) = oneshot::channel();
    let (namespaces_read, when_namespaces) = oneshot::channel();
    let watching = futures::future::join3(
        grant::grants(&client, watched.clone(), &grants, &unreadable, grants_read),
        grant::namespaces(&client, watched.clone(), &grants, namespaces_read),
        count(leadership.clone(), &metrics),
    );
    let (standing, mut leading) = (leadership.clone(), leadership);
    let work = async {
        tokio::select! {
            _ = leading.wait_for(|now| *now == Leadership::Leader) => {}
            () = stop.cancelled() => return,
        }
        let chores = futures::future::join4(
            grant::tell_grants(&client, &grants, &events, &metrics, args.api_timeout),
            role_check::run(performer.cognito(), &grants, &metrics, args.role_check_period),
            retention.run(),
            unreadable.tell(&client, args.api_timeout),
        );
        // Both may have a call in flight, and finish it.
        let (controlled, unread) = (Arc::clone(&performer), unreadable.clone());
        let resets = futures::future::join(
            request::run(&client, watched, &args, controlled, &grants, unread, &stop),
            orphaned_claims::run(store, &performer, &unreadable, args.sweep_period, &stop),
        );
        tokio::select! {
            _ = resets => {}
            _ = chores => {}
        }
    };
    let stand = async {
        // Without grants and namespaces every request would be reported as not granted, and every
        // grant as selecting no namespace.
        tokio::select! {
            _ = async { tokio::join!(when_grants, when_namespaces) } => {}
            () = stop.cancelled() => return Ok(()),
        }
        health.standing(standing, lease_refuser);
        info!("ready");
        match &mut election {
            None => work.await,
            Some(election) => tokio::select! {
                () = work => {}
                () = async { election.run().await; performer.warn_of_held_up(); } => return Err(RunError::LeaseLost),
            },
        }
        Ok(())
    };
    let late = async {
        stop.cancelled().await;
        info!("stopping: finishing what is in flight");
        performer.warn_of_held_up();
        health.stopping();
        tokio::time::sleep(args.shutdown_timeout).await;
        performer.warn_of_held_up();
    };
    let result = tokio::select! {
        result = stand => result,
        _ = watching => Ok(()),
        () = late => Err(RunError::Unfinished(args.shutdown_timeout)),
    };
    if let Some(election) = election {
        election.release().await;
    }
    info!("stopped");
    result
}

/// Updates the metric of the leadership.
async fn count(mut leadership: watch::Receiver<Leadership>, metrics: &Metrics) {
    loop {
        metrics.leadership(*leadership.borrow_and_update());
        if leadership.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn settings(args: &RunArgs) -> Settings {
    let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Settings {
        holder: args.identity.clone(),
        claim_limit: args.claim_timeout,
        waits: Waits {
            backoff: Backoff { initial: signed(args.retry_initial), max: signed(args.retry_max) },
            in_flight: signed(args.claim_timeout + args.call_timeout + IN_FLIGHT_MARGIN),
        },
        probes: args.probes,
        probe_pause: args.probe_pause,
        patience: args.retry_initial * LASTING,
        shown_wait: SHOWN_WAIT,
        most_held_up: most_held_up(args.concurrency),
    }
}

fn retention_settings(args: &RunArgs) -> retention::Settings {
    let retention = SignedDuration::try_from(args.record_retention).unwrap_or(SignedDuration::MAX);
    retention::Settings {
        retention: (!retention.is_zero()).then_some(retention),
        records_period: args.retention_period,
        requests_period: args.sweep_period,
        rate: args.collect_rate,
    }
}

/// Cancels the token on SIGTERM or SIGINT.
fn stop_on_signal(stop: CancellationToken) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| RunError::System("listen for signals", error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

#[cfg(test)]
mod tests;
