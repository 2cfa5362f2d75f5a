//! Starts the operator, from the flags to the checks of the cluster.

use std::{io, sync::Arc, time::Duration};

use cognito_reset_aws::{
    client::{Aws, Timeouts},
    endpoint::Unusable,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    cli::RunArgs,
    kube::{
        config::{Cluster, ClusterError},
        preflight::{self, Needs, StartError},
    },
    metrics::Metrics,
    serve::{Prepared, ServeError, serve},
    tasks::{TaskError, Tasks},
    telemetry::{
        logs::Repeats,
        server::{self, Health},
    },
};

/// The time beyond the server's own timeout for which a watch may be silent.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// The shortest retention without a warning: a shorter one is probably a mistake.
const SHORT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// An error that ends the operator.
#[derive(Debug, Error)]
pub(crate) enum RunError {
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
    /// The operating system returned an error.
    #[error("failed to {0}: {1}")]
    System(&'static str, io::Error),
    /// The operator was ready, and ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A task ended while the cluster was checked.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Runs the operator until it is asked to stop and calls in flight have finished.
///
/// # Errors
/// Returns an error that prevents the operator from starting, or from stopping in time.
pub(crate) async fn run(args: RunArgs, repeats: Arc<Repeats>) -> Result<(), RunError> {
    // This comes before all slow steps, so that `/readyz` can say why the operator is not ready.
    let listener =
        server::bind(args.listen).map_err(|cause| RunError::Listen { address: args.listen.to_string(), cause })?;
    let metrics = Metrics::default();
    let health = Health::new(Arc::new(metrics.registry()), metrics.api_requests.clone(), args.liveness_timeout);
    let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
    tasks.spawn(server::TASK, server::serve(listener, health.clone()));
    tasks.spawn_loop("log-repeats", async move { repeats.report().await });
    stop_on_signal(&mut tasks, stop.clone())?;
    // The futures are boxed: a debug build would otherwise copy the whole operator from stack frame
    // to stack frame.
    let Some(prepared) = tasks.until(&stop, Box::pin(prepare(&args, &metrics))).await? else { return Ok(()) };
    Ok(Box::pin(serve(tasks, args, prepared?, &metrics, health, stop)).await?)
}

/// Checks the cluster and the configuration.
async fn prepare(args: &RunArgs, metrics: &Metrics) -> Result<Prepared<Aws>, RunError> {
    let mut cluster = Cluster::find().await?;
    let config = &mut cluster.config;
    config.read_timeout = Some(args.watch_timeout + WATCH_GRACE);
    config.reset_reader_on_write = true;
    config.connect_timeout = Some(args.api_timeout);
    let timeouts = Timeouts { connect: args.connect_timeout, call: args.call_timeout, read: args.read_timeout };
    let cognito = Aws::from_environment(timeouts).await?;
    cognito.check(args.allow_test_endpoints)?;
    if args.allow_test_endpoints {
        warn!("--allow-test-endpoints is set: endpoints outside AWS are accepted; use it only for tests");
    }
    let url = cluster.described();
    let namespace = args.lease_namespace.clone().unwrap_or_else(|| cluster.config.default_namespace.clone());
    let lease = args.lease.then_some(namespace);
    let client = cluster.client(&metrics.api_requests)?;
    let retention = !args.record_retention.is_zero();
    let needs = Needs { lease: lease.as_deref(), retention, watched: &args.watch_namespaces };
    preflight::check(&client, &url, needs, args.api_timeout).await?;
    if needs.retention && args.record_retention < SHORT_RETENTION {
        warn!(
            "records are kept for less than a day: a request that is deleted and applied again after that resets again"
        );
    }
    let namespaces = args.watch_namespaces.listed();
    info!(version = env!("CARGO_PKG_VERSION"), identity = %args.identity, server = %url, listen = %args.listen, namespaces, "starting");
    Ok(Prepared { client, cognito, lease })
}

/// Starts the task that cancels the token on SIGTERM or SIGINT.
fn stop_on_signal(tasks: &mut Tasks, stop: CancellationToken) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| RunError::System("listen for signals", error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tasks.spawn_loop("signals", async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        // The end of a task would end the operator before calls in flight have finished.
        std::future::pending().await
    });
    Ok(())
}

#[cfg(test)]
mod tests;
