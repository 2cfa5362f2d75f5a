//! Compares an export with the ledger of the cluster. A record that went on since the export, as
//! the operator writes records, is no difference.

use jiff::Timestamp;
use serde_json::Value;

use crate::export::part::is_after;

/// The parts of a record that never change.
const FIXED: [&str; 7] =
    ["/metadata/uid", "/metadata/creationTimestamp", "/action", "/request", "/userPoolID", "/username", "/kind"];
/// The fields of an attempt that are written when it is settled. The others are those of the claim.
const SETTLED: [&str; 7] =
    ["settledAt", "evidence", "cause", "exceptionCode", "sentAt", "awsRequestID", "userStatusAfter"];

/// The finding about a record of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was exported.
    Same,
    /// It was written after the export, in a way that the rules of records allow.
    WentOn,
    /// It was written first after the export.
    New,
    /// It differs from the export in a way that the rules of records exclude, or although it was
    /// not written since.
    Altered,
    /// It was there at the export, and is not in it.
    Missing,
}

/// Compares a record of the cluster with the exported one, if there is one. `exported_at` is the
/// resource version of the export.
#[must_use]
pub fn judge(exported: Option<&Value>, live: &Value, exported_at: &str) -> Finding {
    let later = is_after(live, exported_at);
    match exported {
        None if later => Finding::New,
        None => Finding::Missing,
        Some(exported) if exported == live => Finding::Same,
        Some(exported) if later && continues(exported, live) => Finding::WentOn,
        Some(_) => Finding::Altered,
    }
}

/// Returns true if a record can have become the other one by the writes of operators, which the
/// rules of the CRD and of the ledger limit. Metadata that others may write, such as labels, is not
/// compared.
fn continues(before: &Value, after: &Value) -> bool {
    FIXED.iter().all(|path| before.pointer(path) == after.pointer(path))
        && closed_continues(before, after)
        && grows(before, after)
        && sub_continues(before, after)
        && effect_continues(before, after)
        && attempts_continue(before, after)
}

/// A closed record is final, apart from how long it is kept.
fn closed_continues(before: &Value, after: &Value) -> bool {
    before.get("closed").is_none_or(|closed| after.get("closed") == Some(closed) && is_same_attempt(before, after))
}

/// The schema and the remembered expiry only grow.
fn grows(before: &Value, after: &Value) -> bool {
    let not_after = |record: &Value| match record.get("notAfter") {
        None => Some(None),
        Some(time) => time.as_str().and_then(|time| time.parse::<Timestamp>().ok()).map(Some),
    };
    let expiry_grows = match (not_after(before), not_after(after)) {
        (Some(before), Some(after)) => before <= after,
        _ => before.get("notAfter") == after.get("notAfter"),
    };
    schema(before) <= schema(after) && expiry_grows
}

fn schema(record: &Value) -> Option<i64> {
    record.get("schema").and_then(Value::as_i64)
}

/// The user is read again only for another claim, or for the closing.
fn sub_continues(before: &Value, after: &Value) -> bool {
    let was_closed = before.get("closed").is_none() && after.get("closed").is_some();
    was_closed || !is_same_attempt(before, after) || before.get("userSub") == after.get("userSub")
}

fn effect(record: &Value) -> Option<&str> {
    record.get("effect").and_then(Value::as_str)
}

fn effect_continues(before: &Value, after: &Value) -> bool {
    let is_same = is_same_attempt(before, after);
    match (effect(before), effect(after)) {
        (Some("Performed"), later) => is_same && later == Some("Performed"),
        (Some("Unknown"), later) => is_same && matches!(later, Some("Unknown" | "Performed")),
        (Some("NotPerformed"), later) if is_same => later == Some("NotPerformed"),
        _ => true,
    }
}

fn attempts(record: &Value) -> &[Value] {
    record.get("attempts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn last_id(record: &Value) -> Option<&Value> {
    attempts(record).last().and_then(|attempt| attempt.get("id"))
}

/// Returns true if nothing was claimed in between.
fn is_same_attempt(before: &Value, after: &Value) -> bool {
    last_id(before) == last_id(after)
}

/// Returns true if each attempt whose effect is final is still there, or is counted as omitted.
/// Only another claim adds attempts, and omits earlier ones.
fn attempts_continue(before: &Value, after: &Value) -> bool {
    let omitted = |record: &Value| record.get("omittedAttempts").and_then(Value::as_u64).unwrap_or(0);
    let is_same = is_same_attempt(before, after);
    // The last one is settled later, or a holder that returns learns that it was performed.
    let may_settle = matches!(effect(before), None | Some("Unknown"));
    let was_settled = may_settle && (effect(before) != effect(after) || !is_same);
    let (mut gone, mut same) = (0, true);
    for attempt in attempts(before) {
        let is_last = attempt.get("id") == last_id(before);
        match attempts(after).iter().find(|later| later.get("id") == attempt.get("id")) {
            None => gone += 1,
            Some(later) if is_last && was_settled => {
                same &= is_claim_kept(attempt, later, schema(before) == schema(after));
            }
            Some(later) => same &= later == attempt,
        }
    }
    let added = (attempts(after).len() + gone).saturating_sub(attempts(before).len());
    let omitted_since = omitted(after).checked_sub(omitted(before));
    let is_counted = omitted_since.is_some_and(|since| since >= gone as u64);
    same && is_counted && (!is_same || (added == 0 && gone == 0 && omitted_since == Some(0)))
}

/// Returns true if an attempt has the fields of its claim after it was settled. An operator of
/// another schema may have added some.
fn is_claim_kept(before: &Value, after: &Value, is_same_schema: bool) -> bool {
    let kept = |from: &Value, by: &Value| {
        let mut fields = from.as_object().into_iter().flatten();
        fields.all(|(name, value)| SETTLED.contains(&name.as_str()) || by.get(name) == Some(value))
    };
    kept(before, after) && (!is_same_schema || kept(after, before))
}

#[cfg(test)]
mod tests;
