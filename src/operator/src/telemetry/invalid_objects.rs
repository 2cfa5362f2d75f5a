//! Objects that cannot be parsed: told by log, metric and Event, and requests and grants by their status too. Never a stopped
//! watch.

mod backlog;

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest, UserPoolGrant};
use cognito_reset_core::{
    invalid_objects as status,
    invalid_objects::{Kind, without_values},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::Notify, time::sleep_until};
use tracing::warn;

use self::backlog::{Backlog, Found, Taken};
use crate::{
    kube::store::{StoreError, within},
    telemetry::{events::Events, metrics::Metrics},
};

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub struct InvalidObjects {
    events: Events,
    metrics: Arc<Metrics>,
    backlog: Arc<Mutex<Backlog>>,
    news: Arc<Notify>,
}

/// What came of telling an object so in its status.
enum Told {
    /// Its status says so now.
    Written,
    /// Nothing had to be written.
    Already,
    /// It is gone, or can be read by now.
    Nothing,
    /// It has changed since it was read.
    Conflict,
}

impl InvalidObjects {
    /// Reports by log, Event and metric.
    #[must_use]
    pub fn new(events: Events, metrics: Arc<Metrics>) -> Self {
        Self { events, metrics, backlog: Arc::default(), news: Arc::default() }
    }

    /// The metrics that it counts in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Reports a record, without the parser's quotes of it: they may be a user's name. It has no status.
    pub fn record(&self, record: &DeserializeGuard<PasswordResetRecord>, error: &str) {
        let found = found(Kind::Record, record, error);
        self.log(&found);
        self.events.invalid_object(found.object, &status::message(Kind::Record, &found.error));
    }

    /// Reports a request in the same way, once for each state of it, and has its status tell it. `false` where so many are
    /// still to be told that this one has to be found again later.
    #[must_use]
    pub fn request(&self, request: &DeserializeGuard<PasswordResetRequest>, error: &str) -> bool {
        self.found(found(Kind::Request, request, error))
    }

    /// Reports a grant in the same way; where there are too many, when the watch shows it again.
    pub fn grant(&self, grant: &DeserializeGuard<UserPoolGrant>, error: &str) {
        self.found(found(Kind::Grant, grant, error));
    }

    fn found(&self, found: Found) -> bool {
        let taken = self.backlog.lock().put(found.clone(), Instant::now());
        match taken {
            Taken::New => {
                self.log(&found);
                self.news.notify_one();
            }
            Taken::Known | Taken::TooMany { first: false } => {}
            Taken::TooMany { first: true } => warn!(
                "too many objects cannot be understood; further ones are not reported until the statuses of these are written"
            ),
        }
        !matches!(taken, Taken::TooMany { .. })
    }

    fn log(&self, Found { object, error, .. }: &Found) {
        self.metrics.not_understood();
        warn!(
            kind = object.kind, namespace = object.namespace, name = object.name, %error,
            "unable to understand an object; it is left alone"
        );
    }

    /// Has the statuses of requests and grants tell what was found, for ever. Nothing is written where they do.
    pub async fn tell(&self, client: &Client, limit: Duration) {
        loop {
            let due = self.backlog.lock().due(Instant::now());
            for found in due {
                let told = match found.kind {
                    Kind::Request => told::<PasswordResetRequest>(client, limit, &found).await,
                    Kind::Grant => told::<UserPoolGrant>(client, limit, &found).await,
                    Kind::Record => Ok(Told::Nothing),
                };
                self.note(&found, told);
            }
            let next = self.backlog.lock().next();
            let pause = async {
                match next {
                    Some(next) => sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = self.news.notified() => {}
            }
        }
    }

    /// Remembers what came of it, and publishes an Event: once of the state, and once of each failure to write it.
    fn note(&self, found: &Found, told: Result<Told, StoreError>) {
        let message = status::message(found.kind, &found.error);
        let mut backlog = self.backlog.lock();
        match told {
            Ok(Told::Written) => {
                if !backlog.is_said(found) {
                    self.events.invalid_object(found.object.clone(), &message);
                }
                backlog.told(found);
            }
            // Whoever wrote it has published the Event.
            Ok(Told::Already) => backlog.told(found),
            Ok(Told::Nothing) => backlog.forget(found),
            Ok(Told::Conflict) => backlog.failed(found, Instant::now()),
            Err(error) => {
                backlog.failed(found, Instant::now());
                let ObjectReference { kind, namespace, name, .. } = &found.object;
                warn!(kind, namespace, name, %error, "unable to say in the status of an object that it cannot be understood; trying again");
                let error = error.to_string();
                if backlog.is_news(found, &error) {
                    let message = format!("{message}. The status cannot be written: {error}; retrying");
                    self.events.invalid_object(found.object.clone(), &message);
                }
            }
        }
    }
}

fn found<K: Resource<DynamicType = ()>>(kind: Kind, object: &DeserializeGuard<K>, error: &str) -> Found {
    let generation = object.meta().generation;
    Found { kind, object: object.object_ref(&()), generation, error: without_values(error) }
}

/// Reads the object afresh, in whatever shape it is, and writes what its status lacks.
async fn told<K>(client: &Client, limit: Duration, found: &Found) -> Result<Told, StoreError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let (resource, name) = (ApiResource::erase::<K>(&()), found.object.name.as_deref().unwrap_or_default());
    let api: Api<DynamicObject> = match &found.object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    // Of grants the operator may list, and not get.
    let alone = ListParams::default().fields(&format!("metadata.name={name}"));
    let mut read = within(limit, api.list(&alone)).await?.items;
    let Some(object) = read.pop().filter(|it| it.metadata.uid == found.object.uid) else { return Ok(Told::Nothing) };
    if object.clone().try_parse::<K>().is_ok() {
        return Ok(Told::Nothing);
    }
    let standing = object.data.get("status").unwrap_or(&Value::Null);
    let Some(patch) = status::patch(found.kind, &object.metadata, standing, &found.error, Timestamp::now()) else {
        return Ok(Told::Already);
    };
    match within(limit, api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => Ok(Told::Written),
        Err(error) if error.is_conflict() => Ok(Told::Conflict),
        Err(error) if error.is_not_found() => Ok(Told::Nothing),
        Err(error) => Err(error),
    }
}
