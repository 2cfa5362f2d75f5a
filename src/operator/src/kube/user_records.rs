//! Lists the records that may be of one user.
//!
//! The API server has no index for the fields of records, so such a list costs it a pass over all
//! of them. It is needed only after a call without a clear response, and a process makes one at a
//! time.

use std::time::Duration;

use cognito_reset_api::PasswordResetRecord;
use cognito_reset_core::ledger::attribution::{OtherRecord, UserRecords};
use jiff::SignedDuration;
use kube::{Api, Client, ResourceExt, api::ListParams, core::DeserializeGuard};
use tokio::{sync::Semaphore, time::timeout};

use crate::kube::store::{StoreError, within};

/// The number of records in one page.
const PAGE: u32 = 100;

/// Lists records by user, for one caller at a time.
pub(crate) struct UserRecordLists {
    records: Api<DeserializeGuard<PasswordResetRecord>>,
    api_timeout: Duration,
    one_at_a_time: Semaphore,
}

impl UserRecordLists {
    /// Returns lists whose pages have `api_timeout` as their timeout.
    #[must_use]
    pub(crate) fn new(client: Client, api_timeout: Duration) -> Self {
        Self { records: Api::all(client), api_timeout, one_at_a_time: Semaphore::new(1) }
    }

    /// Lists the selected records, except for those that are recorded as not performed.
    /// `observed_for` is asked for the time since when this process has observed the open claim of
    /// a record with this attempt.
    ///
    /// # Errors
    /// Returns an error if the API server does not return all of them, or if other lists take too
    /// long.
    pub(crate) async fn list(
        &self,
        query: &UserRecords,
        observed_for: impl Fn(&str, &str) -> SignedDuration,
    ) -> Result<Vec<OtherRecord>, StoreError> {
        let turn = timeout(self.api_timeout, self.one_at_a_time.acquire()).await;
        // The semaphore is never closed.
        let _turn = turn.map_err(|_| StoreError::NoResponse(self.api_timeout))?;
        let mut others = Vec::new();
        for selector in selectors(query) {
            let mut page = None;
            loop {
                let params = ListParams { continue_token: page, ..ListParams::default().fields(&selector).limit(PAGE) };
                let list = within(self.api_timeout, self.records.list(&params)).await?;
                let found = list.items.iter().filter(|record| record.name_any() != query.except);
                others.extend(found.map(|record| read(record, &observed_for)));
                page = list.metadata.continue_.filter(|token| !token.is_empty());
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(others)
    }
}

fn read(
    record: &DeserializeGuard<PasswordResetRecord>,
    observed_for: impl Fn(&str, &str) -> SignedDuration,
) -> OtherRecord {
    match &record.0 {
        Ok(record) => OtherRecord::of(record, |attempt_id| observed_for(&record.name_any(), attempt_id)),
        Err(invalid) => OtherRecord::not_understood(&invalid.metadata),
    }
}

/// Returns the field selectors that together select the records of the user, each record once. A
/// record that gets its `sub` meanwhile is in one of the two lists, in this order. No user name is
/// in them, because others log the paths of requests.
fn selectors(query: &UserRecords) -> [String; 2] {
    let UserRecords { user_pool_id, sub, except: _ } = query;
    let pool = format!("userPoolID={},effect!=NotPerformed", escaped(user_pool_id));
    [format!("{pool},userSub="), format!("{pool},userSub={}", escaped(sub))]
}

/// Escapes a value for a field selector, as the API server reads it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select_by_missing_sub_and_sub() {
        let query =
            UserRecords { except: "r2-1".into(), user_pool_id: "eu-west-1_Example01".into(), sub: "a,b=c\\d".into() };
        let wanted = [
            r"userPoolID=eu-west-1_Example01,effect!=NotPerformed,userSub=",
            r"userPoolID=eu-west-1_Example01,effect!=NotPerformed,userSub=a\,b\=c\\d",
        ];
        assert_eq!(selectors(&query), wanted);
    }
}
