//! Lists the records that may be of one user.
//!
//! The API server has no index for the fields of records, so such a list costs it a pass over all
//! of them. It is needed only after a call without a clear response, and a process makes one at a
//! time.

use std::time::Duration;

use cognito_reset_api::PasswordResetRecord;
use cognito_reset_core::ledger::attribution::{OtherRecord, UserRecords};
use jiff::SignedDuration;
use kube::{
    Client, Resource, ResourceExt,
    api::ListParams,
    core::{DeserializeGuard, Request},
};
use tokio::sync::Semaphore;

use crate::kube::{current, store::StoreError};

/// The number of records in one page.
const PAGE: u32 = 100;

/// Lists records by user, for one caller at a time.
pub(crate) struct UserRecordLists {
    client: Client,
    api_timeout: Duration,
    one_at_a_time: Semaphore,
}

impl UserRecordLists {
    /// Returns lists whose pages have `api_timeout` as their timeout.
    #[must_use]
    pub(crate) const fn new(client: Client, api_timeout: Duration) -> Self {
        Self { client, api_timeout, one_at_a_time: Semaphore::const_new(1) }
    }

    /// Lists the selected records, except for those that are recorded as not performed.
    /// `observed_for` is asked for the time since when this process has observed the open claim of
    /// a record with this attempt.
    ///
    /// # Errors
    /// Returns an error if the API server does not return all of them as they are now.
    pub(crate) async fn list(
        &self,
        query: &UserRecords,
        observed_for: impl Fn(&str, &str) -> SignedDuration,
    ) -> Result<Vec<OtherRecord>, StoreError> {
        // The wait is no failure of the API server, and it ends: each page of the lists before this
        // one has a timeout, and a list that fails is repeated only after those that wait. The
        // semaphore is never closed.
        let _turn = self.one_at_a_time.acquire().await;
        let mut others = Vec::new();
        for selector in selectors(query) {
            let mut page = None;
            loop {
                let params = ListParams { continue_token: page, ..ListParams::default().fields(&selector).limit(PAGE) };
                let request = Request::new(PasswordResetRecord::url_path(&(), None)).list(&params);
                let (records, next): (Vec<DeserializeGuard<PasswordResetRecord>>, _) =
                    current::list(&self.client, request, self.api_timeout).await?;
                let found = records.iter().filter(|record| record.name_any() != query.except);
                others.extend(found.map(|record| read(record, &observed_for)));
                page = next;
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
    use std::sync::Arc;

    use cognito_reset_core::ledger::attribution::OtherEffect;
    use http::{Request, Response, Uri, header};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn query() -> UserRecords {
        UserRecords { except: "r2-1".into(), user_pool_id: "eu-west-1_Example01".into(), sub: "sub-1".into() }
    }

    /// A page of a list of records with these names, whose claims are open.
    fn page(names: &[&str], token: &str) -> Value {
        let of = json!({ "action": "PasswordReset", "userPoolID": "eu-west-1_Example01", "username": "alice" });
        let record = |name: &&str| {
            let mut record = of.clone();
            record["schema"] = json!(1);
            record["request"] = json!({ "namespace": "support", "name": name });
            record["metadata"] = json!({ "name": name });
            record["attempts"] = json!([{
                "id": name, "operatorInstance": "operator-1", "requestUID": "uid", "claimedAt": "2026-11-24T21:55:58Z",
                "requestedBy": { "username": "bob" },
            }]);
            record
        };
        let items: Vec<_> = names.iter().map(record).collect();
        json!({ "metadata": { "resourceVersion": "7", "continue": token }, "items": items })
    }

    /// Returns lists of a server with this response to a path and query, which takes this time.
    fn lists(
        respond: impl Fn(&Uri) -> Response<Body> + Clone + Send + Sync + 'static,
        takes: Duration,
    ) -> UserRecordLists {
        let serve = move |request: Request<Body>| {
            let response = respond(request.uri());
            async move {
                tokio::time::sleep(takes).await;
                Ok::<_, std::io::Error>(response)
            }
        };
        UserRecordLists::new(Client::new(tower::service_fn(serve), "default"), TIMEOUT)
    }

    fn dated(body: &Value) -> Response<Body> {
        let response = Response::builder().header(header::DATE, "Tue, 24 Nov 2026 21:55:58 GMT");
        response.body(Body::from(serde_json::to_vec(body).unwrap())).unwrap()
    }

    #[tokio::test]
    async fn every_page_of_the_lists_is_read_as_it_is_now() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let paths = Arc::clone(&asked);
        let server = lists(
            move |uri| {
                paths.lock().push(uri.to_string());
                let query = uri.query().unwrap_or_default();
                match (query.contains("sub-1"), query.contains("continue=next")) {
                    (false, false) => dated(&page(&["r2-1", "r2-2"], "next")),
                    (false, true) => dated(&page(&["r2-3"], "")),
                    (true, _) => dated(&page(&[], "")),
                }
            },
            Duration::ZERO,
        );
        let observed = |record: &str, attempt: &str| {
            assert_eq!(record, attempt);
            SignedDuration::from_secs(if record == "r2-2" { 2 } else { 3 })
        };
        let others = server.list(&query(), observed).await.unwrap();
        let open = |seconds| OtherEffect::Open { observed_for: SignedDuration::from_secs(seconds) };
        assert_eq!(others.iter().map(|it| it.effect).collect::<Vec<_>>(), [open(2), open(3)], "without its own");
        let asked = asked.lock();
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|path| !path.contains("resourceVersion")), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_other_lists_is_no_failure() {
        let server = lists(|_: &Uri| dated(&page(&[], "")), TIMEOUT / 2);
        let (query, unseen) = (query(), |_: &str, _: &str| SignedDuration::ZERO);
        let begun = tokio::time::Instant::now();
        // Each takes as long as the timeout of a page.
        for listed in futures::future::join_all((0..4).map(|_| server.list(&query, unseen))).await {
            assert_eq!(listed.unwrap(), []);
        }
        assert_eq!(begun.elapsed(), TIMEOUT * 4, "one at a time");
    }

    #[tokio::test]
    async fn list_that_may_be_of_a_cache_shows_no_records() {
        let old = |uri: &Uri| {
            let mut response = dated(&page(&[], ""));
            if uri.query().is_some_and(|query| query.contains("sub-1")) {
                response.headers_mut().insert(header::AGE, header::HeaderValue::from_static("0"));
            }
            response
        };
        let undated = |_: &Uri| {
            let mut response = dated(&page(&[], ""));
            response.headers_mut().remove(header::DATE);
            response
        };
        let nothing = |_: &Uri| dated(&json!({ "metadata": {}, "items": [] }));
        let list = async |lists: UserRecordLists| lists.list(&query(), |_, _| SignedDuration::ZERO).await;
        for cached in [list(lists(old, Duration::ZERO)).await, list(lists(undated, Duration::ZERO)).await] {
            assert!(matches!(cached, Err(StoreError::NotCurrent)), "{cached:?}");
        }
        let unversioned = list(lists(nothing, Duration::ZERO)).await;
        assert!(matches!(unversioned, Err(StoreError::AnotherList)), "{unversioned:?}");
    }

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
