//! The commands that change what is there: requests of a selection, and holds.

pub mod approve;
pub mod ask;
pub mod hold;
pub mod prune;
pub mod release;
pub mod selection;
pub mod suspend;

use std::borrow::Cow;

use cognito_reset_core::escape::escaped;
use comfy_table::{Table, presets};
use jiff::Timestamp;

/// The number of objects that are changed at the same time. An interruption leaves each either
/// changed or not.
const ABREAST: usize = 8;
/// The name under which changed fields are owned.
const FIELD_MANAGER: &str = "kubectl-cognito_reset";

/// Returns a text of an object with its hidden characters escaped.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Returns rows as kubectl shows them. Each cell is escaped.
fn table<'a>(header: &[&str], rows: impl IntoIterator<Item = Vec<Cow<'a, str>>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| shown(cell).into_owned()).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// Returns the time from `then` to `now` as kubectl shows it, in one unit.
fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns a number of things, such as "1 request" or "3 requests".
fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_hidden_characters_and_no_borders() {
        let rows = [vec!["a".into(), "b\u{1b}[2J".into()]];
        assert_eq!(table(&["NAME", "REASON"], rows), "NAME   REASON\na      b\\u001b[2J");
    }

    #[test]
    fn ages_and_counts_have_one_unit() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        for (seconds, wanted) in [(-5, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(at(0), at(seconds)), wanted);
        }
        assert_eq!((counted(1, "hold"), counted(0, "hold")), ("1 hold".to_owned(), "0 holds".to_owned()));
    }
}
