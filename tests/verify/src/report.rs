//! The report that can be contributed: what was compared, and nothing that identifies the account.

use std::{fmt::Write as _, time::Duration};

use cognito_reset_core::action::response::{Class, ResetResponse};
use serde::Serialize;

use crate::{
    compare::{Observation, Seen, Trace, Verdict, compare},
    plan::Plan,
    rows::{NOT_PROVOKED, ROWS, Row, Wanted},
};

/// The reasons why a row was left out on purpose.
const EMULATED: &str = "the emulator does not show it";
const NO_LAMBDA: &str = "WITHOUT_LAMBDA";

/// The whole report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    format: u32,
    operator_version: &'static str,
    date: String,
    service: &'static str,
    region: String,
    watched_seconds: u64,
    pub(crate) shown: Vec<Shown>,
    pub(crate) not_shown: Vec<NotShown>,
    not_provoked: Vec<NotProvoked>,
    removed: Vec<String>,
}

/// A row that was compared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    row: &'static str,
    case: &'static str,
    documented: Vec<&'static str>,
    response: String,
    class: &'static str,
    call_milliseconds: u128,
    before: String,
    happened: &'static str,
    admin_get_user: Read,
    list_users: Read,
    #[serde(skip)]
    pub(crate) verdict: Verdict,
    #[serde(rename = "verdict")]
    verdict_in_words: &'static str,
}

/// The reads after a call, by one operation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    last: String,
    reset_required_after_milliseconds: Option<u128>,
}

/// A row that was not compared.
#[derive(Debug, Serialize)]
pub(crate) struct NotShown {
    pub(crate) row: &'static str,
    case: &'static str,
    pub(crate) why: String,
}

/// An exception without a row.
#[derive(Debug, Serialize)]
struct NotProvoked {
    exception: &'static str,
    class: &'static str,
    why: &'static str,
}

/// The circumstances of a run.
pub(crate) struct Circumstances {
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) emulated: bool,
    pub(crate) watch: Duration,
    pub(crate) plan: Plan,
}

impl Circumstances {
    /// Returns the reason why a row is not tried; `None` if it is.
    pub(crate) fn excuse(&self, row: &Row) -> Option<&'static str> {
        if !self.plan.shows(row) {
            Some(NO_LAMBDA)
        } else if self.emulated && !row.emulated {
            Some(EMULATED)
        } else {
            None
        }
    }
}

impl Report {
    /// Returns the report about these results, each by the id of its row.
    pub(crate) fn new(
        circumstances: &Circumstances,
        results: &[(&'static str, Result<Observation, String>)],
        removed: Vec<String>,
    ) -> Self {
        let (mut shown, mut not_shown) = (Vec::new(), Vec::new());
        for row in ROWS {
            let why = match results.iter().find(|(id, _)| *id == row.id) {
                Some((_, Ok(observation))) => {
                    shown.push(Shown::new(row, observation));
                    continue;
                }
                Some((_, Err(why))) => why.clone(),
                None => circumstances.excuse(row).unwrap_or("not tried").to_owned(),
            };
            not_shown.push(NotShown { row: row.id, case: row.case, why });
        }
        let not_provoked = NOT_PROVOKED.iter().map(|&(exception, why)| NotProvoked {
            exception: exception.code(),
            class: class_name(Some(Class::of(exception))),
            why,
        });
        Self {
            format: 1,
            operator_version: env!("CARGO_PKG_VERSION"),
            date: circumstances.date.clone(),
            service: if circumstances.emulated { "an emulator" } else { "Amazon Cognito" },
            region: circumstances.region.clone(),
            watched_seconds: circumstances.watch.as_secs(),
            shown,
            not_shown,
            not_provoked: not_provoked.collect(),
            removed,
        }
    }

    /// Returns the report as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# Comparison with {}\n\nOperator {}, {}, {}. After each call the user was read for up to {} s.\n\n",
            self.service, self.operator_version, self.region, self.date, self.watched_seconds
        );
        text += "| row | case | documented | response | class | call | before | what happened | AdminGetUser after | \
                 ListUsers after | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
        for row in &self.shown {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} ms | {} | {} | {} | {} | {} |",
                row.row,
                row.case,
                row.documented.join(" or "),
                row.response,
                row.class,
                row.call_milliseconds,
                row.before,
                row.happened,
                row.admin_get_user.in_words(),
                row.list_users.in_words(),
                row.verdict_in_words,
            );
        }
        text += "\n## Not shown\n\n| row | case | why |\n|---|---|---|\n";
        for row in &self.not_shown {
            let _ = writeln!(text, "| `{}` | {} | {} |", row.row, row.case, row.why);
        }
        text += "\n## Without a row\n\n| exception | class | why |\n|---|---|---|\n";
        for it in &self.not_provoked {
            let _ = writeln!(text, "| `{}` | {} | {} |", it.exception, it.class, it.why);
        }
        let _ = writeln!(text, "\nRemoved after the run: {}.", self.removed.join(", "));
        text
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    /// Returns true if every row that was tried agrees.
    pub(crate) fn agrees(&self) -> bool {
        self.shown.iter().all(|row| row.verdict == Verdict::Agrees)
            && self.not_shown.iter().all(|row| row.why == EMULATED || row.why == NO_LAMBDA)
    }
}

impl Shown {
    fn new(row: &Row, observation: &Observation) -> Self {
        let verdict = compare(row, observation);
        Self {
            row: row.id,
            case: row.case,
            documented: documented(row.wanted),
            response: response_name(&observation.response),
            class: class_name(observation.response.class()),
            call_milliseconds: observation.took.as_millis(),
            before: seen(&observation.before),
            happened: observation.happened().in_words(),
            admin_get_user: Read::new(&observation.get),
            list_users: Read::new(&observation.list),
            verdict,
            verdict_in_words: verdict.in_words(),
        }
    }
}

impl Read {
    fn new(trace: &Trace) -> Self {
        let after = trace.reset_required_after.map(|after| after.as_millis());
        Self { last: seen(&trace.last), reset_required_after_milliseconds: after }
    }

    fn in_words(&self) -> String {
        match self.reset_required_after_milliseconds {
            Some(after) => format!("{} after {after} ms", self.last),
            None => self.last.clone(),
        }
    }
}

fn documented(wanted: Wanted) -> Vec<&'static str> {
    match wanted {
        Wanted::Accepted => vec!["Accepted"],
        Wanted::NotSent => vec!["NotSent"],
        Wanted::NoResponse => vec!["NoResponse"],
        Wanted::Exception(any) => any.iter().map(|exception| exception.code()).collect(),
    }
}

fn response_name(response: &ResetResponse) -> String {
    response.code().map_or_else(|| response.name().to_owned(), |code| code.as_str().to_owned())
}

/// Returns the class as `docs/reasons.md` names it.
const fn class_name(class: Option<Class>) -> &'static str {
    match class {
        None => "accepted",
        Some(Class::Refused) => "refused",
        Some(Class::Throttled) => "throttled",
        Some(Class::Blocked) => "blocked",
        Some(Class::Ambiguous) => "ambiguous",
        Some(Class::AmbiguousFailure) => "ambiguous failure",
    }
}

fn seen(seen: &Seen) -> String {
    match seen {
        Ok(status) => format!("{status:?}"),
        Err(word) => word.clone(),
    }
}

/// Returns the first of these texts that a report contains. None may be in one.
pub(crate) fn contains<'a>(report: &str, secrets: &'a [String]) -> Option<&'a str> {
    let report = report.to_ascii_lowercase();
    let mut secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.find(|secret| report.contains(&secret.to_ascii_lowercase())).map(String::as_str)
}

#[cfg(test)]
mod tests;
