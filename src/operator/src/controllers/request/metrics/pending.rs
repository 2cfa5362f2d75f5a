//! Measures the pending requests as the watch shows them.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use cognito_reset_api::{PasswordResetRequest, conditions::ConditionType};
use cognito_reset_core::{dispatch::key::Key, shared::Shared};
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

/// The reason of a request whose status cannot be read, or has no reason yet.
const NO_REASON: &str = "None";

/// The pending requests. The metrics are computed when they are read, so that an age needs no
/// timer.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingRequests(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    /// An ordered map, whose memory grows evenly.
    pending: BTreeMap<Key, Pending>,
    reasons: Shared<str>,
}

#[derive(Debug)]
struct Pending {
    reason: Arc<str>,
    created: Timestamp,
}

impl PendingRequests {
    /// Adds a request, or replaces what is known of it.
    pub(crate) fn put(&self, key: Key, request: &PasswordResetRequest) {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
        let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let mut requests = self.0.lock();
        let reason = requests.reasons.share(ready.map_or(NO_REASON, |ready| &ready.reason));
        requests.pending.insert(key, Pending { reason, created });
    }

    /// Removes a request.
    pub(crate) fn remove(&self, key: Key) {
        self.0.lock().pending.remove(&key);
    }

    /// Removes all requests but these.
    pub(crate) fn retain(&self, keys: &HashSet<Key>) {
        self.0.lock().pending.retain(|key, _| keys.contains(key));
    }

    /// Returns the number of requests and the creation of the oldest one, by reason.
    fn by_reason(&self) -> BTreeMap<Arc<str>, (i64, Timestamp)> {
        let mut reasons = BTreeMap::new();
        for Pending { reason, created } in self.0.lock().pending.values() {
            let (number, oldest) = reasons.entry(Arc::clone(reason)).or_insert((0, *created));
            *number += 1;
            *oldest = (*oldest).min(*created);
        }
        reasons
    }
}

/// Returns an age in whole seconds, at least 0: the clock may be behind the API server's.
fn age(created: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(created).as_secs().max(0)
}

impl Collector for PendingRequests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (reasons, now) = (self.by_reason(), Timestamp::now());
        let help = "Pending requests, by the reason for which they wait; a reason without requests is absent";
        let mut numbers = encoder.encode_descriptor("requests_pending", help, None, MetricType::Gauge)?;
        for (reason, (number, _)) in &reasons {
            ConstGauge::new(*number).encode(numbers.encode_family(&[("reason", &**reason)])?)?;
        }
        let help = "Age of the oldest pending request, from its creation, by the reason for which it waits; a reason without requests is absent";
        let name = "oldest_pending_request_age";
        let mut ages = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (reason, (_, created)) in &reasons {
            ConstGauge::new(age(*created, now)).encode(ages.encode_family(&[("reason", &**reason)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use serde_json::json;

    use super::*;

    fn request(name: &str, seconds: i64, reason: Option<&str>) -> PasswordResetRequest {
        let conditions: Vec<_> = reason
            .map(|reason| {
                json!({ "type": "Ready", "status": "Unknown", "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" })
            })
            .into_iter()
            .collect();
        let created = Timestamp::from_second(seconds).unwrap();
        serde_json::from_value(json!({
            "metadata": { "namespace": "support", "name": name, "creationTimestamp": created.to_string() },
            "spec": { "userPoolID": "p_1", "username": "alice" },
            "status": { "outcome": "Pending", "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn pending_requests_are_counted_by_their_latest_reason() {
        let pending = PendingRequests::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(pending.by_reason(), BTreeMap::new());
        for (name, seconds, reason) in [
            ("a", 100, Some("Suspended")),
            ("b", 90, None),
            ("c", 120, Some("Suspended")),
            ("d", 110, Some("Suspended")),
            ("a", 100, Some("Throttled")),
        ] {
            pending.put(Key::of_uid(name), &request(name, seconds, reason));
        }
        let wanted =
            [("None".into(), (1, at(90))), ("Suspended".into(), (2, at(110))), ("Throttled".into(), (1, at(100)))];
        assert_eq!(pending.by_reason(), wanted.into());
        pending.remove(Key::of_uid("d"));
        pending.retain(&[Key::of_uid("c"), Key::of_uid("d")].into());
        assert_eq!(pending.by_reason(), [("Suspended".into(), (1, at(120)))].into());
        assert_eq!([age(at(120), at(200)), age(at(120), at(50))], [80, 0]);
    }

    #[test]
    fn the_metrics_are_gauges_with_the_reason_as_label() {
        let pending = PendingRequests::default();
        pending.put(Key::of_uid("a"), &request("a", Timestamp::now().as_second() - 60, Some("Suspended")));
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix("cognito_reset").register_collector(Box::new(pending));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("# TYPE cognito_reset_requests_pending gauge"), "{text}");
        assert!(text.contains("cognito_reset_requests_pending{reason=\"Suspended\"} 1"), "{text}");
        assert!(text.contains("cognito_reset_oldest_pending_request_age_seconds{reason=\"Suspended\"} 6"), "{text}");
    }
}
