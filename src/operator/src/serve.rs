//! Runs the tasks of the operator, from the first list of grants to the shutdown.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{
    action::port::Cognito,
    dispatch::Pacer,
    ledger::{Backoff, Waits},
    machine::{Settings, signed},
};
use jiff::SignedDuration;
use kube::{Client, runtime::watcher};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    cli::RunArgs,
    controllers::{
        grant::{self, role_check, shared::SharedGrants},
        orphaned_claims,
        request::{
            self,
            context::{Context, ContextSettings, most_held_up},
        },
        retention::{self, Retention, store::RetentionStore},
    },
    kube::{
        lease::{Election, Leadership},
        store::Store,
    },
    run::RunError,
    tasks::{TaskError, Tasks},
    telemetry::{events::Events, invalid_objects::InvalidObjects, metrics::Metrics, server::Health},
};

/// The margin between the longest call and the moment when an open claim of another process is
/// resolved.
const IN_FLIGHT_MARGIN: Duration = Duration::from_secs(5);
/// The shortest wait that is written into a status.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// The number of times that a reconcile reads request and record because a write met a change.
const MOST_READS: u32 = 10;
/// The number of initial retry pauses that a wait for AWS has to last before an Event reports it.
const LASTING: u32 = 4;

/// The tasks that have calls to Cognito in flight, and finish them when the operator is asked to stop.
const FINISHING: [&str; 2] = ["requests", "orphaned-claims"];
const LEASE: &str = "lease";

/// Runs with any implementation of Cognito until `stop` is cancelled, with a Lease in the namespace
/// `lease`, if there is one.
///
/// # Errors
/// Returns an error if a task ends unexpectedly, if the Lease is lost, or if calls in flight do not
/// finish in time.
pub async fn serve<C: Cognito>(
    mut tasks: Tasks,
    args: RunArgs,
    lease: Option<String>,
    client: Client,
    cognito: C,
    health: Health,
    stop: CancellationToken,
) -> Result<(), RunError> {
    health.reading();
    let election = lease.map(|namespace| {
        let (duration, limit) = (args.lease_duration, args.api_timeout);
        Election::new(client.clone(), &namespace, &args.identity, duration, limit, health.metrics())
    });
    let released = CancellationToken::new();
    let shutdown_timeout = args.shutdown_timeout;
    let operator = Operator::new(args, client, cognito, health, &mut tasks);
    let worked = Box::pin(operator.work(&mut tasks, election, released.clone(), &stop)).await;
    if let Err(TaskError::LeaseLost) = worked {
        // Another replica may be leading by now, and resolves what is in flight.
        return Ok(worked?);
    }
    if let Err(error) = &worked {
        error!(%error, "stopping because a task ended");
        stop.cancel();
    }
    let stopped = operator.stop(&mut tasks, shutdown_timeout).await;
    if !matches!(stopped, Err(RunError::Task(TaskError::LeaseLost))) {
        released.cancel();
        tasks.join(LEASE).await;
    }
    worked?;
    stopped?;
    info!("stopped");
    Ok(())
}

/// The parts of the operator that its tasks share.
struct Operator<C: Cognito> {
    args: Arc<RunArgs>,
    client: Client,
    health: Health,
    metrics: Arc<Metrics>,
    grants: Arc<SharedGrants>,
    events: Events,
    store: Store,
    context: Arc<Context<C>>,
    invalid_objects: InvalidObjects,
    watched: watcher::Config,
}

impl<C: Cognito> Operator<C> {
    fn new(args: RunArgs, client: Client, cognito: C, health: Health, tasks: &mut Tasks) -> Self {
        let metrics = health.metrics();
        let grants = Arc::new(SharedGrants::default());
        let (events, publishing) = Events::new(client.clone(), args.identity.clone(), Arc::clone(&metrics));
        tasks.spawn_loop("events", publishing);
        let store = Store::new(client.clone(), args.api_timeout);
        let context = Arc::new(Context::new(
            settings(&args),
            store.clone(),
            cognito,
            Arc::clone(&grants),
            Pacer::new(args.rate),
            events.clone(),
            Arc::clone(&metrics),
        ));
        let invalid_objects = InvalidObjects::new(events.clone(), Arc::clone(&metrics));
        let seconds = u32::try_from(args.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let watched = watcher::Config::default().timeout(seconds);
        let args = Arc::new(args);
        Self { args, client, health, metrics, grants, events, store, context, invalid_objects, watched }
    }

    /// Starts one task after the other, as soon as each can work, and returns when `stop` is cancelled.
    async fn work(
        &self,
        tasks: &mut Tasks,
        election: Option<Election>,
        released: CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), TaskError> {
        let lease_refuser = election.as_ref().map_or_else(|| watch::channel(None).1, Election::refuser);
        let leadership = election.as_ref().map_or_else(|| watch::channel(Leadership::Leader).1, Election::leadership);
        tasks.spawn_loop("leadership-metric", count(leadership.clone(), Arc::clone(&self.metrics)));
        // Without grants and namespaces every request would be reported as not granted, and every
        // grant as selecting no namespace.
        let read = self.watch(tasks);
        if tasks.until(stop, read).await?.is_none() {
            return Ok(());
        }
        self.health.standing(leadership.clone(), lease_refuser);
        info!("ready");
        if let Some(election) = election {
            tasks.spawn(LEASE, self.elect(election, released));
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

    /// Starts the watches of grants and namespaces. The result is ready when both have been listed.
    fn watch(&self, tasks: &mut Tasks) -> impl Future<Output = ()> + use<C> {
        let (grants_read, grants) = oneshot::channel();
        let (namespaces_read, namespaces) = oneshot::channel();
        let (client, watched, index) = (self.client.clone(), self.watched.clone(), Arc::clone(&self.grants));
        let invalid_objects = self.invalid_objects.clone();
        tasks.spawn_loop("grant-watch", async move {
            grant::grants(&client, watched, &index, &invalid_objects, grants_read).await;
        });
        let (client, watched, index) = (self.client.clone(), self.watched.clone(), Arc::clone(&self.grants));
        tasks.spawn_loop("namespace-watch", async move {
            grant::namespaces(&client, watched, &index, namespaces_read).await;
        });
        async {
            // A sender that is dropped without a value belongs to a task whose end is reported by
            // its name.
            let _ = tokio::join!(grants, namespaces);
        }
    }

    /// Takes part in the election, until the Lease is lost or is to be released.
    fn elect(
        &self,
        mut election: Election,
        released: CancellationToken,
    ) -> impl Future<Output = Result<(), TaskError>> + use<C> {
        let context = Arc::clone(&self.context);
        async move {
            tokio::select! {
                () = election.run() => {
                    context.warn_of_held_up();
                    return Err(TaskError::LeaseLost);
                }
                () = released.cancelled() => {}
            }
            election.release().await;
            Ok(())
        }
    }

    /// Starts what only one replica does at a time.
    fn lead(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        let limit = self.args.api_timeout;
        let (client, grants, events) = (self.client.clone(), Arc::clone(&self.grants), self.events.clone());
        let metrics = Arc::clone(&self.metrics);
        tasks.spawn_loop("grant-status", async move {
            grant::write_statuses(&client, &grants, &events, &metrics, limit).await;
        });
        let (context, grants, metrics) =
            (Arc::clone(&self.context), Arc::clone(&self.grants), Arc::clone(&self.metrics));
        let period = self.args.role_check_interval;
        tasks.spawn_loop("role-check", async move {
            role_check::run(context.cognito(), &grants, &metrics, period).await;
        });
        let store = RetentionStore::new(self.client.clone(), limit);
        let settings = retention_settings(&self.args);
        let retention = Retention::new(store, settings, self.events.clone(), Arc::clone(&self.metrics));
        tasks.spawn_loop("retention", async move { retention.run().await });
        let (client, invalid_objects) = (self.client.clone(), self.invalid_objects.clone());
        tasks.spawn_loop("invalid-objects", async move { invalid_objects.write_statuses(&client, limit).await });
        self.reset(tasks, stop);
    }

    /// Starts what calls Cognito.
    fn reset(&self, tasks: &mut Tasks, stop: &CancellationToken) {
        let [requests, claims] = FINISHING;
        let (client, watched, args) = (self.client.clone(), self.watched.clone(), Arc::clone(&self.args));
        let (context, grants) = (Arc::clone(&self.context), Arc::clone(&self.grants));
        let (invalid_objects, stopped) = (self.invalid_objects.clone(), stop.clone());
        tasks.spawn_loop(requests, async move {
            request::run(&client, watched, &args, context, &grants, invalid_objects, &stopped).await;
        });
        let (store, context) = (self.store.clone(), Arc::clone(&self.context));
        let (invalid_objects, period, stop) = (self.invalid_objects.clone(), self.args.sweep_interval, stop.clone());
        tasks.spawn_loop(claims, async move {
            orphaned_claims::run(store, &context, &invalid_objects, period, &stop).await;
        });
    }

    /// Waits until calls in flight have finished.
    async fn stop(&self, tasks: &mut Tasks, limit: Duration) -> Result<(), RunError> {
        info!("stopping: finishing the calls in flight");
        self.context.warn_of_held_up();
        self.health.stopping();
        if let Ok(finished) = timeout(limit, tasks.finish(&FINISHING)).await {
            return Ok(finished?);
        }
        self.context.warn_of_held_up();
        Err(RunError::Unfinished(limit))
    }
}

/// Updates the metric of the leadership.
async fn count(mut leadership: watch::Receiver<Leadership>, metrics: Arc<Metrics>) {
    loop {
        metrics.leadership(*leadership.borrow_and_update());
        if leadership.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn settings(args: &RunArgs) -> ContextSettings {
    let machine = Settings {
        holder: args.identity.clone(),
        claim_limit: args.claim_timeout,
        waits: Waits {
            backoff: Backoff { initial: signed(args.retry_initial), max: signed(args.retry_max) },
            in_flight: signed(args.claim_timeout + args.call_timeout + IN_FLIGHT_MARGIN),
        },
        probes: args.probes,
        probe_pause: args.probe_pause,
        shown_wait: SHOWN_WAIT,
        most_reads: MOST_READS,
    };
    ContextSettings { machine, patience: args.retry_initial * LASTING, most_held_up: most_held_up(args.concurrency) }
}

fn retention_settings(args: &RunArgs) -> retention::Settings {
    let retention = signed(args.record_retention);
    retention::Settings {
        retention: (!retention.is_zero()).then_some(retention),
        records_period: args.retention_scan_interval,
        requests_period: args.sweep_interval,
        rate: args.collect_rate,
    }
}
