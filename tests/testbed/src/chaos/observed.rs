//! The changes of requests and records that watches show.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    judge::{Effect, Reported, takes_back},
    server::{RECORDS, REQUESTS, Server},
};

/// The silence after which a watch is started again: with requests coming all the time, it is
/// likely to be dead.
const SILENCE: Duration = Duration::from_secs(5);

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Observed {
    requests: Mutex<HashMap<String, Seen>>,
    records: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Seen {
    uid: String,
    reported: Reported,
    went_back: bool,
    /// It was deleted without an end.
    cut_short: bool,
}

#[derive(Debug)]
struct Entry {
    attempt: String,
    effect: Option<Effect>,
    /// The end without a call, which is final; null if there is none.
    closed: Value,
    went_back: bool,
    /// It was deleted with its claim open.
    cut_short: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Observed {
    /// Returns true if this object is known to have ended.
    pub(super) fn has_ended(&self, name: &str, uid: &str) -> bool {
        lock(&self.requests).get(name).is_some_and(|seen| seen.uid == uid && seen.reported.has_ended())
    }

    /// Returns the status of the request when it was last seen.
    pub(super) fn reported(&self, name: &str) -> Option<Reported> {
        lock(&self.requests).get(name).map(|seen| seen.reported.clone())
    }

    /// Returns the effect that its record had when it was last seen.
    pub(super) fn effect(&self, name: &str) -> Option<Effect> {
        lock(&self.records).get(name).and_then(|entry| entry.effect)
    }

    /// Returns true if a request of this name was deleted before it had ended.
    pub(super) fn request_was_cut_short(&self, name: &str) -> bool {
        lock(&self.requests).get(name).is_some_and(|seen| seen.cut_short)
    }

    /// Returns true if its record was deleted while the claim was open.
    pub(super) fn record_was_cut_short(&self, name: &str) -> bool {
        lock(&self.records).get(name).is_some_and(|entry| entry.cut_short)
    }

    /// Returns true if anything about this request was taken back.
    pub(super) fn went_back(&self, name: &str) -> bool {
        lock(&self.requests).get(name).is_some_and(|seen| seen.went_back)
            || lock(&self.records).get(name).is_some_and(|entry| entry.went_back)
    }

    fn request(&self, object: &Value, deleted: bool) {
        let (uid, reported) = (text(object, "/metadata/uid"), Reported::of(object));
        let mut requests = lock(&self.requests);
        let seen = requests.entry(text(object, "/metadata/name")).or_insert_with(|| Seen {
            uid: uid.clone(),
            reported: reported.clone(),
            went_back: false,
            cut_short: false,
        });
        seen.cut_short |= deleted && !reported.has_ended();
        if seen.uid == uid
            && seen.reported.has_ended()
            && (&seen.reported.outcome, &seen.reported.reason) != (&reported.outcome, &reported.reason)
        {
            seen.went_back = true;
        }
        (seen.uid, seen.reported) = (uid, reported);
    }

    fn record(&self, object: &Value, deleted: bool) {
        let attempt = object["attempts"].as_array().and_then(|all| all.last()).map(|last| text(last, "/id"));
        let (attempt, effect, closed) = (attempt.unwrap_or_default(), Effect::of(object), object["closed"].clone());
        let mut records = lock(&self.records);
        let entry = records.entry(text(object, "/request/name")).or_insert_with(|| Entry {
            attempt: attempt.clone(),
            effect,
            closed: closed.clone(),
            went_back: false,
            cut_short: false,
        });
        entry.cut_short |= deleted && effect.is_none();
        entry.went_back |= takes_back(entry.effect, effect, entry.attempt != attempt);
        entry.went_back |= !entry.closed.is_null() && entry.closed != closed;
        (entry.attempt, entry.effect, entry.closed) = (attempt, effect, closed);
    }

    /// Watches forever, and reads everything again when a watch ends: the API server may be killed
    /// at any time.
    pub(super) async fn run(&self, server: &Server) {
        let requests = self.follow(server, REQUESTS, Self::request);
        let records = self.follow(server, RECORDS, Self::record);
        tokio::join!(requests, records);
    }

    async fn follow(&self, server: &Server, path: &str, note: impl Fn(&Self, &Value, bool)) {
        loop {
            // The reason for its end does not matter.
            let _ = self.follow_once(server, path, &note).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn follow_once(&self, server: &Server, path: &str, note: impl Fn(&Self, &Value, bool)) -> Result<()> {
        let (objects, version) = server.list(path).await?;
        objects.iter().for_each(|object| note(self, object, false));
        let mut body = timeout(SILENCE, server.watch(path, &version)).await??.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = timeout(SILENCE, body.frame()).await? {
            rest.extend_from_slice(frame?.data_ref().map(AsRef::as_ref).unwrap_or_default());
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line)?;
                match event["type"].as_str() {
                    Some("ADDED" | "MODIFIED") => note(self, &event["object"], false),
                    // The event has the object as it was when it was deleted.
                    Some("DELETED") => note(self, &event["object"], true),
                    _ => return Ok(()),
                }
            }
        }
        Ok(())
    }
}
