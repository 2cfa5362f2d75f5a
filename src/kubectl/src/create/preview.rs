//! The screen before Enter. Pure.

use cognito_reset_api::{Outcome, WaitReason};
use comfy_table::{ContentArrangement, Table, presets};

use super::{
    budget::Budget,
    found::Found,
    plan::{Existing, Plan, Wanted},
    terms::Terms,
};
use crate::{
    terminal::{frequencies, shown},
    watch::text::about,
};

/// The greatest number of unchanged requests that are shown one by one.
const SHOWN: usize = 5;

/// The way to stop requests without a ticket.
const NO_COMMAND: &str = "`kubectl cognito-reset suspend` with their names; a --ticket would name them all";

/// The remark without the permission to list the requests of all namespaces.
const OTHER_NAMESPACES: &str = "are searched in this namespace alone, because you may not list all requests";
/// The subject of the remark if the records are not known.
const EARLIER: &str = "earlier resets of these users";
/// The subject of the remark if the records of all namespaces are known.
const WAITING: &str = "requests for these users that wait";

/// The parts of the screen.
#[derive(Clone, Copy, Debug)]
pub struct Preview<'a> {
    /// The user pool.
    pub pool: &'a str,
    /// The namespace of the requests.
    pub namespace: &'a str,
    /// The work.
    pub plan: &'a Plan,
    /// The new requests for which something may be sent.
    pub sending: &'a [Wanted],
    /// The requests and records that exist already.
    pub found: &'a Found,
    /// The grants and holds that apply.
    pub terms: &'a Terms,
    /// The budget of the operator.
    pub budget: &'a Budget,
    /// The number of messages that the pool may still send today.
    pub mail_quota: Option<u32>,
    /// True if users who have to reset already are skipped.
    pub skips: bool,
    /// The command that stops what would be created.
    pub stop: Option<&'a str>,
}

impl Preview<'_> {
    /// Returns the text for a terminal of this width, or without a terminal.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if let Some(width) = width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        table.add_row(["pool", &format!("{}, requests in namespace {}", self.pool, self.namespace)]);
        table.add_row(["new", &self.plan.new.len().to_string()]);
        if !self.plan.unchanged.is_empty() {
            table.add_row(["unchanged", &unchanged(&self.plan.unchanged)]);
            self.plan.kept_fields().map(|kept| table.add_row(["note", &kept]));
        }
        if !self.plan.new.is_empty() {
            for (name, value) in self.about_new() {
                table.add_row([name, &value]);
            }
        }
        if let Some(labels) = table.column_mut(0) {
            labels.set_padding((0, 1));
        }
        let mut lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        if !self.sending.is_empty() {
            // In one line, so that it can be copied.
            lines.push(format!("to stop it: {}", self.stop.unwrap_or(NO_COMMAND)));
        }
        lines.join("\n")
    }

    /// Returns what somebody should look at before requests are created.
    #[must_use]
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        let mut warnings: Vec<_> = self.plan.kept_fields().map(|text| ("note", text)).into_iter().collect();
        warnings.extend(self.found.ended(&self.plan.new).map(|text| ("ended before", text)));
        warnings.extend(self.found.earlier.resets(self.sending, self.skips).map(|text| ("reset before", text)));
        warnings.extend(self.found.earlier.still_open(self.sending).map(|text| ("still open", text)));
        let no_grant = WaitReason::NoMatchingGrant.as_str();
        warnings.extend(self.terms.waiting.get(no_grant).map(|count| ("grants", would_wait(no_grant, *count))));
        match self.terms.held {
            0 => {}
            1 => warnings.push(("holds", "1 is held".to_owned())),
            held => warnings.push(("holds", format!("{held} are held"))),
        }
        warnings
    }

    /// Returns the rows about the requests that would be created.
    fn about_new(&self) -> Vec<(&'static str, String)> {
        let Self { found, sending, .. } = self;
        let mut rows: Vec<_> = found.ended(&self.plan.new).map(|text| ("ended before", text)).into_iter().collect();
        if sending.is_empty() {
            return rows;
        }
        rows.extend(found.earlier.resets(sending, self.skips).map(|text| ("reset before", text)));
        let other_namespaces = || match found.records_unknown {
            None => ("note", format!("{WAITING} {OTHER_NAMESPACES}")),
            Some(_) => ("note", format!("{EARLIER} {OTHER_NAMESPACES}")),
        };
        rows.extend(found.is_partial.then(other_namespaces));
        let without_records = |cause: &String| ("note", format!("only requests that exist were searched: {cause}"));
        rows.extend(found.records_unknown.iter().map(without_records));
        rows.extend(found.earlier.still_open(sending).map(|text| ("still open", text)));
        rows.push(("grants", self.grants()));
        rows.push(("holds", self.holds()));
        rows.extend(self.terms.notes.iter().map(|note| ("note", note.clone())));
        rows.push(("time", self.time()));
        rows.push(("messages", self.messages()));
        rows
    }

    fn grants(&self) -> String {
        if let Some(cause) = &self.terms.grants_unknown {
            return format!("not known: {cause}. The status of each request shows it");
        }
        let Terms { allowed, grants, compared, waiting, held, .. } = self.terms;
        let names: Vec<_> = grants.iter().map(String::as_str).collect();
        let mut parts = Vec::new();
        if *allowed > 0 {
            parts.push(format!("{allowed} allowed by {}", names.join(", ")));
        }
        if *compared > 0 {
            parts.push(format!("{compared} of them only if the name of the user matches a pattern"));
        }
        parts.extend(waiting.iter().map(|(reason, count)| would_wait(reason, *count)));
        if *held > 0 {
            parts.push(format!("{held} held"));
        }
        parts.join("; ")
    }

    fn holds(&self) -> String {
        let Terms { held, holds, holds_unknown, .. } = self.terms;
        if let Some(cause) = holds_unknown {
            return format!("not known: {cause}. The status of each request shows it");
        }
        if holds.is_empty() {
            return "none applies".to_owned();
        }
        let is_shared = holds.values().map(|(count, _)| count).sum::<usize>() > *held;
        let until = if is_shared { "" } else { " until it is deleted" };
        let of = |(hold, (count, reason)): (&String, &(usize, String))| {
            format!("{count} held by {hold}{until}: {}", shown(reason))
        };
        let mut lines: Vec<_> = holds.iter().map(of).collect();
        lines.extend(is_shared.then(|| "each request is held until all of its holds are deleted".to_owned()));
        lines.join("\n")
    }

    fn time(&self) -> String {
        let Budget { per_second, source } = self.budget;
        let time = about(self.budget.time(self.sending.len(), self.terms));
        let held = if self.terms.held == 0 { "" } else { ", not counting the holds" };
        let limits = self.terms.limits.iter();
        let limits = limits.map(|(grant, (_, per_minute))| format!(", and {per_minute} a minute by the grant {grant}"));
        format!(
            "at least {time}{held}, at {per_second} resets a second for the account and Region ({source}){}",
            limits.collect::<String>()
        )
    }

    fn messages(&self) -> String {
        let count = self.sending.len();
        match self.mail_quota {
            None => format!("up to {count}; --mail-quota compares them with what the pool may still send today"),
            Some(quota) if count > usize::try_from(quota).unwrap_or(usize::MAX) => format!(
                "up to {count}, more than the {quota} of --mail-quota: further deliveries fail, and requests wait as DeliveryFailing. Reset {quota} today and the others later"
            ),
            Some(quota) => format!("up to {count} of the {quota} of --mail-quota"),
        }
    }
}

fn unchanged(unchanged: &[(Wanted, Existing)]) -> String {
    let line = |(wanted, existing): &(Wanted, Existing)| {
        let user = shown(&wanted.username);
        let outcome = existing.outcome.as_str();
        match existing.ended {
            Some(ended) => format!("{user}: {outcome}/{} at {ended}", shown(&existing.reason)),
            None => format!("{user}: {outcome}"),
        }
    };
    let outcomes = frequencies(unchanged.iter().map(|(_, existing)| existing.outcome.as_str()));
    let again =
        match unchanged.iter().any(|(_, existing)| existing.outcome == Outcome::Failed && !existing.is_invalidated) {
            true => "; another --ticket tries those that failed again",
            false => "",
        };
    let count = unchanged.len();
    let mut lines = vec![format!("{count}: {outcomes}; they exist and are not created again{again}")];
    let mut worst_first: Vec<_> = unchanged.iter().collect();
    worst_first.sort_by_key(|(_, existing)| rank(existing.outcome));
    lines.extend(worst_first.into_iter().take(SHOWN).map(line));
    if let Some(more) = unchanged.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Returns the order in which outcomes are shown: first those that somebody has to look at, last
/// those that are not there yet.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Unknown => 0,
        Outcome::Failed => 1,
        Outcome::Succeeded => 2,
        Outcome::Pending => 3,
    }
}

fn would_wait(reason: &str, count: usize) -> String {
    let hint = match reason == WaitReason::NoMatchingGrant.as_str() {
        true => " (no grant allows the pool in this namespace: check --pool and -n)",
        false => "",
    };
    format!("{count} would wait as {reason}{hint}")
}

#[cfg(test)]
mod tests;
