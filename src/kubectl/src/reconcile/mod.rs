//! `reconcile`: compares the ledger with log files of CloudTrail.

pub mod cloudtrail;
pub mod sent;
pub mod sort;

use std::{fs::File, io::BufReader, path::PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::sort::{COLUMNS, Class, Pair, Sorter};
use crate::{
    cluster::{Cluster, Target},
    exit::Exit,
    failure::Failure,
    ledger,
    moment::{self, Range},
    report::{check_pool, range},
    sheet::{self, Format, Sheet, by_time::RowsByTime},
    terminal::{counted, remark},
};

/// The arguments of `reconcile`.
#[derive(Args, Debug)]
#[command(after_help = "\
The events AdminResetUserPassword of the files are compared with the attempts of the ledger: by the
AWS request id; for an attempt whose response was lost, by the name of the session (prr- and the uid
of the request), or by the user's sub and the time. A call after the attempt was settled, or more
than 5 minutes after it was sent, is not taken for its call: AWS accepts no signature for longer.
Each is in both, in the ledger only, or in CloudTrail only; the oldest one is first. Attempts of
which the ledger says that nothing was sent are only counted. One that is in CloudTrail only was not
made by this operator, or its record has been deleted. More than about 10,000 rows need space in a
temporary directory (TMPDIR).

The files are those that CloudTrail delivers to S3 (.json.gz), after gunzip. The output of
`aws cloudtrail lookup-events` is not one of them. Give the range that the files cover: CloudTrail
delivers an event some minutes after the call. The format was built from AWS's documentation of
CloudTrail, and was not tried with a real trail.

The exit code is 0 if each reset is in both with the same result, and 1 otherwise. It is 0 as well
if there is no reset in either; standard error says so.

Examples:
  # Compare a day
  gunzip -k trail/*.json.gz
  kubectl cognito-reset reconcile --cloudtrail trail/*.json \\
      --since 2036-01-01 --until 2036-01-02

  # Compare one pool, for a spreadsheet
  kubectl cognito-reset reconcile --cloudtrail trail/*.json \\
      --pool eu-west-1_Example01 -o csv > resets.csv")]
pub struct Options {
    /// The log files that CloudTrail delivers to S3, after gunzip
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    cloudtrail: Vec<PathBuf>,
    /// The first moment: a time, a day such as 2036-01-01 (UTC), or a time before now such as 24h
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    since: Option<Timestamp>,
    /// The moment before which the resets have to be, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment::argument)]
    until: Option<Timestamp>,
    /// Compares only this user pool
    #[arg(long, value_name = "ID")]
    pool: Option<String>,
    /// Prints the rows in this format
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// The numbers of a comparison.
#[derive(Clone, Debug, Default)]
struct Totals {
    both: usize,
    ledger_only: usize,
    cloudtrail_only: usize,
    differ: usize,
    unsent: usize,
    repeated: usize,
    unreadable: Vec<(String, String)>,
}

impl Totals {
    const fn add(&mut self, pair: &Pair) {
        match pair.class() {
            Class::Both => self.both += 1,
            Class::LedgerOnly => self.ledger_only += 1,
            Class::CloudTrailOnly => self.cloudtrail_only += 1,
        }
    }

    fn lines(&self, covered: &str) -> Vec<String> {
        let Self { both, ledger_only, cloudtrail_only, differ, unsent, repeated, unreadable } = self;
        let mut lines = vec![
            covered.to_owned(),
            format!(
                "{both} in both ({differ} with different results), {ledger_only} in the ledger only, {cloudtrail_only} in CloudTrail only"
            ),
            format!(
                "never sent, as the ledger says: {}; in the files more than once: {}",
                counted(*unsent, "attempt"),
                counted(*repeated, "event")
            ),
        ];
        if !unreadable.is_empty() {
            lines.push(format!("not compared, since they cannot be read: {}", counted(unreadable.len(), "record")));
        }
        lines.extend(unreadable.iter().map(|(name, reason)| format!("{name}: {reason}")));
        lines
    }

    /// Returns true if neither the ledger nor the files have anything of the pool and the range.
    const fn is_empty(&self) -> bool {
        self.both + self.ledger_only + self.cloudtrail_only + self.unsent == 0 && self.unreadable.is_empty()
    }

    fn json(&self) -> Value {
        let unreadable = self.unreadable.iter().map(|(name, reason)| json!({"record": name, "reason": reason}));
        json!({
            "both": self.both,
            "ledgerOnly": self.ledger_only,
            "cloudTrailOnly": self.cloudtrail_only,
            "differentResults": self.differ,
            "neverSent": self.unsent,
            "repeatedEvents": self.repeated,
            "unreadable": unreadable.collect::<Vec<_>>(),
        })
    }
}

/// Runs `reconcile`.
///
/// # Errors
/// When a file is not a log of CloudTrail, or the ledger cannot be read to its end.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    target.refuse_namespace("this command is about the records of the whole cluster")?;
    check_pool(options.pool.as_ref())?;
    let range = range(options.since, options.until)?;
    let mut sorter = Sorter::new(range, options.pool.clone());
    for path in &options.cloudtrail {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
        cloudtrail::read(&name, BufReader::new(file))?.into_iter().for_each(|call| sorter.add_call(call));
    }
    let covered = sorter.times().map_or_else(
        || "the files contain no reset".to_owned(),
        |(first, last)| format!("the files contain resets from {first} to {last}; compared were those {range}"),
    );
    let cluster = Cluster::connect(target).await?;
    let (mut rows, mut totals) = (RowsByTime::default(), Totals::default());
    ledger::each(&cluster, options.pool.as_deref(), |entry| {
        match entry.record {
            Ok(record) => sorter.add_record(&record).iter().try_for_each(|pair| add(pair, &mut totals, &mut rows))?,
            Err(reason) => totals.unreadable.push((entry.name, reason)),
        }
        Ok(())
    })
    .await?;
    (totals.unsent, totals.repeated) = (sorter.unsent, sorter.repeated);
    sorter.finish().iter().try_for_each(|pair| add(pair, &mut totals, &mut rows))?;
    let mut sheet = Sheet::new(options.output, COLUMNS, sheet::stdout())?;
    rows.each(|cells| sheet.row(cells))?;
    sheet.finish(&totals.lines(&covered), &totals.json())?;
    if totals.is_empty() {
        remark!("{}", nothing(options.pool.as_deref(), range));
    }
    let agree = totals.ledger_only + totals.cloudtrail_only + totals.differ == 0 && totals.unreadable.is_empty();
    Ok(if agree { Exit::Succeeded } else { Exit::SomeFailed })
}

/// Returns the sentence about a pool and a range without resets.
fn nothing(pool: Option<&str>, range: Range) -> String {
    let pool = pool.map_or_else(String::new, |pool| format!(" of pool {pool}"));
    format!(
        "nothing was compared: neither the ledger nor the files have a reset{pool} ({range}); check --pool, --since and --until"
    )
}

fn add(pair: &Pair, totals: &mut Totals, rows: &mut RowsByTime) -> Result<(), Failure> {
    totals.add(pair);
    totals.differ += usize::from(pair.class() == Class::Both && !pair.agrees());
    rows.add(pair.moment(), &pair.cells())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_of_nothing_is_named() {
        let one = |change: fn(&mut Totals)| {
            let mut totals = Totals::default();
            change(&mut totals);
            totals.is_empty()
        };
        // Repeated events alone are those of other pools.
        for change in [(|_| {}) as fn(&mut Totals), |totals| totals.repeated = 1] {
            assert!(one(change));
        }
        for change in [
            (|totals| totals.both = 1) as fn(&mut Totals),
            |totals| totals.ledger_only = 1,
            |totals| totals.cloudtrail_only = 1,
            |totals| totals.unsent = 1,
            |totals| totals.unreadable.push(("a".into(), "b".into())),
        ] {
            assert!(!one(change));
        }
        let sentence = nothing(Some("eu-west-1_Other"), Range::default());
        assert!(sentence.contains("have a reset of pool eu-west-1_Other (of all times); check"), "{sentence}");
    }
}
