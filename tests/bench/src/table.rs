//! The table of all figures.

use std::fmt::Write as _;

use crate::figures::{Figures, spread};

/// A column: its title, and its figure of a run; `None` where a scenario has none.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

const COLUMNS: [Column; 12] = [
    ("resets/s", |it| Some(it.rate)),
    ("budget used, %", |it| it.budget_used),
    ("API reads a reset", |it| of_operator(it, it.per_reset.reads)),
    ("API writes a reset", |it| of_operator(it, it.per_reset.writes)),
    ("Events a reset", |it| of_operator(it, it.per_reset.events)),
    ("operator CPU a reset, ms", |it| of_operator(it, it.operator_cpu)),
    ("API server CPU a reset, ms", |it| of_operator(it, it.api_server_cpu)),
    ("peak memory, MiB", |it| of_operator(it, it.memory.peak)),
    ("throttled calls", |it| of_operator(it, count(it.throttled))),
    ("longest pause, s", |it| of_operator(it, it.longest_pause)),
    ("to call, ms p50", |it| it.to_call.map(|it| it.p50)),
    ("to outcome, ms p50", |it| it.to_outcome.map(|it| it.p50)),
];

/// A figure that only the operator has.
fn of_operator(figures: &Figures, figure: f64) -> Option<f64> {
    (!figures.requests.is_empty()).then_some(figure)
}

#[expect(clippy::cast_precision_loss, reason = "a number of calls")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Returns a table in Markdown, with a row for each scenario and number of resets. Of several runs
/// a cell shows the smallest, the median and the largest figure.
pub fn table(figures: &[Figures]) -> String {
    let mut rows: Vec<(&str, usize)> = Vec::new();
    for it in figures {
        let row = (it.scenario.as_str(), it.resets);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut text = String::from("| scenario | resets |");
    for (title, _) in COLUMNS {
        let _ = write!(text, " {title} |");
    }
    let _ = write!(text, "\n|---|---|{}", "---|".repeat(COLUMNS.len()));
    for (scenario, resets) in rows {
        let _ = write!(text, "\n| {scenario} | {resets} |");
        for (_, figure) in COLUMNS {
            let runs = figures.iter().filter(|it| it.scenario == scenario && it.resets == resets);
            let _ = write!(text, " {} |", spread(runs.filter_map(figure).collect()));
        }
    }
    text.push('\n');
    text
}
