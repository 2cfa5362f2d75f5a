//! A sheet of rows on standard output: a table, CSV, Markdown or JSON. Rows are written as they
//! come, so that memory does not grow with their number.

pub mod cell;
mod table;

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

use self::table::Table;
use crate::failure::Failure;

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
}

impl<W: Write> Sheet<W> {
    /// Writes the head of a sheet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(format: Format, columns: &'static [Column], output: W) -> Result<Self, Failure> {
        let mut sheet = Self { format, columns, output, table: Table::new(columns), rows: 0 };
        let names = columns.iter().map(|column| column.name);
        match format {
            Format::Table => Ok(()),
            Format::Csv => sheet.write_csv(names.collect()),
            Format::Md => {
                let names: Vec<&str> = names.collect();
                let rule = vec!["---"; names.len()].join(" | ");
                writeln!(sheet.output, "| {} |\n| {rule} |", names.join(" | ")).map_err(unwritable)
            }
            Format::Json => write!(sheet.output, "{{\"rows\":[").map_err(unwritable),
        }?;
        Ok(sheet)
    }

    /// Writes a row. It has one cell for each column; an empty one means that nothing is known.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, cells: &[String]) -> Result<(), Failure> {
        self.rows += 1;
        match self.format {
            Format::Table => match self.table.add(cells) {
                Some(page) => writeln!(self.output, "{page}").map_err(unwritable),
                None => Ok(()),
            },
            Format::Csv => self.write_csv(cells.iter().map(|cell| cell::csv(cell).into_owned()).collect()),
            Format::Md => {
                let cells: Vec<String> = cells.iter().map(|cell| cell::markdown(cell)).collect();
                writeln!(self.output, "| {} |", cells.join(" | ")).map_err(unwritable)
            }
            Format::Json => self.json_row(cells),
        }
    }

    fn json_row(&mut self, cells: &[String]) -> Result<(), Failure> {
        let value = |cell: &String| if cell.is_empty() { Value::Null } else { Value::String(cell.clone()) };
        let names = self.columns.iter().map(|column| column.name.to_owned());
        let object: Map<String, Value> = names.zip(cells.iter().map(value)).collect();
        let comma = if self.rows == 1 { "" } else { "," };
        let text = Value::Object(object).to_string();
        write!(self.output, "{comma}\n{}", cell::shown(&text)).map_err(unwritable)
    }

    fn write_csv<T: AsRef<[u8]>>(&mut self, cells: Vec<T>) -> Result<(), Failure> {
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(cells).map_err(|error| unwritable(error.into()))?;
        let line = writer.into_inner().map_err(|error| unwritable(error.into_error()))?;
        self.output.write_all(&line).map_err(unwritable)
    }

    /// Writes the totals: below the rows of Markdown, within JSON, and on standard error otherwise,
    /// where a program that reads the rows does not meet them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(mut self, lines: &[String], totals: &Value) -> Result<(), Failure> {
        let written = match self.format {
            Format::Table => match self.table.rest() {
                Some(page) => writeln!(self.output, "{page}"),
                None => Ok(()),
            },
            Format::Csv => Ok(()),
            Format::Md => lines.iter().try_for_each(|line| write!(self.output, "\n{}\n", cell::markdown(line))),
            Format::Json => writeln!(self.output, "\n],\"totals\":{}}}", cell::shown(&totals.to_string())),
        };
        written.and_then(|()| self.output.flush()).map_err(unwritable)?;
        if matches!(self.format, Format::Table | Format::Csv) {
            for line in lines {
                anstream::eprintln!("{}", cell::shown(line));
            }
        }
        Ok(())
    }
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
