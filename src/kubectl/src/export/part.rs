//! The part of the ledger that an export contains: all records, or those that were written since a
//! moment.

use cognito_reset_core::ledger::changed_at;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    ledger::Entry,
    moment::{self, Range},
};

/// The value of `--since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A moment.
    Time(Timestamp),
    /// The export before.
    Previous,
}

impl Since {
    /// Parses a value of the command line.
    ///
    /// # Errors
    /// When it is neither a moment nor the word `previous`.
    pub fn argument(text: &str) -> Result<Self, String> {
        match text {
            "previous" => Ok(Self::Previous),
            text => moment::argument(text)
                .map(Self::Time)
                .map_err(|error| format!("neither `previous` nor a moment: {error}")),
        }
    }
}

/// The part of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The time since which the records were written; absent for all records.
    pub since: Option<Timestamp>,
    /// The resource version of the export before. What was written after it is contained, too,
    /// regardless of the clocks. Absent for all records, and in the first export.
    pub since_resource_version: Option<String>,
}

/// The end of the export before: what is written later has to be in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The time of the export, by the clock of the plugin.
    pub time: Timestamp,
    /// The resource version that was exported.
    pub resource_version: &'a str,
}

impl Part {
    /// Returns the part for a value of `--since` and the export before, if there is one.
    ///
    /// # Errors
    /// When records that were written in between would be in neither export. It is their range.
    pub fn new(since: Option<Since>, before: Option<End<'_>>) -> Result<Self, Range> {
        let since = match since {
            None => None,
            Some(Since::Time(time)) => Some(time),
            Some(Since::Previous) => before.map(|end| end.time),
        };
        let version = before.filter(|_| since.is_some()).map(|end| end.resource_version.to_owned());
        let part = Self { since, since_resource_version: version };
        before.and_then(|end| part.gap(end.time)).map_or(Ok(part), Err)
    }

    /// Returns the range between the export before and this one, which neither covers.
    #[must_use]
    pub fn gap(&self, before: Timestamp) -> Option<Range> {
        let since = self.since.filter(|since| *since > before)?;
        Some(Range { since: Some(before), until: Some(since) })
    }

    /// Returns true if the record was written since then, or may have been.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        let Some(since) = self.since else { return true };
        let is_later = self.since_resource_version.as_ref().is_some_and(|version| is_after(&entry.stored, version));
        let changed = entry.record.as_ref().ok().and_then(changed_at);
        is_later || changed.is_none_or(|changed| changed >= since)
    }

    /// Returns the range of time.
    #[must_use]
    pub const fn range(&self) -> Range {
        Range { since: self.since, until: None }
    }
}

/// Returns true if the object was written after the state with this resource version, or may have
/// been.
#[must_use]
pub fn is_after(stored: &Value, state: &str) -> bool {
    let version = stored.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let number = |text: &str| text.parse::<u64>().ok();
    match (version.and_then(number), number(state)) {
        (Some(version), Some(state)) => version > state,
        // Versions that are no numbers have no order.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::tests::{attempt, stored};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn no_export_of_a_chain_leaves_a_gap_behind() {
        let (early, before, late) =
            (at("2030-01-01T00:00:00Z"), at("2030-01-02T00:00:00Z"), at("2030-01-02T00:00:01Z"));
        let end = Some(End { time: before, resource_version: "90" });
        let part =
            |since, version: Option<&str>| Ok(Part { since, since_resource_version: version.map(str::to_owned) });
        for (since, end, wanted) in [
            (None, None, part(None, None)),
            (None, end, part(None, None)),
            (Some(Since::Time(late)), None, part(Some(late), None)),
            (Some(Since::Previous), None, part(None, None)),
            (Some(Since::Previous), end, part(Some(before), Some("90"))),
            (Some(Since::Time(early)), end, part(Some(early), Some("90"))),
            (Some(Since::Time(before)), end, part(Some(before), Some("90"))),
            (Some(Since::Time(late)), end, Err(Range { since: Some(before), until: Some(late) })),
        ] {
            assert_eq!(Part::new(since, end), wanted, "{since:?} {end:?}");
        }
    }

    #[test]
    fn a_record_is_of_the_time_or_the_version_of_its_last_write() {
        let entry = |version: &str| {
            let settled = attempt("a", json!({"settledAt": "2030-01-05T00:00:00Z"}));
            let mut stored = stored("a", json!({"effect": "Performed", "attempts": [settled]}));
            stored["metadata"]["resourceVersion"] = json!(version);
            Entry::new(stored)
        };
        for (since, version, wanted) in [
            (None, None, true),
            (Some("2030-01-05T00:00:00Z"), None, true),
            (Some("2030-01-05T00:00:01Z"), None, false),
            (Some("2030-01-05T00:00:00Z"), Some("90"), true),
            // Its time is before the export, by another clock, but it was stored after it.
            (Some("2030-01-05T00:00:01Z"), Some("89"), true),
            (Some("2030-01-05T00:00:01Z"), Some("90"), false),
            (Some("2030-01-05T00:00:01Z"), Some("opaque"), true),
        ] {
            let part = Part { since: since.map(at), since_resource_version: version.map(str::to_owned) };
            assert_eq!(part.has(&entry("90")), wanted, "{part:?}");
        }
        let unreadable = Entry::new(stored("a", json!({"schema": 9})));
        let part = Part { since: Some(at("2040-01-01T00:00:00Z")), since_resource_version: None };
        assert!(part.has(&unreadable));
    }
}
