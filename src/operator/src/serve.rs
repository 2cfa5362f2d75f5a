//! Runs the tasks of the operator, from the first list of grants to the shutdown.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{action::port::Cognito, refusal::Refuser};
use kube::Client;
use thiserror::Error;
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    cli::RunArgs,
    controllers::{
        grant::{self, confirmation::Confirmation, role_check, shared::SharedGrants},
        invalid_objects::InvalidObjects,
        orphaned_claims, request,
        retention::Retention,
    },
    kube::{
        lease::{Election, Leadership, LeadershipMetric},
        store::Store,
    },
    metrics::Metrics,
    tasks::{TaskError, Tasks},
    telemetry::{
        events::Events,
        server::{Checks, Health},
    },
};

/// The tasks that have calls to Cognito in flight, and finish them when the operator is asked to
/// stop.
const FINISHING: [&str; 2] = ["requests", "orphaned-claims"];
const LEASE: &str = "lease";
/// The time between two looks whether a stopping process still holds effects.
const HOLDS_EFFECTS_INTERVAL: Duration = Duration::from_secs(1);

/// The clients and the Lease with which the operator works.
pub struct Prepared<C> {
    /// The client of the API server.
    pub client: Client,
    /// The client of Cognito.
    pub cognito: C,
    /// The namespace of the Lease, if there is to be one.
    pub lease: Option<String>,
}

/// An error that ends the work.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A task of the operator ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Calls were still in flight when the shutdown timeout ended.
    #[error("failed to finish the calls in flight within {0:?}; the next start resolves them without a second call")]
    Unfinished(Duration),
}

/// Runs with any implementation of Cognito until `signalled` is cancelled.
///
/// # Errors
/// Returns an error if a task ends unexpectedly, if the Lease is lost, or if calls in flight do not
/// finish in time. In each case the calls in flight are finished first.
pub async fn serve<C: Cognito>(
    mut tasks: Tasks,
    args: RunArgs,
    prepared: Prepared<C>,
    metrics: &Metrics,
    health: Health,
    signalled: CancellationToken,
) -> Result<(), ServeError> {
    health.reading();
    let stop = signalled.child_token();
    let Prepared { client, cognito, lease } = prepared;
    let election = lease.map(|namespace| {
        let process = metrics.process.clone();
        let count = move |refuser: &Refuser| process.write_refused("lease", refuser.kind());
        Election::new(client.clone(), &namespace, &args.identity, args.lease_duration, args.api_timeout, count)
            .watching(&args.watch_namespaces)
    });
    let released = CancellationToken::new();
    let shutdown_timeout = args.shutdown_timeout;
    let operator = Operator::new(&args, client, cognito, metrics, health, &mut tasks);
    let worked = Box::pin(operator.work(&mut tasks, election, released.clone(), &stop)).await;
    // No promise depends on the Lease, so its loss is no reason to lose what the calls in flight
    // return.
    if let Err(error) = &worked {
        error!(%error, "stopping because a task ended");
        stop.cancel();
    }
    let stopped = operator.stop(&mut tasks, shutdown_timeout, &signalled).await;
    released.cancel();
    tasks.join(LEASE).await;
    if let (Err(_), Err(error)) = (&worked, &stopped) {
        error!(%error, "unable to stop in an orderly way");
    }
    worked?;
    stopped?;
    info!("stopped");
    Ok(())
}

/// The parts of the operator that its tasks share.
struct Operator<C: Cognito> {
    health: Health,
    leadership: LeadershipMetric,
    grants: Arc<grant::context::Context>,
    confirmation: Arc<Confirmation>,
    requests: Arc<request::context::Context<C>>,
    orphaned_claims: Arc<orphaned_claims::context::Context<C>>,
    retention: Arc<Retention>,
    invalid_objects: InvalidObjects,
    client: Client,
    api_timeout: Duration,
}

impl<C: Cognito> Operator<C> {
    fn new(args: &RunArgs, client: Client, cognito: C, metrics: &Metrics, health: Health, tasks: &mut Tasks) -> Self {
        let Metrics { process, api_requests: _, leadership, requests, grants, orphaned_claims, retention } = metrics;
        let (events, publishing) = Events::new(client.clone(), args.identity.clone(), process.clone());
        tasks.spawn_loop("events", publishing);
        let invalid_objects = InvalidObjects::new(events.clone(), process.clone());
        let index = SharedGrants::new(args.grant_freshness, args.user_state_source, args.watch_namespaces.clone());
        let confirmation = Arc::new(Confirmation::new(client.clone(), grants.clone(), index));
        let grants = Arc::new(grant::context::Context::new(
            args.into(),
            client.clone(),
            events.clone(),
            invalid_objects.clone(),
            grants.clone(),
            Arc::clone(&confirmation),
        ));
        let requests = Arc::new(request::context::Context::new(
            args.into(),
            client.clone(),
            cognito,
            Arc::clone(&confirmation),
            events.clone(),
            invalid_objects.clone(),
            requests.clone(),
        ));
        let orphaned_claims = Arc::new(orphaned_claims::context::Context::new(
            args.into(),
            Store::new(client.clone(), args.api_timeout),
            Arc::clone(&requests),
            invalid_objects.clone(),
            orphaned_claims.clone(),
        ));
        let retention =
            Arc::new(Retention::new(args.into(), client.clone(), confirmation.grants(), events, retention.clone()));
        let (leadership, api_timeout) = (leadership.clone(), args.api_timeout);
        Self {
            health,
            leadership,
            grants,
            confirmation,
            requests,
            orphaned_claims,
            retention,
            invalid_objects,
            client,
            api_timeout,
        }
    }

    /// Starts one task after the other, as soon as each can work, and returns when `stop` is
    /// cancelled.
    async fn work(
        &self,
        tasks: &mut Tasks,
        election: Option<Election>,
        released: CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), TaskError> {
        let lease_refuser = election.as_ref().map_or_else(|| watch::channel(None).1, Election::refuser);
        let leadership = election.as_ref().map_or_else(|| watch::channel(Leadership::Leader).1, Election::leadership);
        let (metric, followed) = (self.leadership.clone(), leadership.clone());
        tasks.spawn_loop("leadership-metric", async move { metric.follow(followed).await });
        // Without grants and namespaces every request would be reported as not granted, and every
        // grant as selecting no namespace. Without holds one that holds could be missed.
        let read = self.watch(tasks);
        if tasks.until(stop, read).await?.is_none() {
            return Ok(());
        }
        let (grants, requests) = (self.confirmation.grants(), Arc::clone(&self.requests));
        let checks = Checks {
            are_grants_confirmed: Arc::new(move || grants.is_confirming()),
            holds_effects: Arc::new(move || requests.holds_effects()),
        };
        self.health.serving(leadership.clone(), lease_refuser, checks);
        info!("ready");
        if let Some(election) = election {
            tasks.spawn(LEASE, elect(election, released));
        }
        let mut leading = leadership;
        let leads = async { leading.wait_for(|now| *now == Leadership::Leader).await.is_ok() };
        if tasks.until(stop, leads).await?.is_none() {
            return Ok(());
        }
        self.lead(tasks, stop);
        tasks.until(stop, std::future::pending::<()>()).await?;
        Ok(())
    }

    /// Starts the watches of grants, holds and namespaces. The result is ready when all have been
    /// listed.
    fn watch(&self, tasks: &mut Tasks) -> impl Future<Output = ()> + use<C> {
        let (grants_read, grants) = oneshot::channel();
        let (holds_read, holds) = oneshot::channel();
        let (namespaces_read, namespaces) = oneshot::channel();
        let context = Arc::clone(&self.grants);
        tasks.spawn_loop("grant-watch", async move { grant::watch_grants(&context, grants_read).await });
        let context = Arc::clone(&self.grants);
        tasks.spawn_loop("hold-watch", async move { grant::holds::watch(&context, holds_read).await });
        let context = Arc::clone(&self.grants);
        tasks.spawn_loop("namespace-watch", async move { grant::watch_namespaces(&context, namespaces_read).await });
        async {
            // A sender that is dropped without a value belongs to a task whose end is reported by
            // its name.
            let _ = tokio::join!(grants, holds, namespaces);
        }
    }

    /// Starts what only one replica does at a time.
    fn lead(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        let confirmation = Arc::clone(&self.confirmation);
        tasks.spawn_loop("grant-confirmation", async move { confirmation.run().await });
        let context = Arc::clone(&self.grants);
        tasks.spawn_loop("grant-status", async move { grant::write_statuses(&context).await });
        let context = Arc::clone(&self.grants);
        tasks.spawn_loop("hold-status", async move { grant::holds::write_statuses(&context).await });
        let (context, requests) = (Arc::clone(&self.grants), Arc::clone(&self.requests));
        tasks.spawn_loop("role-check", async move { role_check::run(&context, requests.cognito()).await });
        let retention = Arc::clone(&self.retention);
        tasks.spawn_loop("retention", async move { retention.run().await });
        let (client, invalid_objects, timeout) = (self.client.clone(), self.invalid_objects.clone(), self.api_timeout);
        tasks.spawn_loop("invalid-objects", async move { invalid_objects.write_statuses(&client, timeout).await });
        // These call Cognito.
        let [requests, claims] = FINISHING;
        let (context, stopped) = (Arc::clone(&self.requests), stop.clone());
        tasks.spawn_loop(requests, async move { request::run(context, &stopped).await });
        let (context, stopped) = (Arc::clone(&self.orphaned_claims), stop.clone());
        tasks.spawn_loop(claims, async move { orphaned_claims::run(&context, &stopped).await });
    }

    /// Waits until calls in flight have finished.
    async fn stop(
        &self,
        tasks: &mut Tasks,
        shutdown_timeout: Duration,
        signalled: &CancellationToken,
    ) -> Result<(), ServeError> {
        info!("stopping: finishing the calls in flight");
        self.requests.stop_turns();
        self.requests.report_held_up();
        self.health.stopping();
        tokio::select! {
            finished = tasks.finish(&FINISHING) => return Ok(finished?),
            () = self.shutdown_limit(shutdown_timeout, signalled) => {}
        }
        self.requests.report_held_up();
        Err(ServeError::Unfinished(shutdown_timeout))
    }

    /// Waits until the shutdown has taken too long. Without a signal nobody kills the process, so
    /// it takes the time to store the effects that it alone knows.
    async fn shutdown_limit(&self, shutdown_timeout: Duration, signalled: &CancellationToken) {
        sleep(shutdown_timeout).await;
        while !signalled.is_cancelled() && self.requests.holds_effects() {
            if timeout(HOLDS_EFFECTS_INTERVAL, signalled.cancelled()).await.is_ok() {
                sleep(shutdown_timeout).await;
            }
        }
    }
}

/// Takes part in the election, until the Lease is lost or is to be released.
async fn elect(mut election: Election, released: CancellationToken) -> Result<(), TaskError> {
    tokio::select! {
        () = election.run() => return Err(TaskError::LeaseLost),
        () = released.cancelled() => {}
    }
    election.release().await;
    Ok(())
}
