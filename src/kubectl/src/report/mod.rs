//! `report`: a row for each attempt and each closing of the ledger.

pub mod row;
pub mod totals;

use clap::Args;
use jiff::Timestamp;

use self::{
    row::{COLUMNS, Row, rows},
    totals::Totals,
};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    ledger::{self, Entry},
    moment::{self, Range},
    naming::is_same_ticket,
    rules::FieldRule,
    sheet::{self, Format, Sheet, by_time::RowsByTime},
};

/// The arguments of `report`.
#[derive(Args, Debug)]
#[command(after_help = "\
A row is an attempt, whose time is that of its claim, or a closing without a call. The
requester is authenticated if an admission policy stamps or checks requesters, and `unverified`
otherwise; the approver likewise. The columns that end in -claimed contain texts of the requester,
which nobody verified. Rows are in the order of their times; more than about 10,000 of them need
space in a temporary directory (TMPDIR). The totals count each record once, by its effect: below the rows of Markdown,
within JSON, and on standard error otherwise. In CSV, a cell that a spreadsheet would take for a
formula begins with an apostrophe. Records are of the whole cluster: without -n, those of all
namespaces are reported. If a record cannot be read, it is named in the totals, and the exit code
is 1.

Examples:
  # Show all resets of the last day
  kubectl cognito-reset report --since 24h

  # Write the resets of an incident for a spreadsheet
  kubectl cognito-reset report --ticket INC-1042 -o csv > INC-1042.csv

  # Write the resets of a month in one pool as Markdown
  kubectl cognito-reset report --since 2036-01-01 --until 2036-02-01 \\
      --pool eu-west-1_Example01 -o md")]
pub struct Options {
    /// The first moment: a time, a day such as 2036-01-01 (UTC), or a time before now such as 24h
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    since: Option<Timestamp>,
    /// The moment before which the rows have to be, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    until: Option<Timestamp>,
    /// Reports only attempts and closings with this ticket
    #[arg(long, value_name = "TEXT")]
    ticket: Option<String>,
    /// Reports only this user pool
    #[arg(long, value_name = "ID")]
    pool: Option<String>,
    /// Reports the requests of all namespaces, which is the default
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Prints the rows in this format
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// The rows that a report has.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The range of time.
    pub range: Range,
    /// The ticket, if only one is wanted.
    pub ticket: Option<String>,
    /// The namespace of the request, if only one is wanted.
    pub namespace: Option<String>,
}

impl Selection {
    /// Returns true if the report has this row.
    #[must_use]
    pub fn takes(&self, row: &Row<'_>) -> bool {
        let namespace = &row.record.spec.request.namespace;
        self.range.contains(row.moment())
            && self
                .ticket
                .as_ref()
                .is_none_or(|wanted| row.origin().ticket.as_ref().is_some_and(|ticket| is_same_ticket(ticket, wanted)))
            && self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
    }
}

/// Checks the id of a user pool.
///
/// # Errors
/// When it is none.
pub(crate) fn check_pool(pool: Option<&String>) -> Result<(), Failure> {
    let Some(pool) = pool else { return Ok(()) };
    FieldRule::of("userPoolID")?.check(pool).map_err(|error| Failure::usage(format!("--pool: {error}")))
}

/// Returns the range of two flags.
///
/// # Errors
/// When it is empty.
pub(crate) fn range(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<Range, Failure> {
    if let (Some(first), Some(end)) = (since, until)
        && first >= end
    {
        return Err(Failure::usage(format!("--since ({first}) has to be before --until ({end})")));
    }
    Ok(Range { since, until })
}

/// Runs `report`.
///
/// # Errors
/// When the ledger cannot be read to its end, or the output cannot be written.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    check_pool(options.pool.as_ref())?;
    if options.all_namespaces && target.namespace.is_some() {
        return Err(Failure::usage("-A and -n exclude each other"));
    }
    let range = range(options.since, options.until)?;
    let selection = Selection { range, ticket: options.ticket, namespace: target.namespace.clone() };
    let cluster = Cluster::connect(target).await?;
    let mut report = Report::new(selection);
    ledger::each(&cluster, options.pool.as_deref(), |entry| report.add(entry)).await?;
    report.write(Sheet::new(options.output, COLUMNS, sheet::stdout())?)
}

/// The rows that are selected, and their totals.
struct Report {
    selection: Selection,
    rows: RowsByTime,
    totals: Totals,
}

impl Report {
    fn new(selection: Selection) -> Self {
        Self { selection, rows: RowsByTime::default(), totals: Totals::default() }
    }

    /// Adds the rows of a record.
    fn add(&mut self, entry: Entry) -> Result<(), Failure> {
        let record = match entry.record {
            Ok(record) => record,
            Err(reason) => {
                self.totals.unreadable.push((entry.name, reason));
                return Ok(());
            }
        };
        for row in rows(&record).iter().filter(|row| self.selection.takes(row)) {
            self.totals.add(row);
            self.rows.add(row.moment(), &row.cells())?;
        }
        Ok(())
    }

    /// Writes the rows, oldest first, and the totals.
    fn write<W: std::io::Write>(self, mut sheet: Sheet<W>) -> Result<Exit, Failure> {
        let Self { selection, rows, totals } = self;
        rows.each(|cells| sheet.row(cells))?;
        sheet.finish(&totals.lines(&selection.range), &totals.json())?;
        Ok(if totals.unreadable.is_empty() { Exit::Succeeded } else { Exit::SomeFailed })
    }
}

#[cfg(test)]
mod tests;
