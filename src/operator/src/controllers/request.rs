//! The controller of requests: it watches pending ones only, and reconciles each.

pub(crate) mod config;
pub(crate) mod context;
mod held_up;
pub(crate) mod metrics;
mod notes;
pub(crate) mod reconcile;
mod user_locks;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use cognito_reset_core::{
    action::port::Cognito,
    grants::NamespacedName,
    ledger::Identity,
    machine::{Next, ReconcileError},
};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, channel::mpsc, stream::select};
use kube::{
    Api, ResourceExt,
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Action},
        reflector::{self, ObjectRef, reflector},
        watcher::{Event, watcher},
    },
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};
use uuid::Uuid;

use crate::{
    controllers::request::{context::Context, reconcile::span},
    kube::{errors::of_watch, trimmed::TrimmedRequest},
};

/// The pause before a request that was gone or finished is read again if the watch still shows it
/// as pending, because a proxy may have invented a 404. Also the pause before an invalid request is
/// reported if too many are waiting for that.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// The number of requests in one page of the first list. With 1.5 MiB each, the maximum of etcd,
/// they fit into the memory of a small container.
const PAGE: u32 = 25;

/// Works on pending requests until `stop` is cancelled and what is in flight has finished.
pub(crate) async fn run<C: Cognito>(context: Arc<Context<C>>, stop: &CancellationToken) {
    let (client, watch) = (context.client.clone(), context.config.watch.clone());
    let config = watch.fields("status.outcome=Pending").page_size(PAGE);
    let changes = each(context.grants.changes());
    let (known, writer) = reflector::store();
    let (mut queues, moved_up) = Queues::new(Arc::clone(&context));
    let by_users = context.grants.moved_up().map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
    let moved_up = select(moved_up, by_users);
    let concurrency = context.config.concurrency;
    let reconciler = Arc::new(Reconciler { context, failures: Mutex::default() });
    let failures = Arc::clone(&reconciler);
    let events = watcher(Api::<TrimmedRequest>::all(client), config).inspect_ok(move |event| queues.follow(event));
    let working = Controller::for_stream(reflector(writer, events).applied_objects(), known.clone())
        .reconcile_on(moved_up)
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_all_on(changes)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry, reconciler)
        .for_each(|result| async {
            match result {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(object)) => {
                    debug!(
                        controller = "request",
                        namespace = object.namespace,
                        name = object.name,
                        "the request is no longer pending"
                    );
                    failures.succeeded(&(object.namespace.unwrap_or_default(), object.name));
                }
                // The reconcile has logged its error, in its span.
                Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(controller::Error::QueueError(error)) => {
                    warn!(error = %of_watch(&error), "unable to watch requests; retrying");
                }
                Err(error) => warn!(%error, "the controller of requests reported an error; retrying"),
            }
        });
    // The controller begins nothing before the first list is complete. Asked to stop, it would wait
    // for that indefinitely.
    let stopped_before_it_began = async {
        stop.cancelled().await;
        if known.wait_until_ready().now_or_never().is_none() {
            return;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = working => {}
        () = stopped_before_it_began => {}
    }
}

/// Keeps what is known of pending requests as the watch shows them, and has those looked at again
/// whose turn has come.
struct Queues<C: Cognito> {
    context: Arc<Context<C>>,
    listed: BTreeSet<NamespacedName>,
    listed_uids: HashSet<String>,
    moved_up: mpsc::UnboundedSender<ObjectRef<TrimmedRequest>>,
}

impl<C: Cognito> Queues<C> {
    fn new(context: Arc<Context<C>>) -> (Self, mpsc::UnboundedReceiver<ObjectRef<TrimmedRequest>>) {
        let (sender, moved_up) = mpsc::unbounded();
        (Self { context, listed: BTreeSet::new(), listed_uids: HashSet::new(), moved_up: sender }, moved_up)
    }

    fn follow(&mut self, event: &Event<TrimmedRequest>) {
        let moved_up = match event {
            Event::Init => {
                self.listed.clear();
                self.listed_uids.clear();
                return;
            }
            Event::InitApply(object) => {
                self.listed.insert(name(object));
                self.listed_uids.extend(object.0.uid());
                self.put(object)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.context.retain_slots(&std::mem::take(&mut self.listed_uids));
                self.context.metrics.pending().retain(&listed);
                self.context.grants.change_pending(|index| index.retain_pending(&listed))
            }
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => self.remove(object),
        };
        for (namespace, name) in moved_up {
            // Nobody listens any more while stopping.
            let _ = self.moved_up.unbounded_send(ObjectRef::new(&name).within(&namespace));
        }
    }

    /// One that is being deleted waits for nothing; of one that cannot be read, nobody knows for
    /// whom it is.
    fn put(&self, object: &TrimmedRequest) -> Vec<NamespacedName> {
        match &object.0.0 {
            Ok(request) if request.metadata.deletion_timestamp.is_none() => {
                self.context.metrics.pending().put(request);
                self.context.grants.change_pending(|index| index.put_pending(request))
            }
            Ok(_) | Err(_) => self.remove(object),
        }
    }

    fn remove(&self, object: &TrimmedRequest) -> Vec<NamespacedName> {
        if let Some(uid) = object.0.uid() {
            self.context.release_slots(&uid);
        }
        self.context.metrics.pending().remove(&name(object));
        self.context.grants.change_pending(|index| index.remove_pending(&name(object)))
    }
}

struct Reconciler<C: Cognito> {
    context: Arc<Context<C>>,
    /// The number of reconciles in a row that ended with an error, by namespace and name.
    failures: Mutex<HashMap<NamespacedName, usize>>,
}

fn name(object: &TrimmedRequest) -> NamespacedName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

impl<C: Cognito> Reconciler<C> {
    fn succeeded(&self, name: &NamespacedName) {
        self.failures.lock().remove(name);
    }

    /// Counts a failure, and returns the pause before the next try.
    fn failed(&self, name: NamespacedName) -> Duration {
        let mut failures = self.failures.lock();
        let number = failures.entry(name).or_default();
        *number += 1;
        self.context.backoff().after(*number - 1, &Uuid::new_v4().to_string()).unsigned_abs()
    }
}

async fn reconcile<C: Cognito>(
    object: Arc<TrimmedRequest>,
    reconciler: Arc<Reconciler<C>>,
) -> Result<Action, ReconcileError> {
    let request = match &object.0.0 {
        Ok(request) => request,
        Err(invalid) => {
            let is_reported = reconciler.context.invalid_objects.request(&object.0, &invalid.error);
            return Ok(if is_reported { Action::await_change() } else { Action::requeue(LOOK_AGAIN) });
        }
    };
    let _working = reconciler.context.metrics.working();
    let identity = Identity::of_request(request);
    let span = span("request", &identity);
    let executed = async {
        let executed = reconciler.context.execute(identity).await;
        executed.inspect_err(|error| warn!(%error, "unable to reconcile a request; retrying"))
    };
    let next = executed.instrument(span).await?;
    reconciler.succeeded(&name(&object));
    match next {
        Next::Done => Ok(Action::requeue(LOOK_AGAIN)),
        Next::After(wait) => Ok(Action::requeue(wait)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn retry<C: Cognito>(object: Arc<TrimmedRequest>, _: &ReconcileError, reconciler: Arc<Reconciler<C>>) -> Action {
    reconciler.context.metrics.error();
    Action::requeue(reconciler.failed(name(&object)))
}

/// A change as an item of a stream; several at once are one.
fn each(changes: tokio::sync::watch::Receiver<()>) -> impl Stream<Item = ()> + Send + Sync + 'static {
    futures::stream::unfold(changes, |mut changes| async move { changes.changed().await.ok().map(|()| ((), changes)) })
}
