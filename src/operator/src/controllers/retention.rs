//! Lists records and finished requests, and deletes those that the policy allows. The decision is
//! never made here.

pub(crate) mod config;
pub(crate) mod metrics;
mod reported;
pub(crate) mod store;

use std::{sync::Arc, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use cognito_reset_core::{
    ledger::Identity,
    retention::{
        gitops::Tracker,
        page::{Item, Page, Place},
        policy::{self, KeepReason, Life, Presence, Verdict},
        rotation::Rotation,
    },
    watched_namespaces::Scope,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{Instrument, Span, debug, error_span, info, warn};

use crate::{
    controllers::{
        grant::shared::SharedGrants,
        retention::{
            config::Config,
            metrics::Metrics,
            reported::{RefusedDeletions, TrackedRequests},
            store::{Kind, Listing, RetentionStore},
        },
    },
    kube::store::StoreError,
    telemetry::events::Events,
};

/// The number of objects that are read and deleted in parallel.
const ABREAST: usize = 4;

/// The API server's time at the first and the last page of a scan.
#[derive(Default)]
struct Scanned {
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
}

/// Deletes old records and finished requests.
pub(crate) struct Retention {
    store: RetentionStore,
    config: Config,
    grants: Arc<SharedGrants>,
    events: Events,
    metrics: Metrics,
    pace: tokio::sync::Mutex<Interval>,
    tracked: Mutex<TrackedRequests>,
    refused: Mutex<RefusedDeletions>,
    /// The order in which records of ungranted requests are read again.
    rotation: Mutex<Rotation>,
}

impl Retention {
    /// Creates the task.
    #[must_use]
    pub(crate) fn new(
        config: Config,
        client: Client,
        grants: Arc<SharedGrants>,
        events: Events,
        metrics: Metrics,
    ) -> Self {
        let mut pace = interval(Duration::from_secs_f64(1.0 / config.rate));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let store = RetentionStore::new(client, config.api_timeout);
        Self {
            store,
            config,
            grants,
            events,
            metrics,
            pace: pace.into(),
            tracked: Mutex::default(),
            refused: Mutex::default(),
            rotation: Mutex::default(),
        }
    }

    /// Scans requests and records, forever.
    pub(crate) async fn run(&self) {
        let Config { retention, records_period, short_period, .. } = self.config;
        self.metrics.scanning(if retention.is_some() { &Kind::ALL } else { &[Kind::Request] });
        let requests = self.scan_periodically(Kind::Request, short_period);
        let records = async {
            if retention.is_some() {
                let all = self.scan_periodically(Kind::Record, records_period);
                let ungranted = self.scan_periodically(Kind::UngrantedRecord, short_period);
                futures::future::join(all, ungranted).await;
            }
        };
        futures::future::join(requests, records).await;
    }

    async fn scan_periodically(&self, kind: Kind, period: Duration) {
        loop {
            let span = error_span!("scan", controller = "retention", kind = kind.as_str());
            self.scan(kind).instrument(span).await;
            sleep(period).await;
        }
    }

    /// Scans the watched namespaces one after the other. One that cannot be scanned does not stop
    /// the others.
    async fn scan(&self, kind: Kind) {
        if kind == Kind::Request {
            self.tracked.lock().begin_scan();
        }
        let mut failed = false;
        let mut scanned = Scanned::default();
        for scope in self.scopes(kind) {
            match self.scan_pages(kind, scope.as_deref()).await {
                Ok(one) => scanned = one,
                Err(error) => {
                    failed = true;
                    self.metrics.error(kind);
                    warn!(namespace = scope.as_deref(), %error, "unable to scan for old objects; retrying");
                }
            }
        }
        match (kind, failed) {
            (Kind::UngrantedRecord, true) => self.rotation.lock().failed(),
            (Kind::Request | Kind::Record, true) => {}
            (_, false) => self.scanned(kind, scanned),
        }
    }

    /// Returns the namespaces of the lists of a kind. Records have none. The operator may lack the
    /// permission to list requests in a namespace that does not exist.
    fn scopes(&self, kind: Kind) -> Vec<Scope> {
        match kind {
            Kind::Request => {
                let mut scopes = self.config.watched.scopes();
                let exists = |name: &str| self.grants.read(|index| index.has_namespace(name));
                scopes.retain(|scope| scope.as_deref().is_none_or(exists));
                scopes
            }
            Kind::Record | Kind::UngrantedRecord => vec![None],
        }
    }

    fn scanned(&self, kind: Kind, Scanned { began, ended }: Scanned) {
        self.metrics.scanned(kind, ended);
        self.refused.lock().scanned(kind);
        if kind == Kind::UngrantedRecord {
            self.rotation.lock().ended(began, self.config.reads_per_scan());
        }
    }

    /// Scans all objects of a kind. An object that cannot be read or deleted does not stop the
    /// others.
    async fn scan_pages(&self, kind: Kind, namespace: Option<&str>) -> Result<Scanned, StoreError> {
        let (mut token, mut began) = (None, None);
        let listing = Listing { namespace, of_all: self.config.watched.names().is_none() };
        loop {
            let Page { now, items, next } = self.store.page(kind, listing, token).await?;
            if now.is_none() {
                warn!("the API server's response has no Date or comes from a cache; nothing is deleted");
            }
            began = began.or(now);
            // Only the candidates of the page are kept.
            let candidates: Vec<Place> =
                items.into_iter().filter_map(|item| self.worth_reading(kind, item, now)).collect();
            futures::stream::iter(candidates)
                .for_each_concurrent(ABREAST, |candidate| async move {
                    self.wait_for_turn(kind).await;
                    let span = candidate_span(&candidate);
                    self.consider(kind, &candidate, now).instrument(span).await;
                })
                .await;
            token = next;
            if token.is_none() {
                return Ok(Scanned { began, ended: now });
            }
        }
    }

    /// Waits until the next object may be read for deletion. The records of ungranted requests are
    /// deleted as fast as the API server responds, because each namespace can cause as many per
    /// second as the operator closes for it. Those whose requests existed before are read in
    /// rotation.
    async fn wait_for_turn(&self, kind: Kind) {
        match kind {
            Kind::Request | Kind::Record => {
                self.pace.lock().await.tick().await;
            }
            Kind::UngrantedRecord => {}
        }
    }

    fn worth_reading(&self, kind: Kind, item: Result<Item, Place>, now: Option<Timestamp>) -> Option<Place> {
        let Item { metadata, life, not_after, request_namespace } = match item {
            Ok(item) => item,
            Err(place) => {
                self.metrics.error(kind);
                candidate_span(&place).in_scope(|| warn!("unable to parse an object; it is not deleted"));
                return None;
            }
        };
        if request_namespace.is_some_and(|namespace| !self.config.watched.contains(&namespace)) {
            return None;
        }
        let verdict = match kind {
            Kind::Request => policy::request(&metadata, life, now),
            Kind::Record => self.judge_record(&metadata, None, Presence::NotRead, now),
            Kind::UngrantedRecord => policy::ungranted_record(&metadata, not_after, now, self.retention()),
        };
        match verdict {
            Verdict::ReadFurther if kind == Kind::UngrantedRecord && !self.is_due(&metadata, not_after) => None,
            Verdict::ReadFurther | Verdict::Delete(_) => {
                let ObjectMeta { namespace, name, .. } = metadata;
                Some(Place { namespace: namespace.unwrap_or_default(), name: name? })
            }
            Verdict::Keep(KeepReason::Tracked(tracker)) => {
                self.report_tracked(metadata, tracker);
                None
            }
            Verdict::Keep(_) => None,
        }
    }

    /// Returns true if this scan reads the record of an ungranted request.
    fn is_due(&self, metadata: &ObjectMeta, not_after: Option<Timestamp>) -> bool {
        let since = policy::ungranted_since(metadata, not_after, self.retention());
        let uid = metadata.uid.as_deref().unwrap_or_default();
        since.is_some_and(|since| self.rotation.lock().is_due(uid, since))
    }

    /// Reads an object again, decides again, and deletes it in the state that was read.
    async fn consider(&self, kind: Kind, candidate: &Place, now: Option<Timestamp>) {
        let deleted = match kind {
            Kind::Request => self.consider_request(candidate, now).await,
            Kind::Record | Kind::UngrantedRecord => self.consider_record(kind, &candidate.name, now).await,
        };
        match deleted {
            Ok(false) => {}
            Ok(true) => {
                self.metrics.deleted(kind);
                info!("deleted an old object");
            }
            Err(error) => self.report(kind, &error),
        }
    }

    async fn consider_request(&self, at: &Place, now: Option<Timestamp>) -> Result<bool, StoreError> {
        let Some(request) = self.store.request(&at.namespace, &at.name).await? else { return Ok(false) };
        match policy::request(&request.metadata, Life::of(&request), now) {
            Verdict::Delete(guard) => {
                let deleted = self.store.delete_request(&at.namespace, &at.name, guard).await;
                self.counted(Kind::Request, deleted)
            }
            Verdict::Keep(why) => Ok(kept(why)),
            Verdict::ReadFurther => Ok(false),
        }
    }

    async fn consider_record(&self, kind: Kind, name: &str, now: Option<Timestamp>) -> Result<bool, StoreError> {
        let Some(record) = self.store.record(name).await? else { return Ok(false) };
        let judged = |request| self.judge_record(&record.metadata, Some(&record), request, now);
        let verdict = match judged(Presence::NotRead) {
            Verdict::ReadFurther => judged(self.presence(kind, &record).await?),
            verdict @ (Verdict::Keep(_) | Verdict::Delete(_)) => verdict,
        };
        match verdict {
            Verdict::Delete(guard) => self.counted(kind, self.store.delete_record(name, guard).await),
            Verdict::Keep(why) => Ok(kept(why)),
            Verdict::ReadFurther => Ok(false),
        }
    }

    /// Reads whether the request of a record exists. One of that name for another user has a record
    /// of its own. Ungranted records would pile up beside it otherwise.
    async fn presence(&self, kind: Kind, record: &PasswordResetRecord) -> Result<Presence, StoreError> {
        let of = &record.spec.request;
        let presence = self.store.presence(of).await?;
        if kind != Kind::UngrantedRecord || presence != Presence::Present {
            return Ok(presence);
        }
        let request = self.store.request(&of.namespace, &of.name).await?;
        let is_of_another = request.is_some_and(|it| Identity::of_request(&it) != Identity::of_record(record));
        Ok(if is_of_another { Presence::Absent } else { Presence::Present })
    }

    fn counted(&self, kind: Kind, deleted: Result<bool, StoreError>) -> Result<bool, StoreError> {
        if let Some(refuser) = deleted.as_ref().err().and_then(StoreError::refuser) {
            self.metrics.deletion_refused(kind, &refuser);
        }
        deleted
    }

    /// Reports a failed deletion. A policy may reject every old object at every scan, so each
    /// policy is reported once.
    fn report(&self, kind: Kind, error: &StoreError) {
        self.metrics.error(kind);
        let is_new = error.refuser().is_none_or(|refuser| self.refused.lock().is_new(kind, &refuser));
        if is_new {
            warn!(%error, "unable to check or delete an object; retrying");
        } else {
            debug!(%error, "still unable to check or delete an object");
        }
    }

    fn judge_record(
        &self,
        metadata: &ObjectMeta,
        record: Option<&cognito_reset_api::PasswordResetRecord>,
        request: Presence,
        now: Option<Timestamp>,
    ) -> Verdict {
        policy::record(metadata, record, request, now, self.retention(), &self.config.watched)
    }

    fn retention(&self) -> SignedDuration {
        self.config.retention.unwrap_or(SignedDuration::MAX)
    }

    fn report_tracked(&self, metadata: ObjectMeta, tracker: Tracker) {
        if !self.tracked.lock().is_new(metadata.uid.as_deref().unwrap_or_default()) {
            return;
        }
        let object = ObjectReference {
            api_version: Some(PasswordResetRequest::api_version(&()).into_owned()),
            kind: Some(PasswordResetRequest::kind(&()).into_owned()),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            ..ObjectReference::default()
        };
        report_not_deleted(&self.events, object, tracker);
    }
}

fn kept(why: KeepReason) -> bool {
    debug!(?why, "kept an object");
    false
}

/// Publishes an Event about a request with a time to live that is not deleted, because a tool
/// tracks it.
pub(crate) fn report_not_deleted(events: &Events, request: ObjectReference, tracker: Tracker) {
    events.warning(request, "TTLNotApplied", &tracker.note(), "Delete");
}

/// Returns the span of one object, within that of its scan. A record has no namespace.
fn candidate_span(Place { namespace, name }: &Place) -> Span {
    error_span!("object", namespace = Some(namespace).filter(|it| !it.is_empty()), name)
}
