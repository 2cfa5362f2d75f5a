//! Scans all objects of a kind, page by page, in the watched namespaces.

use std::time::Duration;

use cognito_reset_core::{
    retention::page::{Page, Place},
    watched_namespaces::Scope,
};
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{Instrument, error_span, warn};

use crate::{
    controllers::retention::{
        Retention, candidate_span,
        config::Config,
        store::{Kind, Listing},
    },
    kube::store::StoreError,
};

/// The number of objects that are read and deleted in parallel.
const ABREAST: usize = 4;

/// The API server's time at the first and the last page of a scan.
#[derive(Default)]
struct Scanned {
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Retention {
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
}
