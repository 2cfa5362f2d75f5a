//! A table in pages. The columns of a page are at least as wide as those of the page before.

use comfy_table::{ColumnConstraint, ContentArrangement, Width};

use super::{Column, cell};

/// The number of rows by which the widths of the columns are chosen.
const PAGE: usize = 500;
/// The text of an empty cell.
const NOTHING: &str = "<none>";

/// The rows of a table that are not written yet.
pub(super) struct Table {
    columns: &'static [Column],
    widths: Vec<u16>,
    rows: Vec<Vec<String>>,
    begun: bool,
}

impl Table {
    pub(super) const fn new(columns: &'static [Column]) -> Self {
        Self { columns, widths: Vec::new(), rows: Vec::new(), begun: false }
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
        if self.rows.is_empty() {
            return None;
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !self.begun {
            let names = self.columns.iter().filter(|column| column.in_table).map(|column| column.name.to_uppercase());
            table.set_header(names);
        }
        table.add_rows(self.rows.drain(..));
        self.begun = true;
        let widths = table.column_max_content_widths();
        self.widths.resize(widths.len(), 0);
        for ((width, known), column) in widths.iter().zip(&mut self.widths).zip(table.column_iter_mut()) {
            *known = (*known).max(*width);
            column.set_padding((0, 3));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(known.saturating_add(3))));
        }
        let lines = table.to_string();
        Some(lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
    }
}
