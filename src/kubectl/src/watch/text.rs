//! The lines that a watch prints. Pure.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    exit::Exit,
    request::{Id, Request},
    status::summary::UNSEEN,
    style::{Tone, painted},
    tally::{State, Tally},
    terminal::shown,
    watch::progress::Progress,
};

/// The number of reasons below the bar, which fit into 80 columns.
const FREQUENT: usize = 2;

/// Returns the line of a request that has ended, in colours. `names_users` also shows its user,
/// which is for a terminal alone: the log of a job may be kept.
#[must_use]
pub fn ended(request: &Request, all_namespaces: bool, names_users: bool) -> String {
    let mut line = name(&request.id(), all_namespaces);
    if names_users {
        let _ = write!(line, " ({})", shown(&request.spec.username));
    }
    let outcome = request.outcome().as_str();
    let outcome = Tone::of_outcome(outcome).map_or_else(|| outcome.to_owned(), |tone| painted(outcome, tone));
    let _ = write!(line, ": {outcome}/{}", shown(request.reason()));
    match State::from(request) {
        State::NotNeeded if request.nothing_was_sent() => line.push_str(" (nothing was sent for this request)"),
        State::Failed | State::Unknown => {
            let _ = write!(line, ": {}", shown(request.message()));
        }
        State::NotNeeded | State::Succeeded | State::Pending | State::Deleted => {}
    }
    line
}

/// Returns the line of a request that was deleted before an outcome was seen or, where labels
/// select requests, is not selected any more.
#[must_use]
pub fn deleted(id: &Id, all_namespaces: bool, by_labels: bool) -> String {
    let how = if by_labels { "deleted, or without the labels," } else { "deleted" };
    format!(
        "{}: {how} before an outcome was seen; if a call was made, its record has the outcome",
        name(id, all_namespaces)
    )
}

fn name(id: &Id, all_namespaces: bool) -> String {
    if all_namespaces { id.to_string() } else { id.name.clone() }
}

/// Returns the counts at the end, with the reasons for which the pending requests wait.
#[must_use]
pub fn tally(progress: &Progress) -> String {
    let waiting = most_frequent(&progress.waiting()).join(", ");
    let waiting = if waiting.is_empty() { waiting } else { format!(" ({waiting})") };
    format!("{}{waiting}", progress.tally())
}

/// Returns the reasons with the numbers of requests that wait for them, the most frequent first.
fn most_frequent(waiting: &BTreeMap<Arc<str>, usize>) -> Vec<String> {
    let mut most: Vec<_> = waiting.iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let of = |(reason, count): (&Arc<str>, &usize)| {
        let reason = if reason.is_empty() { UNSEEN.into() } else { shown(reason) };
        format!("{count} {reason}")
    };
    most.into_iter().map(of).collect()
}

/// Returns the sentence about a watch that ended before its requests.
#[must_use]
pub fn ended_early(exit: Exit, progress: &Progress) -> &'static str {
    // Right after an interruption this would mean nothing: the operator needs a moment.
    if exit == Exit::TimedOut && progress.is_idle() {
        "timed out, and nothing shows that an operator runs: no outcome came, and no request that waits has a status: see `kubectl cognito-reset doctor`"
    } else {
        exit.meaning()
    }
}

/// Returns the text beside the bar: the rate, and what is left.
#[must_use]
pub fn pace(progress: &Progress) -> String {
    let mut text = progress.rate().map_or_else(String::new, |rate| format!("{rate:.1}/s, "));
    let _ = write!(text, "{} left", progress.tally().pending);
    if let Some(left) = progress.left().filter(|left| !left.is_zero()) {
        let _ = write!(text, ", {}", about(left));
    }
    text
}

/// Returns the lines below the bar: the outcomes, and the most frequent reasons for which requests
/// wait. Without the reasons, a pool whose deliveries fail would look like an operator that is
/// slow.
#[must_use]
pub fn below_bar(progress: &Progress) -> String {
    let Tally { succeeded, not_needed, failed, unknown, deleted, .. } = progress.tally();
    let mut text = format!("{succeeded} ok, {failed} failed, {unknown} unknown");
    if not_needed > 0 {
        let _ = write!(text, ", {not_needed} without a reset now");
    }
    if deleted > 0 {
        let _ = write!(text, ", {deleted} deleted");
    }
    waiting(progress).map_or(text.clone(), |waiting| format!("{text}\n{waiting}"))
}

/// Returns the most frequent reasons for which requests wait, if some do.
#[must_use]
pub fn waiting(progress: &Progress) -> Option<String> {
    let reasons = most_frequent(&progress.waiting());
    let more = if reasons.len() > FREQUENT { ", …" } else { "" };
    let shown = reasons.into_iter().take(FREQUENT).collect::<Vec<_>>().join(", ");
    (!shown.is_empty()).then(|| format!("waiting: {shown}{more}"))
}

/// Returns a duration as people say it, rounded up to two units.
#[must_use]
pub fn about(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// Returns the JSON object of a request that has ended.
#[must_use]
pub fn ended_json(request: &Request) -> Value {
    let Id { namespace, name } = request.id();
    json!({
        "event": "ended",
        "namespace": namespace,
        "name": name,
        "userPoolID": request.spec.user_pool_id,
        "username": request.spec.username,
        "outcome": request.outcome(),
        "reason": request.reason(),
        "message": request.message(),
        "password": request.status.password,
        "completionTime": request.status.completion_time,
    })
}

/// Returns the JSON object of a request that was deleted before an outcome was seen.
#[must_use]
pub fn deleted_json(Id { namespace, name }: &Id, by_labels: bool) -> Value {
    json!({"event": if by_labels { "deletedOrWithoutLabels" } else { "deleted" }, "namespace": namespace, "name": name})
}

/// Returns the JSON object at the end.
#[must_use]
pub fn tally_json(progress: &Progress) -> Value {
    let Tally { succeeded, not_needed, failed, unknown, pending, deleted } = progress.tally();
    let waiting: BTreeMap<_, _> = progress.waiting().into_iter().map(|(key, count)| (key.to_string(), count)).collect();
    json!({
        "event": "tally",
        "succeeded": succeeded,
        "withoutReset": not_needed,
        "failed": failed,
        "unknown": unknown,
        "deleted": deleted,
        "pending": pending,
        "waiting": waiting,
    })
}

#[cfg(test)]
mod tests;
