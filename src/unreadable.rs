//! Objects that cannot be parsed: told by log, metric and Event, and requests and grants by their status too. Never a stopped
//! watch.

mod backlog;
pub mod status;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{sync::Notify, time::sleep_until};
use tracing::warn;

use self::{
    backlog::{Backlog, Found, Taken},
    status::Kind,
};
use crate::{
    api::{PasswordResetRecord, PasswordResetRequest, UserPoolGrant},
    events::Events,
    metrics::Metrics,
    reset::{
        store::{StoreError, within},
        turnstile::lock,
    },
};

/// The longest report, in characters.
const MAX_TEXT: usize = 300;

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub struct Unreadable {
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

impl Unreadable {
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
        let taken = lock(&self.backlog).put(found.clone(), Instant::now());
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
            let due = lock(&self.backlog).due(Instant::now());
            for found in due {
                let told = match found.kind {
                    Kind::Request => told::<PasswordResetRequest>(client, limit, &found).await,
                    Kind::Grant => told::<UserPoolGrant>(client, limit, &found).await,
                    Kind::Record => Ok(Told::Nothing),
                };
                self.note(&found, told);
            }
            let next = lock(&self.backlog).next();
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
        let mut backlog = lock(&self.backlog);
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

/// What a parser says of an object, in one line, without what it quotes of it.
///
/// Its texts quote without any marks (`Unknown variant alice. Expected one of Resend, Skip`), and those of parsers
/// within it say anything. So nothing is cut out: only what this program itself has put into a text is kept.
#[must_use]
pub fn without_values(text: &str) -> String {
    const QUOTING: [&str; 5] = ["Invalid type", "Invalid value", "Invalid length", "Unknown variant", "Unknown field"];
    const NAMING: [&str; 2] = ["Missing field", "Duplicate field"];
    let of_a_field = |mistake: &&&str| {
        let field = text.strip_prefix(**mistake).and_then(|rest| rest.strip_prefix(' '));
        field.is_some_and(|field| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    if NAMING.iter().any(|mistake| of_a_field(&mistake)) {
        return text.chars().take(MAX_TEXT).collect();
    }
    let Some(mistake) = QUOTING.iter().find(|mistake| text.starts_with(**mistake)) else {
        return "a value cannot be read".to_owned();
    };
    // A value may hold the same words; what comes after the last ones is no part of it.
    let expected = text.rsplit_once(". Expected ").map_or("something else", |(_, expected)| expected);
    format!("{mistake}. Expected {expected}").chars().filter(|it| !it.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};

    use super::without_values;
    use crate::api::PasswordResetRequest;

    fn reported(spec: Value) -> String {
        let object = json!({ "metadata": { "name": "reset" }, "spec": spec });
        let guarded: DeserializeGuard<PasswordResetRequest> = serde_json::from_value(object).unwrap();
        without_values(&guarded.0.unwrap_err().error)
    }

    #[test]
    fn a_report_of_an_object_says_what_is_wrong_and_quotes_no_value() {
        let user = json!("alice. Expected `alice\n\"alice");
        for (spec, wanted) in [
            (json!({ "userPoolID": "p_1" }), "Missing field username"),
            (json!({ "userPoolID": "p_1", "username": ["alice"] }), "Invalid type. Expected a string"),
            (json!({ "userPoolID": "p_1", "username": "a", "suspend": user }), "Invalid type. Expected a boolean"),
            (json!({ "userPoolID": "p_1", "username": "a", "deadlineSeconds": 0.5 }), "Invalid type. Expected i64"),
            (
                json!({ "userPoolID": "p_1", "username": "a", "ifResetRequired": user }),
                "Unknown variant. Expected one of Resend, Skip",
            ),
            (
                json!({ "userPoolID": "p_1", "username": "a", "expirationTime": user }),
                "Invalid value. Expected a time such as 2036-01-01T00:00:00Z as expirationTime",
            ),
        ] {
            assert_eq!(reported(spec), wanted);
        }
    }

    #[test]
    fn a_number_in_what_others_put_into_an_object_is_written_back_as_it_was_read() {
        let number = "2.434422246840973e+266";
        let text = format!(
            r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{number}}}]}},"spec":{{"userPoolID":"eu-west-1_A","username":"a"}}}}"#
        );
        let read: PasswordResetRequest = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert!(written.contains(number), "{written}");
    }
}
