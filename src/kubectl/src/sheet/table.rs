//! A table in pages. The columns of a page are at least as wide as those of the page before.

use super::{Column, cell};
use crate::terminal::Columns;

/// The number of rows by which the widths of the columns are chosen.
const PAGE: usize = 500;
/// The text of an empty cell.
const NOTHING: &str = "<none>";

/// The rows of a table that are not written yet.
pub(super) struct Table {
    columns: &'static [Column],
    lines: Columns,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &'static [Column]) -> Self {
        let names = columns.iter().filter(|column| column.in_table).map(|column| column.name.to_uppercase());
        Self { columns, lines: Columns::new(&names.collect::<Vec<_>>()), rows: Vec::new() }
    }

    /// Adds a row. Returns a page if it is full.
    pub(super) fn add(&mut self, cells: &[String]) -> Option<String> {
        let text = |cell: &String| if cell.is_empty() { NOTHING.to_owned() } else { cell::shown(cell).into_owned() };
        let row = self.columns.iter().zip(cells).filter(|(column, _)| column.in_table).map(|(_, cell)| text(cell));
        self.rows.push(row.collect());
        if self.rows.len() < PAGE { None } else { self.rest() }
    }

    /// Returns the rows that are left; the first page has the names of the columns.
    pub(super) fn rest(&mut self) -> Option<String> {
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then(|| self.lines.lines(rows))
    }
}
