//! The controller of requests: it watches pending ones only, and hands each to the performer.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{self, Action},
        watcher,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    api::PasswordResetRequest,
    cli::RunArgs,
    cognito::port::Cognito,
    grants::Permissions,
    reset::{
        ledger::Identity,
        perform::{Next, Performer},
        store::StoreError,
    },
    unreadable::Unreadable,
};

type Guarded = DeserializeGuard<PasswordResetRequest>;

/// Works on pending requests until `stop` is cancelled and what is in flight has finished.
pub async fn run<C: Cognito>(
    client: &Client,
    watch: watcher::Config,
    args: &RunArgs,
    performer: Arc<Performer<C>>,
    permissions: &Permissions,
    unreadable: Unreadable,
    stop: &CancellationToken,
) {
    let config = watch.fields("status.outcome=Pending");
    let changes = each(permissions.changes());
    let context = Arc::new(Context { performer, unreadable, retry: args.retry_initial });
    Controller::new(Api::<Guarded>::all(client.clone()), config)
        .with_config(controller::Config::default().concurrency(args.concurrency))
        .reconcile_all_on(changes)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry, context)
        .for_each(|result| async {
            match result {
                Ok(_) => {}
                Err(controller::Error::ObjectNotFound(_)) => debug!("a request is no longer pending"),
                Err(controller::Error::ReconcilerFailed(error, object)) => warn!(
                    request = %format!("{}/{}", object.namespace.unwrap_or_default(), object.name), %error,
                    "unable to go on with a request; trying again"
                ),
                Err(controller::Error::QueueError(error)) => warn!(%error, "unable to watch requests; trying again"),
                Err(error) => warn!(%error, "unable to control requests; trying again"),
            }
        })
        .await;
}

struct Context<C: Cognito> {
    performer: Arc<Performer<C>>,
    unreadable: Unreadable,
    retry: Duration,
}

async fn reconcile<C: Cognito>(object: Arc<Guarded>, context: Arc<Context<C>>) -> Result<Action, StoreError> {
    let request = match &object.0 {
        Ok(request) => request,
        Err(invalid) => {
            context.unreadable.report(object.as_ref(), &invalid.error);
            return Ok(Action::await_change());
        }
    };
    let _working = context.unreadable.metrics().working();
    match context.performer.run(Identity::of_request(request)).await? {
        Next::Done => Ok(Action::await_change()),
        Next::After(wait) => Ok(Action::requeue(wait)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn retry<C: Cognito>(_: Arc<Guarded>, _: &StoreError, context: Arc<Context<C>>) -> Action {
    context.unreadable.metrics().error();
    Action::requeue(context.retry)
}

/// A change as an item of a stream; several at once are one.
fn each(changes: tokio::sync::watch::Receiver<()>) -> impl Stream<Item = ()> + Send + Sync + 'static {
    futures::stream::unfold(changes, |mut changes| async move { changes.changed().await.ok().map(|()| ((), changes)) })
}
