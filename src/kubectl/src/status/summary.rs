//! The numbers of a selection of requests, and the holds that concern it. Pure.

use std::collections::BTreeMap;

use cognito_reset_api::{Outcome, UserPoolHold};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    request::Id,
    selection::Listed,
    style::{self, Tone},
    tally::Tally,
    terminal::{Columns, age, counted, shown, wrapped},
};

/// The words for a pending request without a status of the operator.
pub const UNSEEN: &str = "not seen by the operator yet";

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
}

fn table(header: &[&str], rows: Vec<(&str, usize)>) -> String {
    let rows = rows.into_iter().map(|(name, count)| vec![shown(name).into_owned(), count.to_string()]).collect();
    Columns::new(header).lines(rows) + "\n"
}

/// Returns the holds that concern a pool and namespace, each in one line. Without a pool or a
/// namespace, every one counts.
#[must_use]
pub fn holds(holds: &[UserPoolHold], pool: Option<&str>, namespace: Option<&str>, width: Option<usize>) -> String {
    let of_pool = |hold: &UserPoolHold| match (&hold.spec.user_pool_id, pool) {
        (Some(held), Some(wanted)) => held == wanted,
        (None, _) | (_, None) => true,
    };
    let of_namespace = |hold: &UserPoolHold| match (&hold.spec.namespaces, namespace) {
        (Some(held), Some(wanted)) => held.iter().any(|held| held == wanted),
        (None, _) | (_, None) => true,
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) = holds.iter().partition(|hold| of_pool(hold) && of_namespace(hold));
    let mut lines: Vec<String> = here.into_iter().map(|hold| wrapped("Hold: ", &line(hold), width)).collect();
    if !elsewhere.is_empty() {
        lines.push(format!("{} in other pools or namespaces", counted(elsewhere.len(), "hold")));
    }
    if lines.is_empty() { "No holds\n".to_owned() } else { lines.join("\n") + "\n" }
}

fn line(hold: &UserPoolHold) -> String {
    let spec = &hold.spec;
    let pool = spec.user_pool_id.as_ref().map_or("every pool".to_owned(), |pool| format!("pool {}", shown(pool)));
    let namespaces = match spec.namespaces.as_deref() {
        None => "every namespace".to_owned(),
        Some(names) => format!("namespaces {}", shown(&names.join(", "))),
    };
    let users = spec.usernames.as_ref().map_or("every user".to_owned(), |users| format!("{} users", users.len()));
    let status = hold.status.as_ref();
    let ready = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "Ready"));
    let in_force = match ready.map(|ready| ready.status.as_str()) {
        Some("True") => "in force",
        _ => "not confirmed by the operator yet",
    };
    let held = status.and_then(|status| status.held_requests).map(|held| format!(", holds {held} pending requests"));
    format!(
        "{} ({pool}, {namespaces}, {users}), {in_force}{}: {}",
        hold.name_any(),
        held.unwrap_or_default(),
        shown(&spec.reason)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{reasons::tests::states, snapshot::snapshot, style::plain};

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
        snapshot("status/summary/every-state.txt", &plain(&summary.text("in namespace support", now)));
        let hold = |name: &str, spec: serde_json::Value| {
            UserPoolHold::new(name, serde_json::from_value(spec).expect("a hold"))
        };
        let reason =
            "the mail provider of the pool is down, and codes that are sent now are lost; see the incident channel";
        let all = [
            hold("incident", json!({"reason": reason, "userPoolID": "eu-west-1_Example01"})),
            hold(
                "users",
                json!({"reason": "asked by legal\u{202e}", "namespaces": ["support"], "usernames": ["a", "b"]}),
            ),
            hold("elsewhere", json!({"reason": "x", "namespaces": ["other"]})),
        ];
        for (file, width) in [("holds-80.txt", Some(80)), ("holds-140.txt", Some(140)), ("holds-piped.txt", None)] {
            snapshot(&format!("status/summary/{file}"), &holds(&all, None, Some("support"), width));
        }
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
                .ends_with("\nWAITING                        REQUESTS\nnot seen by the operator yet   2\n\nOldest pending: support/00, for 3h (not seen by the operator yet)\n")
        );
    }

    #[test]
    fn only_holds_that_concern_the_selection_are_named() {
        let hold = |name: &str, spec: serde_json::Value| {
            let mut spec = spec;
            spec["reason"] = json!("incident 7");
            UserPoolHold::new(name, serde_json::from_value(spec).expect("a hold"))
        };
        let all = [
            hold("all", json!({})),
            hold("pool", json!({ "userPoolID": "eu-west-1_b" })),
            hold("ns", json!({ "namespaces": ["ops"], "usernames": ["a", "b"] })),
        ];
        let text = holds(&all, Some("eu-west-1_a"), Some("support"), None);
        assert_eq!(
            text,
            "Hold: all (every pool, every namespace, every user), not confirmed by the operator yet: incident 7\n2 holds in other pools or namespaces\n"
        );
        assert_eq!(holds(&all, None, None, None).lines().count(), 3);
        assert_eq!(holds(&[], None, None, None), "No holds\n");
    }
}
