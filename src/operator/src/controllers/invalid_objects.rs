//! Reports objects that cannot be parsed: in the log, as a metric and as an Event, and in the
//! status of requests, grants and holds. Such an object never stops a watch.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{
    PasswordResetRecord, PasswordResetRequest, UserPoolGrant, UserPoolHold, conditions::WaitReason,
};
use cognito_reset_core::{
    invalid_objects as status,
    invalid_objects::{
        Kind,
        backlog::{Backlog, Found, Taken},
        without_values,
    },
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

use crate::{
    kube::store::{StoreError, within},
    telemetry::{events::Events, metrics::ProcessMetrics},
};

/// The name of this controller in logs.
const CONTROLLER: &str = "invalid-objects";

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub(crate) struct InvalidObjects {
    events: Events,
    metrics: ProcessMetrics,
    backlog: Arc<Mutex<Backlog>>,
    news: Arc<Notify>,
}

/// The result of writing the report into a status.
enum StatusWrite {
    /// The status was written.
    Written,
    /// The status contains the report already.
    Already,
    /// The object is gone, or can be parsed by now.
    Nothing,
    /// The object has changed since it was read.
    Conflict,
}

impl InvalidObjects {
    /// Creates a reporter that uses the log, Events and metrics.
    #[must_use]
    pub(crate) fn new(events: Events, metrics: ProcessMetrics) -> Self {
        Self { events, metrics, backlog: Arc::default(), news: Arc::default() }
    }

    /// Reports a record, without the values that the parser quotes, because one may be a user's
    /// name. A record has no status.
    pub(crate) fn record(&self, record: &DeserializeGuard<PasswordResetRecord>, error: &str) {
        let found = found(Kind::Record, record, error);
        self.log(&found);
        self.publish(found.object, &status::message(Kind::Record, &found.error));
    }

    /// Reports a request in the same way, once per state, and in its status. Returns `false` if so
    /// many reports are pending that this one has to be found again later.
    #[must_use]
    pub(crate) fn request(&self, request: &DeserializeGuard<PasswordResetRequest>, error: &str) -> bool {
        self.found(found(Kind::Request, request, error))
    }

    /// Reports a grant in the same way. If too many reports are pending, it is reported when the
    /// watch shows it again.
    pub(crate) fn grant(&self, grant: &DeserializeGuard<UserPoolGrant>, error: &str) {
        self.found(found(Kind::Grant, grant, error));
    }

    /// Reports a hold in the same way.
    pub(crate) fn hold(&self, hold: &DeserializeGuard<UserPoolHold>, error: &str) {
        self.found(found(Kind::Hold, hold, error));
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
                controller = CONTROLLER,
                "too many objects cannot be parsed; further ones are not reported until the statuses of these are written"
            ),
        }
        !matches!(taken, Taken::TooMany { .. })
    }

    fn log(&self, Found { object, error, .. }: &Found) {
        self.metrics.invalid_object();
        warn!(
            controller = CONTROLLER, kind = object.kind, namespace = object.namespace, name = object.name, %error,
            "unable to parse an object; it is not touched"
        );
    }

    fn publish(&self, object: ObjectReference, message: &str) {
        self.events.warning(object, WaitReason::InvalidObject.as_str(), message, "Parse");
    }

    /// Writes the reports into the status of requests, grants and holds, forever. Nothing is
    /// written if the status contains the report.
    pub(crate) async fn write_statuses(&self, client: &Client, timeout: Duration) {
        loop {
            let due = self.backlog.lock().due(Instant::now());
            for found in due {
                let written = match found.kind {
                    Kind::Request => write_status::<PasswordResetRequest>(client, timeout, &found).await,
                    Kind::Grant => write_status::<UserPoolGrant>(client, timeout, &found).await,
                    Kind::Hold => write_status::<UserPoolHold>(client, timeout, &found).await,
                    Kind::Record => Ok(StatusWrite::Nothing),
                };
                self.note(&found, written);
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

    /// Stores the result, and publishes an Event: once per state, and once per cause of failure to
    /// write it.
    fn note(&self, found: &Found, written: Result<StatusWrite, StoreError>) {
        let message = status::message(found.kind, &found.error);
        let mut backlog = self.backlog.lock();
        match written {
            Ok(StatusWrite::Written) => {
                if !backlog.is_published(found) {
                    self.publish(found.object.clone(), &message);
                }
                backlog.reported(found);
            }
            // The process that wrote the status has published the Event.
            Ok(StatusWrite::Already) => backlog.reported(found),
            Ok(StatusWrite::Nothing) => backlog.forget(found),
            Ok(StatusWrite::Conflict) => backlog.failed(found, Instant::now()),
            Err(error) => {
                backlog.failed(found, Instant::now());
                let ObjectReference { kind, namespace, name, .. } = &found.object;
                warn!(controller = CONTROLLER, kind, namespace, name, %error, "unable to report in the status of an object that it cannot be parsed; retrying");
                let error = error.to_string();
                if backlog.is_new_text(found, &error) {
                    let message = format!("{message}. The status cannot be written: {error}; retrying");
                    self.publish(found.object.clone(), &message);
                }
            }
        }
    }
}

fn found<K: Resource<DynamicType = ()>>(kind: Kind, object: &DeserializeGuard<K>, error: &str) -> Found {
    let generation = object.meta().generation;
    Found { kind, object: object.object_ref(&()), generation, error: without_values(error) }
}

/// Reads the object again, in any shape, and writes the report if its status lacks it.
async fn write_status<K>(client: &Client, timeout: Duration, found: &Found) -> Result<StatusWrite, StoreError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let (resource, name) = (ApiResource::erase::<K>(&()), found.object.name.as_deref().unwrap_or_default());
    let api: Api<DynamicObject> = match &found.object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    // The operator has the permission to list grants and holds, but not to get one.
    let alone = ListParams::default().fields(&format!("metadata.name={name}"));
    let mut read = within(timeout, api.list(&alone)).await?.items;
    let Some(object) = read.pop().filter(|it| it.metadata.uid == found.object.uid) else {
        return Ok(StatusWrite::Nothing);
    };
    if object.clone().try_parse::<K>().is_ok() {
        return Ok(StatusWrite::Nothing);
    }
    let current = object.data.get("status").unwrap_or(&Value::Null);
    let Some(patch) = status::patch(found.kind, &object.metadata, current, &found.error, Timestamp::now()) else {
        return Ok(StatusWrite::Already);
    };
    match within(timeout, api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => Ok(StatusWrite::Written),
        Err(error) if error.is_conflict() => Ok(StatusWrite::Conflict),
        Err(error) if error.is_not_found() => Ok(StatusWrite::Nothing),
        Err(error) => Err(error),
    }
}
