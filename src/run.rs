//! Wires it together, from the flags to the end.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::{Client, Config, runtime::watcher};
use thiserror::Error;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    admin::{self, Health},
    budget::Budget,
    cli::RunArgs,
    cognito::{
        aws::{Aws, Limits},
        port::Cognito,
    },
    controller,
    events::Events,
    grants::Permissions,
    metrics::Metrics,
    reset::{
        ledger::Backoff,
        perform::{Performer, Settings},
        store::Store,
    },
    rights::{self, StartError},
    sweep,
    unreadable::Unreadable,
    watches,
};

/// How much longer than the server's own limit a watch may stay silent.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// Kept free between the longest call and the moment at which another's open claim is resolved.
const IN_FLIGHT_MARGIN: Duration = Duration::from_secs(5);
/// Waits below this are not worth a write to the API server.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_secs(2);

/// Why the operator cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// No cluster is configured.
    #[error("failed to find a Kubernetes cluster: {0}; set KUBECONFIG or run in a pod")]
    Config(String),
    /// The cluster cannot be used as it is.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port is taken.
    #[error("failed to listen on {address}: {cause}; choose another with --listen")]
    Listen {
        /// The address.
        address: String,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// The operating system refuses.
    #[error("failed to {0}: {1}")]
    System(&'static str, std::io::Error),
    /// Work was still in flight at the end.
    #[error("failed to finish what was in flight within {0:?}; the next start resolves it without a second call")]
    Unfinished(Duration),
}

/// Runs the operator until it is told to stop and what is in flight has finished.
///
/// # Errors
/// What keeps it from starting, or from stopping in time.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let mut config = Config::infer().await.map_err(|error| RunError::Config(error.to_string()))?;
    // A hidden retry could repeat a claim; what is to be repeated is repeated in sight.
    config.default_retry = false;
    config.read_timeout = Some(args.watch_timeout + WATCH_GRACE);
    config.reset_reader_on_write = true;
    config.connect_timeout = Some(args.api_timeout);
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| RunError::Config(error.to_string()))?;
    rights::check(&client, &url, args.api_timeout).await?;
    let listener =
        admin::bind(args.listen).await.map_err(|cause| RunError::Listen { address: args.listen.to_string(), cause })?;
    let limits = Limits { connect: args.connect_timeout, call: args.call_timeout, read: args.read_timeout };
    let cognito = Aws::from_environment(limits).await;
    info!(version = env!("CARGO_PKG_VERSION"), identity = %args.identity, server = %url, listen = %args.listen, "starting");
    serve(args, client, cognito, listener, stop_signal()?).await
}

/// Runs against any Cognito, until `stop` is cancelled.
///
/// # Errors
/// Where what is in flight does not finish in time.
pub async fn serve<C: Cognito>(
    args: RunArgs,
    client: Client,
    cognito: C,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::new());
    let health = Health::new(Arc::clone(&metrics));
    let admin = tokio::spawn(admin::serve(listener, health.clone()));
    let permissions = Arc::new(Permissions::default());
    let events = Events::start(client.clone(), args.identity.clone(), Arc::clone(&metrics));
    let store = Store::new(client.clone(), args.api_timeout);
    let performer = Arc::new(Performer::new(
        settings(&args),
        store.clone(),
        cognito,
        Arc::clone(&permissions),
        Budget::new(args.rate),
        events.clone(),
        Arc::clone(&metrics),
    ));
    let unreadable = Unreadable::new(events, metrics);
    let seconds = u32::try_from(args.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    let watch = watcher::Config::default().timeout(seconds);
    let (grants_read, when_grants) = oneshot::channel();
    let (namespaces_read, when_namespaces) = oneshot::channel();
    let watching = futures::future::join(
        watches::grants(&client, watch.clone(), &permissions, &unreadable, grants_read),
        watches::namespaces(&client, watch.clone(), &permissions, namespaces_read),
    );
    let work = async {
        // Without them, every request would be told that it has no grant, and every grant that it selects nobody.
        tokio::select! {
            _ = async { tokio::join!(when_grants, when_namespaces) } => {}
            () = stop.cancelled() => return,
        }
        health.set_ready(true);
        info!("ready");
        let chores = futures::future::join(
            watches::tell_grants(&client, &permissions, args.api_timeout),
            sweep::run(store, &performer, args.sweep_period),
        );
        let performer = Arc::clone(&performer);
        tokio::select! {
            () = controller::run(&client, watch, &args, performer, &permissions, unreadable.clone(), &stop) => {}
            _ = chores => {}
        }
    };
    let late = async {
        stop.cancelled().await;
        info!("stopping: finishing what is in flight");
        health.set_ready(false);
        tokio::time::sleep(args.shutdown_timeout).await;
    };
    let result = tokio::select! {
        () = work => Ok(()),
        _ = watching => Ok(()),
        () = late => Err(RunError::Unfinished(args.shutdown_timeout)),
    };
    admin.abort();
    info!("stopped");
    result
}

fn settings(args: &RunArgs) -> Settings {
    let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Settings {
        holder: args.identity.clone(),
        claim_limit: args.claim_timeout,
        in_flight: args.claim_timeout + args.call_timeout + IN_FLIGHT_MARGIN,
        backoff: Backoff { initial: signed(args.retry_initial), max: signed(args.retry_max) },
        probes: args.probes,
        probe_pause: args.probe_pause,
        shown_wait: SHOWN_WAIT,
    }
}

/// Cancelled by SIGTERM or SIGINT.
fn stop_signal() -> Result<CancellationToken, RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| RunError::System("listen for signals", error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
