//! Resolves orphaned claims: open claims without a pending request, which no other task would
//! resolve.

pub(crate) mod context;
pub(crate) mod metrics;

use std::collections::BTreeSet;

use cognito_reset_api::PasswordResetRecord;
use cognito_reset_core::{
    action::port::Cognito,
    ledger::Identity,
    machine::{ApiFailure, ReconcileError, Start, state::PaceReason},
    orphaned_claims::{Listed, is_orphaned},
};
use jiff::Timestamp;
use kube::{ResourceExt, core::DeserializeGuard};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::{
    controllers::{orphaned_claims::context::Context, request::reconcile::span},
    kube::store::StoreError,
};

/// The name of this controller in the log.
const CONTROLLER: &str = "orphaned-claims";

/// Lists the open claims periodically, until `stop` is cancelled and calls in flight have
/// finished.
///
/// A claim of a working task is listed too. The same decision leaves it alone until its call cannot
/// be in flight any more, so an orphaned claim is settled at the next listing after that. A record
/// that cannot be parsed is reported once, and does not stop the others from being resolved.
pub(crate) async fn run<C: Cognito>(context: &Context<C>, stop: &CancellationToken) {
    let mut reported = BTreeSet::new();
    let mut report = |record: &DeserializeGuard<PasswordResetRecord>, error: &str| {
        if reported.insert(record.name_any()) {
            context.invalid_objects.record(record, error);
        }
    };
    loop {
        if let Err(error) = look(context, &mut report, stop).await {
            context.metrics.error();
            warn!(controller = CONTROLLER, %error, "unable to list the open claims; retrying");
        }
        tokio::select! {
            () = sleep(context.config.period) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look<C: Cognito>(
    context: &Context<C>,
    mut report: impl FnMut(&DeserializeGuard<PasswordResetRecord>, &str),
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut page = None;
    loop {
        let (records, next) = context.store.open_records(page).await?;
        for guarded in &records {
            if stop.is_cancelled() {
                return Ok(());
            }
            match Listed::of(guarded, &context.config.watched) {
                Listed::Readable(identity) => {
                    let span = span(CONTROLLER, &identity);
                    resolve(context, identity).instrument(span).await;
                }
                Listed::OfNewerOperator | Listed::Elsewhere => {}
                Listed::Invalid(error) => report(guarded, error),
            }
        }
        page = next;
        if page.is_none() {
            return Ok(());
        }
    }
}

/// Resolves an open claim without a pending request. One that cannot be resolved now must not delay
/// the others.
async fn resolve<C: Cognito>(context: &Context<C>, identity: Identity) {
    let record = identity.record_name();
    if let Err(error) = try_to_resolve(context, identity).await {
        context.metrics.error();
        warn!(%record, %error, "unable to resolve an open claim; retrying");
    }
}

async fn try_to_resolve<C: Cognito>(context: &Context<C>, identity: Identity) -> Result<(), ReconcileError> {
    let read = context.store.request(&identity.request.namespace, &identity.request.name).await;
    let read = read.map_err(|error| ReconcileError::Api(ApiFailure::from(error)))?;
    if is_orphaned(&identity, read.request.as_ref()) {
        info!(record = %identity.record_name(), "found an open claim without a pending request");
        context.metrics.found();
        let start = Start::Look { reason: PaceReason::RateLimited, until: Timestamp::now() };
        context.requests.execute(identity, start, None).await?;
    }
    Ok(())
}
