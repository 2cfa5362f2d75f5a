//! The numbers of a selection of requests. Pure.

use std::collections::BTreeMap;

use cognito_reset_api::Outcome;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::holds::Holds;
use crate::{
    request::Id,
    selection::Listed,
    style::{self, Tone},
    tally::Tally,
    terminal::{Columns, age, counted, shown},
};

/// The words for a pending request without a status of the operator.
pub const UNSEEN: &str = "without a status yet";

/// The counted requests.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    tally: Tally,
    waiting: BTreeMap<String, usize>,
    oldest: Option<Oldest>,
    unparsed: usize,
}

/// A pending request.
#[derive(Clone, Debug)]
struct Oldest {
    created: Timestamp,
    id: Id,
    reason: String,
}

impl Summary {
    /// Counts a request.
    pub fn add(&mut self, listed: &Listed) {
        let Some(request) = &listed.request else {
            self.unparsed += 1;
            return;
        };
        self.tally.add(request);
        if request.outcome() != Outcome::Pending {
            return;
        }
        let reason = if request.is_seen() { request.reason() } else { UNSEEN };
        *self.waiting.entry(reason.to_owned()).or_default() += 1;
        let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if let Some(created) = created.filter(|created| self.oldest.as_ref().is_none_or(|it| *created < it.created)) {
            self.oldest = Some(Oldest { created, id: request.id(), reason: reason.to_owned() });
        }
    }

    /// Returns the numbers as text. `of` names the selection, such as "in all namespaces".
    #[must_use]
    pub fn text(&self, of: &str, now: Timestamp) -> String {
        // A list has no request that was deleted.
        let Tally { succeeded, not_needed, failed, unknown, pending, deleted: _ } = self.tally;
        let mut text = format!("{} {of}\n", counted(self.tally.total() + self.unparsed, "request"));
        let mut rows = vec![("Succeeded", succeeded), ("Failed", failed), ("Unknown", unknown), ("Pending", pending)];
        if not_needed > 0 {
            rows.insert(1, ("Succeeded without a reset now", not_needed));
        }
        if self.unparsed > 0 {
            rows.push(("not parsable by this plugin", self.unparsed));
        }
        let outcomes = table(&["OUTCOME", "REQUESTS"], rows);
        // Only what there is has a colour.
        let tone =
            |line: &str| if line.ends_with(" 0") { line.to_owned() } else { style::word(line, 0, Tone::of_outcome) };
        text.extend(outcomes.lines().map(|line| tone(line) + "\n"));
        if !self.waiting.is_empty() {
            let mut rows: Vec<_> = self.waiting.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
            rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            text += &format!("\n{}", table(&["WAITING", "REQUESTS"], rows));
        }
        if let Some(Oldest { created, id, reason }) = &self.oldest {
            text += &format!("\nOldest pending: {id}, for {} ({})\n", age(*created, now), shown(reason));
        }
        text
    }

    /// Returns the numbers as JSON, with the holds that concern the selection, if they are known.
    #[must_use]
    pub fn json(&self, holds: Option<&Holds<'_>>) -> Value {
        let Tally { succeeded, not_needed, failed, unknown, pending, deleted: _ } = self.tally;
        let oldest = self.oldest.as_ref().map(|Oldest { created, id: Id { namespace, name }, reason }| {
            json!({ "namespace": namespace, "name": name, "createdAt": created, "reason": reason })
        });
        json!({
            "requests": self.tally.total() + self.unparsed,
            "succeeded": succeeded,
            "withoutReset": not_needed,
            "failed": failed,
            "unknown": unknown,
            "pending": pending,
            "unparsable": self.unparsed,
            "waiting": self.waiting,
            "oldestPending": oldest,
            "holds": holds.map(Holds::json),
            "unparsableHolds": holds.map(|holds| holds.unparsable),
        })
    }
}

fn table(header: &[&str], rows: Vec<(&str, usize)>) -> String {
    let rows = rows.into_iter().map(|(name, count)| vec![shown(name).into_owned(), count.to_string()]).collect();
    Columns::new(header).lines(rows) + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{parsed::Parsed, reasons::tests::states, snapshot::snapshot, style::plain};

    fn listed(object: serde_json::Value) -> Listed {
        Listed::from(serde_json::from_value::<kube::api::DynamicObject>(object).expect("an object"))
    }

    #[test]
    fn a_summary_of_every_state_looks_like_its_snapshot() {
        let mut summary = Summary::default();
        for (number, (_, mut object)) in states().into_iter().enumerate() {
            let created = format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
            object["metadata"] =
                json!({"name": format!("inc-7-{number}"), "namespace": "support", "creationTimestamp": created});
            summary.add(&listed(object));
        }
        let now = "2026-01-01T02:00:00Z".parse().expect("a time");
        snapshot("status/snapshots/every-state.txt", &plain(&summary.text("in namespace support", now)));
    }

    #[test]
    fn totals_are_those_of_all_requests() {
        let mut summary = Summary::default();
        let states = states();
        let count = states.len();
        for (number, (_, mut object)) in states.into_iter().enumerate() {
            object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:{:02}:00Z", 59 - number % 60));
            summary.add(&listed(object));
        }
        summary.add(&listed(json!({ "metadata": { "name": "new" }, "status": { "outcome": "Newer" } })));
        assert_eq!((summary.tally.total(), summary.unparsed), (count, 1));
        assert_eq!(summary.waiting.values().sum::<usize>(), summary.tally.pending);
        let json = summary.json(None);
        let counts = ["succeeded", "withoutReset", "failed", "unknown", "pending", "unparsable"];
        let total: u64 = counts.iter().filter_map(|name| json[name].as_u64()).sum();
        assert_eq!(
            (json["requests"].as_u64(), total, json["unparsable"].as_u64()),
            (Some(total), json["requests"].as_u64().unwrap(), Some(1))
        );
        assert_eq!(json["oldestPending"]["name"], "reset-alice");
        assert_eq!((&json["holds"], &json["unparsableHolds"]), (&Value::Null, &Value::Null));
        let holds = Parsed { objects: Vec::new(), unreadable: vec!["newer".to_owned()] };
        let json = summary.json(Some(&Holds::of(&holds, None, None)));
        assert_eq!((&json["holds"], &json["unparsableHolds"]), (&json!([]), &json!(["newer"])));
        let text = plain(&summary.text("in all namespaces", "2026-01-01T02:00:00Z".parse().expect("a time")));
        assert!(text.starts_with(&format!("{} requests in all namespaces\nOUTCOME", count + 1)), "{text}");
        for part in ["Succeeded without a reset now", "AwaitingApproval", "Oldest pending: support/reset-alice"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn small_numbers_are_text() {
        let mut summary = Summary::default();
        let now = "2026-01-01T03:00:00Z".parse().expect("a time");
        assert_eq!(
            summary.text("here", now),
            "0 requests here\nOUTCOME     REQUESTS\nSucceeded   0\nFailed      0\nUnknown     0\nPending     0\n"
        );
        for minute in ["01", "00"] {
            let created = format!("2026-01-01T00:{minute}:00Z");
            let metadata = json!({ "name": minute, "namespace": "support", "creationTimestamp": created });
            summary.add(&listed(json!({ "metadata": metadata })));
        }
        assert!(
            summary
                .text("here", now)
                .ends_with("\nWAITING                REQUESTS\nwithout a status yet   2\n\nOldest pending: support/00, for 3h (without a status yet)\n")
        );
    }
}
