//! Compares an export with the ledger of the cluster. A record that went on since the export, as
//! the operator writes records, is no difference.

use cognito_reset_api::record::MAX_ATTEMPTS;
use jiff::Timestamp;
use serde_json::Value;

use crate::export::part::is_after;

/// The metadata that never changes. The other metadata may be written by others.
const METADATA: [&str; 2] = ["/metadata/uid", "/metadata/creationTimestamp"];
/// The fields of a record that change, each by its own rule. The others never do.
const CHANGING: [&str; 9] =
    ["apiVersion", "metadata", "schema", "userSub", "notAfter", "effect", "attempts", "omittedAttempts", "closed"];
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
    METADATA.iter().all(|path| before.pointer(path) == after.pointer(path))
        && is_kept(before, after, is_same_schema(before, after), &CHANGING)
        && closed_continues(before, after)
        && grows(before, after)
        && sub_continues(before, after)
        && effect_continues(before, after)
        && attempts_continue(before, after)
}

/// Returns true if all fields, except these, are as before. An operator of another schema may have
/// added some.
fn is_kept(before: &Value, after: &Value, is_same_schema: bool, except: &[&str]) -> bool {
    let kept = |from: &Value, by: &Value| {
        let mut fields = from.as_object().into_iter().flatten();
        fields.all(|(name, value)| except.contains(&name.as_str()) || by.get(name) == Some(value))
    };
    kept(before, after) && (!is_same_schema || kept(after, before))
}

fn is_same_schema(before: &Value, after: &Value) -> bool {
    schema(before) == schema(after)
}

/// A closed record is final, apart from how long it is kept. Only one without effect is closed.
fn closed_continues(before: &Value, after: &Value) -> bool {
    match (before.get("closed"), after.get("closed")) {
        (None, closed) => closed.is_none() || effect(after) == Some("NotPerformed"),
        (closed, later) => closed == later && is_same_attempt(before, after),
    }
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

/// The user is read again only for another claim, or for the closing, which forgets no user.
fn sub_continues(before: &Value, after: &Value) -> bool {
    let (sub, later) = (before.get("userSub"), after.get("userSub"));
    let is_closing = before.get("closed").is_none() && after.get("closed").is_some();
    sub == later || !is_same_attempt(before, after) || (is_closing && later.is_some_and(Value::is_string))
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

/// Returns true if the attempts are those of before, and what was claimed and omitted since.
fn attempts_continue(before: &Value, after: &Value) -> bool {
    let later = attempts(after);
    let now = |attempt: &Value| later.iter().find(|it| it.get("id") == attempt.get("id"));
    let listed: Vec<_> = attempts(before).iter().filter_map(|it| now(it).map(|now| (it, now))).collect();
    let is_in_order = later.iter().zip(&listed).all(|(attempt, (_, now))| attempt.get("id") == now.get("id"));
    is_in_order
        && listed.iter().all(|(attempt, now)| attempt_continues(before, after, attempt, now))
        && later.iter().skip(listed.len()).all(|added| is_proven(before, after, added))
        && omits(before, after, listed.len())
}

/// Returns true if an attempt is as before. The last one is settled later, or a holder that returns
/// learns that it was performed.
fn attempt_continues(before: &Value, after: &Value, attempt: &Value, now: &Value) -> bool {
    let may_settle = attempt.get("id") == last_id(before) && matches!(effect(before), None | Some("Unknown"));
    if may_settle && (effect(before) != effect(after) || !is_same_attempt(before, after)) {
        is_kept(attempt, now, is_same_schema(before, after), &SETTLED) && is_proven(before, after, now)
    } else {
        attempt == now
    }
}

/// Returns true if an attempt, settled since the export, has the evidence that goes with its
/// effect. All before the last one had none. What another schema means by its evidence is not
/// known.
fn is_proven(before: &Value, after: &Value, attempt: &Value) -> bool {
    let is_last = attempt.get("id") == last_id(after);
    let evidence = attempt.get("evidence").and_then(Value::as_str);
    let goes_with = match if is_last { effect(after) } else { Some("NotPerformed") } {
        None => return true,
        Some("Performed") => matches!(evidence, Some("CognitoResponse" | "UserStatusCheck")),
        Some("Unknown") => evidence == Some("Inconclusive"),
        Some(_) => matches!(evidence, Some("CognitoResponse" | "NeverSent" | "Unreachable")),
    };
    !is_same_schema(before, after) || (goes_with && attempt.get("settledAt").is_some())
}

/// Returns true if the attempts that are not listed any more are counted. Only a claim beyond the
/// most that a record keeps omits any: the earliest, apart from the first one.
fn omits(before: &Value, after: &Value, listed: usize) -> bool {
    let count = |record: &Value| record.get("omittedAttempts").and_then(Value::as_u64).unwrap_or(0);
    let gone = attempts(before).len().saturating_sub(listed) as u64;
    let Some(omitted) = count(after).checked_sub(count(before)) else { return false };
    // Later attempts are omitted only once all of these are, or all but the first.
    let is_counted = omitted == gone || (omitted > gone && listed <= 1);
    let is_full = attempts(after).len() >= MAX_ATTEMPTS || !is_same_schema(before, after);
    let is_same = is_same_attempt(before, after);
    let is_nothing_added = attempts(after).len() == listed;
    is_counted && (omitted == 0 || (is_full && !is_same)) && (!is_same || is_nothing_added)
}

#[cfg(test)]
mod tests;
