//! A sheet of rows on standard output: a table, CSV, Markdown or JSON. Rows are written as they
//! come, so that memory does not grow with their number. `by_time` brings them into order before.

pub mod by_time;
pub mod cell;
mod table;

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

use self::table::Table;
use crate::failure::Failure;
use crate::terminal::remark;

/// The format of a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for a terminal, with the most important columns.
    Table,
    /// CSV with all columns. A cell that a spreadsheet would take for a formula begins with an
    /// apostrophe.
    Csv,
    /// A table of Markdown with all columns.
    Md,
    /// One JSON object with all columns and the totals.
    Json,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The name, in CSV, Markdown and JSON. In a table it is written in capitals.
    pub name: &'static str,
    /// True if a table has it, too.
    pub in_table: bool,
}

/// A sheet that is being written.
pub struct Sheet<W: Write> {
    format: Format,
    columns: &'static [Column],
    output: W,
    table: Table,
    rows: usize,
    /// True if the reader of the output has closed it, as `head` does. Nothing is written any more.
    is_closed: bool,
}

impl<W: Write> Sheet<W> {
    /// Writes the head of a sheet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(format: Format, columns: &'static [Column], output: W) -> Result<Self, Failure> {
        let mut sheet = Self { format, columns, output, table: Table::new(columns), rows: 0, is_closed: false };
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let head = match format {
            Format::Table => String::new(),
            Format::Csv => csv_line(names)?,
            Format::Md => format!("| {} |\n| {} |\n", names.join(" | "), vec!["---"; names.len()].join(" | ")),
            Format::Json => "{\"rows\":[".to_owned(),
        };
        sheet.write(&head)?;
        Ok(sheet)
    }

    /// Writes a row. It has one cell for each column; an empty one means that nothing is known.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, cells: &[String]) -> Result<(), Failure> {
        self.rows += 1;
        let text = match self.format {
            Format::Table => self.table.add(cells).map_or_else(String::new, |page| page + "\n"),
            Format::Csv => csv_line(cells.iter().map(|cell| cell::csv(cell).into_owned()).collect())?,
            Format::Md => {
                let cells: Vec<String> = cells.iter().map(|cell| cell::markdown(cell)).collect();
                format!("| {} |\n", cells.join(" | "))
            }
            Format::Json => self.json_row(cells),
        };
        self.write(&text)
    }

    fn json_row(&self, cells: &[String]) -> String {
        let value = |cell: &String| if cell.is_empty() { Value::Null } else { Value::String(cell.clone()) };
        let names = self.columns.iter().map(|column| column.name.to_owned());
        let object: Map<String, Value> = names.zip(cells.iter().map(value)).collect();
        let comma = if self.rows == 1 { "" } else { "," };
        format!("{comma}\n{}", cell::shown(&Value::Object(object).to_string()))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.note(|output| output.write_all(text.as_bytes()))
    }

    fn note(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        match write(&mut self.output) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.is_closed = true,
            written => written.map_err(unwritable)?,
        }
        Ok(())
    }

    /// Writes the totals: below the rows of Markdown, within JSON, and on standard error otherwise,
    /// where a program that reads the rows does not meet them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(mut self, lines: &[String], totals: &Value) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => self.table.rest().map_or_else(String::new, |page| page + "\n"),
            Format::Csv => String::new(),
            Format::Md => lines.iter().map(|line| format!("\n{}\n", cell::markdown(line))).collect(),
            Format::Json => format!("\n],\"totals\":{}}}\n", cell::shown(&totals.to_string())),
        };
        self.write(&text)?;
        self.note(W::flush)?;
        if matches!(self.format, Format::Table | Format::Csv) {
            for line in lines {
                remark!("{}", cell::shown(line));
            }
        }
        Ok(())
    }
}

fn csv_line<T: AsRef<[u8]>>(cells: Vec<T>) -> Result<String, Failure> {
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| unwritable(error.into()))?;
    let line = writer.into_inner().map_err(|error| unwritable(error.into_error()))?;
    String::from_utf8(line).map_err(|error| unwritable(io::Error::other(error)))
}

/// Returns standard output for a sheet.
#[must_use]
pub fn stdout() -> io::BufWriter<io::Stdout> {
    io::BufWriter::new(io::stdout())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err expects")]
fn unwritable(error: io::Error) -> Failure {
    Failure::refused(format!("the output cannot be written, so it is not complete: {error}"))
}

#[cfg(test)]
mod tests;
