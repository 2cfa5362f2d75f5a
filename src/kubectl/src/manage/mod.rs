//! The commands that change what is there: requests of a selection, and holds.

pub mod approve;
pub mod ask;
pub mod hold;
pub mod prune;
pub mod release;
pub mod selection;
pub mod suspend;

use std::borrow::Cow;

use comfy_table::{Table, presets};

use crate::terminal::shown;

/// The number of objects that are changed at the same time. An interruption leaves each either
/// changed or not.
const ABREAST: usize = 8;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_hidden_characters_and_no_borders() {
        let rows = [vec!["a".into(), "b\u{1b}[2J".into()]];
        assert_eq!(table(&["NAME", "REASON"], rows), "NAME   REASON\na      b\\u001b[2J");
    }
}
