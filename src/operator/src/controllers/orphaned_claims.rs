//! Resolves open claims that no pending request stands behind any more: nobody else would.

use std::{collections::BTreeSet, time::Duration};

use cognito_reset_api::{Outcome, PasswordResetRecord, PasswordResetRequest};
use cognito_reset_core::{action::port::Cognito, ledger::Identity};
use kube::{ResourceExt, core::DeserializeGuard};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    controllers::request::performer::Performer,
    kube::store::{Store, StoreError},
    telemetry::invalid_objects::InvalidObjects,
};

/// Looks through the open claims with `period` between two looks, until `stop` is cancelled and what is in flight has
/// finished.
///
/// A claim at work shows here too; the same decision lets it be until its call cannot be in flight
/// any more, so a claim without request is settled by the look after that.
/// Where a record cannot be read, it is reported once, and the others are resolved all the same.
pub async fn run<C: Cognito>(
    store: Store,
    performer: &Performer<C>,
    unreadable: &InvalidObjects,
    period: Duration,
    stop: &CancellationToken,
) {
    let mut reported = BTreeSet::new();
    let mut report = |record: &DeserializeGuard<PasswordResetRecord>, error: &str| {
        if reported.insert(record.name_any()) {
            unreadable.record(record, error);
        }
    };
    loop {
        if let Err(error) = look(&store, performer, &mut report, stop).await {
            warn!(%error, "unable to look through the open claims; trying again");
        }
        tokio::select! {
            () = sleep(period) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look<C: Cognito>(
    store: &Store,
    performer: &Performer<C>,
    mut report: impl FnMut(&DeserializeGuard<PasswordResetRecord>, &str),
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut page = None;
    loop {
        let (records, next) = store.open_records(page).await?;
        for guarded in &records {
            if stop.is_cancelled() {
                return Ok(());
            }
            let record = match &guarded.0 {
                Ok(record) if !record.is_of_newer_schema() => record,
                Ok(_) => continue,
                Err(invalid) => {
                    report(guarded, &invalid.error);
                    continue;
                }
            };
            let identity = Identity::of_record(record);
            let name = identity.record_name();
            // One that cannot be resolved now must not keep the others waiting.
            if let Err(error) = resolve(store, performer, identity).await {
                warn!(record = %name, %error, "unable to resolve an open claim; trying again");
            }
        }
        page = next;
        if page.is_none() {
            return Ok(());
        }
    }
}

async fn resolve<C: Cognito>(store: &Store, performer: &Performer<C>, identity: Identity) -> Result<(), StoreError> {
    let request = store.request(&identity.request.namespace, &identity.request.name).await?;
    // A pending request has its own pass. One of the name may be about another user by now; and one that has ended may
    // stand beside an open claim where a ledger was put back after an etcd restore.
    let has_its_pass = |request: PasswordResetRequest| {
        Identity::of_request(&request) == identity && request.outcome() == Outcome::Pending
    };
    if !request.is_some_and(has_its_pass) {
        info!(record = %identity.record_name(), "found an open claim without a pending request");
        performer.run(identity).await?;
    }
    Ok(())
}
