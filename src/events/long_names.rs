//! Events about objects with long names, which kube's Recorder cannot publish: it names an Event after its object, with 17
//! more characters for the time, and the API server takes 253. Here the API server completes a name that is cut.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event as Published},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::events::{Event, EventType, Reporter},
};

/// The longest name of an object that the Recorder can name an Event after.
const LONGEST_FOR_THE_RECORDER: usize = 253 - ".18c9f0a1b2c3d4e5".len();
/// As much as the API server keeps of a name that it completes.
const KEPT: usize = 58;
/// For so long one Event stands for its repetitions, as the Recorder has it. They are not counted.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(6);

/// Whether the Recorder has to be passed by.
pub(super) fn is_long(object: &ObjectReference) -> bool {
    object.name.as_ref().is_some_and(|name| name.len() > LONGEST_FOR_THE_RECORDER)
}

/// Publishes such Events.
pub(super) struct LongNames {
    client: Client,
    reporter: Reporter,
    /// When which was published, by uid, reason and action.
    lately: HashMap<[String; 3], Timestamp>,
}

impl LongNames {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, lately: HashMap::new() }
    }

    pub(super) async fn publish(&mut self, event: &Event, object: &ObjectReference) -> kube::Result<()> {
        let now = Timestamp::now();
        self.lately.retain(|_, at| now.duration_since(*at).abs() < STANDS_FOR);
        let key = [object.uid.clone().unwrap_or_default(), event.reason.clone(), event.action.clone()];
        if self.lately.contains_key(&key) {
            return Ok(());
        }
        let events: Api<Published> =
            Api::namespaced(self.client.clone(), object.namespace.as_deref().unwrap_or("default"));
        events.create(&PostParams::default(), &self.published(event, object, now)).await?;
        self.lately.insert(key, now);
        Ok(())
    }

    /// The same fields as the Recorder's, but for the name.
    fn published(&self, event: &Event, object: &ObjectReference, now: Timestamp) -> Published {
        let cut = object.name.iter().flat_map(|name| name.chars()).take(KEPT).collect();
        let controller = &self.reporter.controller;
        Published {
            metadata: ObjectMeta {
                generate_name: Some(cut),
                namespace: object.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some(event.action.clone()),
            reason: Some(event.reason.clone()),
            note: event.note.clone(),
            type_: Some(match event.type_ {
                EventType::Normal => "Normal".into(),
                EventType::Warning => "Warning".into(),
            }),
            event_time: Some(MicroTime(now)),
            regarding: Some(object.clone()),
            related: event.secondary.clone(),
            reporting_controller: Some(controller.clone()),
            reporting_instance: Some(self.reporter.instance.clone().unwrap_or_else(|| controller.clone())),
            ..Published::default()
        }
    }
}
