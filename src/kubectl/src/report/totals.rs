//! The totals of a report. Each record is counted once, by its own effect.

use cognito_reset_api::Effect;
use serde_json::{Value, json};

use super::row::Row;
use crate::{moment::Range, terminal::counted};

/// The totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records with the effect Performed.
    pub performed: usize,
    /// Records with the effect `NotPerformed`.
    pub not_performed: usize,
    /// Records with the effect Unknown.
    pub unknown: usize,
    /// Records with an open claim.
    pub open: usize,
    /// Rows of attempts that were not the last event of their record.
    pub earlier: usize,
    /// Attempts without effect that the records only count.
    pub omitted: u64,
    /// Records that this plugin cannot read, with the reason.
    pub unreadable: Vec<(String, String)>,
}

impl Totals {
    /// Counts a row.
    pub fn add(&mut self, row: &Row<'_>) {
        if !row.is_last {
            self.earlier += 1;
            return;
        }
        self.omitted += u64::try_from(row.record.spec.omitted_attempts).unwrap_or(0);
        match row.effect() {
            Some(Effect::Performed) => self.performed += 1,
            Some(Effect::NotPerformed) => self.not_performed += 1,
            Some(Effect::Unknown) => self.unknown += 1,
            None => self.open += 1,
        }
    }

    /// Returns the number of records whose last event has a row.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.performed + self.not_performed + self.unknown + self.open
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.records() + self.earlier
    }

    /// Returns the totals in words.
    #[must_use]
    pub fn lines(&self, range: &Range) -> Vec<String> {
        let Self { performed, not_performed, unknown, open, earlier, omitted, unreadable } = self;
        let mut lines = vec![
            format!(
                "{} ({range}): {performed} Performed, {not_performed} NotPerformed, {unknown} Unknown, {open} open",
                counted(self.records(), "record")
            ),
            format!("{}; {earlier} of them for earlier attempts without effect", counted(self.rows(), "row")),
        ];
        if *omitted > 0 {
            lines.push(format!("{omitted} more attempts without effect are counted by the records and not listed"));
        }
        if !unreadable.is_empty() {
            lines.push(format!("{} cannot be read, and not counted above:", counted(unreadable.len(), "record")));
        }
        lines.extend(unreadable.iter().map(|(name, reason)| format!("{name}: {reason}")));
        lines
    }

    /// Returns the totals as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let unreadable = self.unreadable.iter().map(|(name, reason)| json!({"record": name, "reason": reason}));
        json!({
            "records": self.records(),
            "effects": {
                "Performed": self.performed,
                "NotPerformed": self.not_performed,
                "Unknown": self.unknown,
                "open": self.open,
            },
            "rows": self.rows(),
            "earlierAttempts": self.earlier,
            "omittedAttempts": self.omitted,
            "unreadable": unreadable.collect::<Vec<_>>(),
        })
    }
}
