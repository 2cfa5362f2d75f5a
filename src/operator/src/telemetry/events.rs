//! Kubernetes Events about requests and grants, within a budget of their own, so that they never compete with resets.

mod direct;

use std::{sync::Arc, time::Duration};

use cognito_reset_api::{
    Outcome, UserPoolGrant,
    conditions::{Reason, Truth},
};
use cognito_reset_core::{machine::status::Telling, refusal::Refuser};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::interval};
use tracing::{debug, warn};

use self::direct::Direct;
use crate::{
    kube::store::within,
    telemetry::metrics::{Metrics, Target},
};

/// How many Events may wait; what comes on top is dropped and counted.
const QUEUE: usize = 256;
/// The most bytes of an Event's note that the API server takes.
const MAX_NOTE: usize = 1024;
/// The time between two Events.
const PERIOD: Duration = Duration::from_millis(200);

/// How long the API server has to take one.
const LIMIT: Duration = Duration::from_secs(5);

/// Publishes one Event after the other.
struct Publisher {
    recorder: Recorder,
    direct: Direct,
    metrics: Arc<Metrics>,
    /// Who refused the last one, if anybody.
    refuser: Option<Refuser>,
}

impl Publisher {
    /// One that cannot be published is dropped, and keeps no later one from being published, even where it panics.
    async fn publish(&mut self, event: &Event, object: &ObjectReference) {
        let publishing = async {
            if self.direct.takes(event, object) {
                self.direct.publish(event, object).await
            } else {
                self.recorder.publish(event, object).await
            }
        };
        let error = match within(LIMIT, publishing).await {
            Ok(()) => return self.refuser = None,
            Err(error) => error,
        };
        self.metrics.event_dropped();
        let Some(refuser) = error.refuser() else { return warn!(%error, "unable to publish an event") };
        self.metrics.write_refused(Target::Event, &refuser);
        if self.refuser.as_ref() == Some(&refuser) {
            debug!(%error, "the API server still refuses events");
        } else {
            warn!(%error, "the API server refuses an event; what it would have said is in the status, if anywhere");
        }
        self.refuser = Some(refuser);
    }
}

/// Takes Events and never blocks.
#[derive(Clone)]
pub struct Events {
    warnings: mpsc::Sender<(Event, ObjectReference)>,
    normal: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts the task that publishes, warnings first, until every `Events` is dropped.
    #[must_use]
    pub fn start(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        let (warnings, mut urgent) = mpsc::channel(QUEUE);
        let (normal, mut other) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: "cognito-reset-operator".into(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        let direct = Direct::new(client, reporter);
        let mut publisher = Publisher { recorder, direct, metrics: Arc::clone(&metrics), refuser: None };
        tokio::spawn(async move {
            let mut pace = interval(PERIOD);
            loop {
                let (event, object): (Event, ObjectReference) = tokio::select! {
                    biased;
                    Some(next) = urgent.recv() => next,
                    Some(next) = other.recv() => next,
                    else => return,
                };
                publisher.publish(&event, &object).await;
                pace.tick().await;
            }
        });
        Self { warnings, normal, metrics }
    }

    /// Tells how a request ended.
    pub fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, telling: &Telling) {
        let well = telling.outcome == Outcome::Succeeded && telling.reason != Reason::AlreadyPerformed;
        let type_ = if well { EventType::Normal } else { EventType::Warning };
        self.publish(object, type_, telling.reason.as_str(), &telling.message, "Reset");
    }

    /// Tells that requests of this one's namespace wait for AWS, and that it lasts.
    pub fn waits<K: Resource<DynamicType = ()>>(&self, object: &K, waiting: &Telling, requests: usize) {
        let note = match requests {
            1 => waiting.message.clone(),
            _ => format!("{}; {requests} requests of this namespace wait for this", waiting.message),
        };
        self.publish(object, EventType::Warning, waiting.reason.as_str(), &note, "Reset");
    }

    /// Warns of a write that is refused; `action` says which write it is about.
    pub fn refused(&self, object: ObjectReference, reason: &str, note: &str, action: &str) {
        self.send(EventType::Warning, reason, note, action, object);
    }

    /// Tells what is new of a grant.
    pub fn of_grant(&self, grant: &UserPoolGrant, condition: &Condition) {
        let well = condition.status == Truth::True.as_str();
        let type_ = if well { EventType::Normal } else { EventType::Warning };
        self.publish(grant, type_, &condition.reason, &condition.message, "Check");
    }

    /// Tells that an object cannot be read.
    pub fn invalid_object(&self, object: ObjectReference, message: &str) {
        self.send(EventType::Warning, Reason::InvalidObject.as_str(), message, "Read", object);
    }

    /// Tells that a request with a time to live will not be deleted, and why.
    pub fn not_deleted(&self, object: ObjectReference, note: &str) {
        self.send(EventType::Warning, "TTLNotApplied", note, "Delete", object);
    }

    fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: &str,
        action: &str,
    ) {
        self.send(type_, reason, note, action, object.object_ref(&()));
    }

    fn send(&self, type_: EventType, reason: &str, note: &str, action: &str, object: ObjectReference) {
        let note = Some(cut(note).to_owned());
        let event = Event { type_, reason: reason.into(), note, action: action.into(), secondary: None };
        let queue = match event.type_ {
            EventType::Warning => &self.warnings,
            EventType::Normal => &self.normal,
        };
        if queue.try_send((event, object)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

/// As much of a note as the API server takes.
fn cut(note: &str) -> &str {
    note.get(..note.floor_char_boundary(MAX_NOTE)).unwrap_or(note)
}

#[cfg(test)]
mod tests;
