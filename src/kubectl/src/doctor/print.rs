//! Shows findings: a table for people, or one line each where no width is given.

use comfy_table::{ContentArrangement, Table, presets};

use super::finding::{Finding, Severity};
use crate::{
    style::{self, Tone},
    terminal::shown,
};

/// The narrowest table. In a terminal that is narrower, lines wrap.
const NARROWEST: u16 = 40;

/// Returns the findings as a table of this width, or with one line each.
#[must_use]
pub fn table(findings: &[Finding], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(NARROWEST)),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for finding in findings {
        table.add_row([finding.severity.as_str().to_owned(), finding.subject.to_owned(), sentence(finding)]);
    }
    let last = table.column_count().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Returns what was found and the way out, without characters that control a terminal.
fn sentence(Finding { text, remedy, .. }: &Finding) -> String {
    let sentence = remedy.as_ref().map_or_else(|| text.clone(), |remedy| format!("{text}; {remedy}"));
    shown(&sentence).into_owned()
}

/// Colours the first word of each line that has a severity.
#[must_use]
pub fn coloured(table: &str) -> String {
    table.lines().map(|line| format!("{}\n", style::word(line, 0, tone))).collect()
}

/// Returns the tone of a severity, by its word.
fn tone(word: &str) -> Option<Tone> {
    let all = [Severity::Fail, Severity::Warn, Severity::Skipped, Severity::Ok];
    let severity = all.into_iter().find(|severity| severity.as_str() == word)?;
    Some(match severity {
        Severity::Fail => Tone::Bad,
        Severity::Warn => Tone::Attention,
        Severity::Skipped => Tone::Quiet,
        Severity::Ok => Tone::Good,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use crate::snapshot::snapshot;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::fail(
                "leader",
                "no operator leads: the Lease cognito-reset-system/cognito-reset-operator was last renewed 5m ago",
                "check its Pods: kubectl -n cognito-reset-system get pods, and the last line of their logs",
            ),
            Finding::warn("clock", "your clock is 42s ahead of that of the API server", "set it right"),
            Finding::skipped("holds", "you may not list holds", "the ClusterRole cognito-reset-responder allows it"),
            Finding::ok("account", "a\u{1b}[31m line\nof two"),
        ]
    }

    #[test]
    fn a_table_of_80_columns() {
        let shown = table(&findings(), Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        snapshot("doctor/print/80.txt", &shown);
    }

    #[test]
    fn a_table_of_140_columns() {
        let shown = table(&findings(), Some(140));
        assert!(shown.lines().all(|line| line.chars().count() <= 140), "{shown}");
        snapshot("doctor/print/140.txt", &shown);
    }

    #[test]
    fn a_pipe_has_one_line_for_each_finding() {
        let shown = table(&findings(), None);
        assert_eq!(shown.lines().count(), findings().len(), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.contains(r"a\u001b[31m line\u000aof two"), "{shown}");
    }

    #[test]
    fn severities_are_coloured_and_nothing_else() {
        let shown = coloured(&table(&findings(), Some(80)));
        assert_eq!(shown.matches("\u{1b}[0m").count(), findings().len(), "{shown:?}");
        assert_eq!(anstream::adapter::strip_str(&shown).to_string(), table(&findings(), Some(80)));
    }

    #[test]
    fn json_has_a_remedy_for_what_is_wrong_only() {
        let shown: serde_json::Value =
            serde_json::from_str(&document::indented(&findings()).expect("JSON")).expect("JSON");
        assert_eq!(shown[1]["severity"], "warn");
        assert_eq!(shown[1]["remedy"], "set it right");
        assert!(shown[3].get("remedy").is_none(), "{shown}");
    }
}
