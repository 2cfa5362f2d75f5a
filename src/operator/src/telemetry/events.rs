//! Publishes Kubernetes Events about requests, grants and holds, with a rate of their own, so that
//! they never delay resets.

mod direct;

use std::time::Duration;

use cognito_reset_core::refusal::Refuser;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::interval};
use tracing::{debug, warn};

use self::direct::Direct;
use crate::{kube::store::within, telemetry::metrics::ProcessMetrics};

/// The number of Events that may wait. Further ones are dropped and counted.
const QUEUE: usize = 256;
/// The maximum size of a note that the API server accepts, in bytes.
const MAX_NOTE: usize = 1024;
/// The time between two Events.
const PERIOD: Duration = Duration::from_millis(200);

/// The timeout of one Event.
const LIMIT: Duration = Duration::from_secs(5);

/// Publishes one Event after the other.
struct Publisher {
    recorder: Recorder,
    direct: Direct,
    metrics: ProcessMetrics,
    /// The policy or webhook that rejected the last Event, if one did.
    refuser: Option<Refuser>,
}

impl Publisher {
    /// Publishes an Event. One that cannot be published is dropped and does not stop later ones,
    /// even if the client panics.
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
        self.metrics.write_refused("event", refuser.kind());
        if self.refuser.as_ref() == Some(&refuser) {
            debug!(%error, "the API server still rejects Events");
        } else {
            warn!(%error, "the API server rejects an Event; its content is in the status, if anywhere");
        }
        self.refuser = Some(refuser);
    }
}

/// Accepts Events without ever blocking.
#[derive(Clone)]
pub(crate) struct Events {
    warnings: mpsc::Sender<(Event, ObjectReference)>,
    normal: mpsc::Sender<(Event, ObjectReference)>,
    metrics: ProcessMetrics,
}

impl Events {
    /// Returns the queue of Events, and the task that publishes them, warnings first, until every
    /// `Events` is dropped.
    pub(crate) fn new(
        client: Client,
        instance: String,
        metrics: ProcessMetrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (warnings, mut urgent) = mpsc::channel(QUEUE);
        let (normal, mut other) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: "cognito-reset-operator".into(), instance: Some(instance) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        let direct = Direct::new(client, reporter);
        let mut publisher = Publisher { recorder, direct, metrics: metrics.clone(), refuser: None };
        let publishing = async move {
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
        };
        (Self { warnings, normal, metrics }, publishing)
    }

    /// Publishes an Event about something that went well. `action` names what was done, and
    /// `reason` its result.
    pub(crate) fn normal(&self, object: ObjectReference, reason: &str, note: &str, action: &str) {
        self.send(EventType::Normal, reason, note, action, object);
    }

    /// Publishes an Event about something that somebody should look at.
    pub(crate) fn warning(&self, object: ObjectReference, reason: &str, note: &str, action: &str) {
        self.send(EventType::Warning, reason, note, action, object);
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

/// Returns the part of a note that the API server accepts.
fn cut(note: &str) -> &str {
    note.get(..note.floor_char_boundary(MAX_NOTE)).unwrap_or(note)
}

#[cfg(test)]
mod tests;
