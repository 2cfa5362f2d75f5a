//! Publishes Events that kube's Recorder cannot publish.
//!
//! The Recorder names an Event after its object, with 17 more characters for the time, and the API
//! server accepts 253. Here the API server completes a truncated name. The Recorder also counts an
//! Event that differs only in its note as a repetition of the first one, so the other note is lost.
//! Here each note is an Event of its own.

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

/// The maximum length of an object name with which the Recorder can publish an Event.
const LONGEST_FOR_THE_RECORDER: usize = 253 - ".18c9f0a1b2c3d4e5".len();
/// The length to which the API server truncates a name that it completes.
const KEPT: usize = 58;
/// The time in which an Event covers its repetitions, as in the Recorder. They are not counted.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(6);
/// The time after which the Recorder no longer counts repetitions. It drops an Event six minutes
/// after the last repetition, by its own slightly later reading of the clock.
const RECORDER_COUNTS_FOR: SignedDuration = SignedDuration::from_mins(7);

fn is_long(object: &ObjectReference) -> bool {
    object.name.as_ref().is_some_and(|name| name.len() > LONGEST_FOR_THE_RECORDER)
}

/// The key by which the Recorder distinguishes Events: uid, reason and action.
type Key = [String; 3];

/// Publishes these Events.
pub(super) struct Direct {
    client: Client,
    reporter: Reporter,
    notes: Notes,
    /// The times of the Events published here, by key and note.
    lately: HashMap<(Key, Option<String>), Timestamp>,
}

/// The note under which the Recorder counts repetitions, and the start of the count.
#[derive(Default)]
struct Notes(HashMap<Key, (Option<String>, Timestamp)>);

impl Notes {
    /// Returns true if the Recorder would count this as a repetition of an Event with another note.
    fn has_another(&mut self, key: Key, note: Option<&str>, now: Timestamp) -> bool {
        self.0.retain(|_, (_, at)| now.duration_since(*at).abs() < RECORDER_COUNTS_FOR);
        let (first, at) = self.0.entry(key).or_insert_with(|| (note.map(str::to_owned), now));
        let is_other = first.as_deref() != note;
        if !is_other {
            *at = now;
        }
        is_other
    }
}

fn key(event: &Event, object: &ObjectReference) -> Key {
    [object.uid.clone().unwrap_or_default(), event.reason.clone(), event.action.clone()]
}

impl Direct {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, notes: Notes::default(), lately: HashMap::new() }
    }

    /// Returns true if this Event has to be published here and not by the Recorder.
    pub(super) fn takes(&mut self, event: &Event, object: &ObjectReference) -> bool {
        is_long(object) || self.notes.has_another(key(event, object), event.note.as_deref(), Timestamp::now())
    }

    pub(super) async fn publish(&mut self, event: &Event, object: &ObjectReference) -> kube::Result<()> {
        let now = Timestamp::now();
        self.lately.retain(|_, at| now.duration_since(*at).abs() < STANDS_FOR);
        let key = (key(event, object), event.note.clone());
        if self.lately.contains_key(&key) {
            return Ok(());
        }
        let events: Api<Published> =
            Api::namespaced(self.client.clone(), object.namespace.as_deref().unwrap_or("default"));
        events.create(&PostParams::default(), &self.published(event, object, now)).await?;
        self.lately.insert(key, now);
        Ok(())
    }

    /// Returns the Event with the same fields as the Recorder's, except for the name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_note_is_not_counted_as_a_repetition() {
        let mut notes = Notes::default();
        for (minute, reason, note, is_other) in [
            (0, "WriteRefused", "by a", false),
            (0, "WriteRefused", "by b", true),
            (0, "InvalidObject", "by b", false),
            (5, "WriteRefused", "by a", false),
            (10, "WriteRefused", "by b", true),
            (12, "WriteRefused", "by b", false),
            (12, "WriteRefused", "by a", true),
        ] {
            let key = ["uid".to_owned(), reason.to_owned(), "Settle".to_owned()];
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
            assert_eq!(notes.has_another(key, Some(note), now), is_other, "{reason} {note} after {minute} min");
        }
    }
}
