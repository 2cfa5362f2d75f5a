//! Resolves open claims whose request is gone: nobody else would.

use std::{collections::BTreeSet, time::Duration};

use kube::{ResourceExt, core::DeserializeGuard};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    api::PasswordResetRecord,
    cognito::port::Cognito,
    reset::{
        ledger::Identity,
        perform::Performer,
        store::{Store, StoreError},
    },
    unreadable::Unreadable,
};

/// Looks through the open claims, for ever, with `period` between two looks.
///
/// A claim at work shows here too; the same decision lets it be until its call cannot be in flight
/// any more, so a claim without request is settled by the look after that.
/// Where a record cannot be read, it is reported once, and the others are resolved all the same.
pub async fn run<C: Cognito>(store: Store, performer: &Performer<C>, unreadable: &Unreadable, period: Duration) {
    let mut reported = BTreeSet::new();
    let mut report = |record: &DeserializeGuard<PasswordResetRecord>, error: &str| {
        if reported.insert(record.name_any()) {
            unreadable.report(record, error);
        }
    };
    loop {
        if let Err(error) = look(&store, performer, &mut report).await {
            warn!(%error, "unable to look through the open claims; trying again");
        }
        sleep(period).await;
    }
}

async fn look<C: Cognito>(
    store: &Store,
    performer: &Performer<C>,
    mut report: impl FnMut(&DeserializeGuard<PasswordResetRecord>, &str),
) -> Result<(), StoreError> {
    let mut page = None;
    loop {
        let (records, next) = store.open_records(page).await?;
        for guarded in &records {
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
    // A request that is there has its own pass; it may be about another user by now.
    if !request.is_some_and(|request| Identity::of_request(&request) == identity) {
        info!(record = %identity.record_name(), "found an open claim without its request");
        performer.run(identity).await?;
    }
    Ok(())
}
