//! Lists records and finished requests, and deletes those that the policy allows. The decision is
//! never made here.

pub(crate) mod config;
pub(crate) mod metrics;
mod reported;
mod scan;
pub(crate) mod store;

use std::{sync::Arc, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use cognito_reset_core::{
    ledger::Identity,
    retention::{
        gitops::Tracker,
        page::{Item, Place},
        policy::{self, KeepReason, Life, Presence, Verdict},
        rotation::Rotation,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{Span, debug, error_span, info, warn};

use crate::{
    controllers::{
        grant::shared::SharedGrants,
        retention::{
            config::Config,
            metrics::Metrics,
            reported::{RefusedDeletions, TrackedRequests},
            store::{Kind, RetentionStore},
        },
    },
    kube::store::StoreError,
    telemetry::events::Events,
};

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
