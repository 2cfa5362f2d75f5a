//! The two commands.

use std::{
    fs,
    io::{BufRead as _, IsTerminal as _, stdin},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;

use crate::{
    account::Account,
    cli::{CleanArgs, RunArgs},
    compare::Observation,
    made::Made,
    make::{Maker, described},
    output::{say, warn},
    plan::{Plan, RunId},
    remove::{self, Removed},
    report::{Circumstances, Report, contains},
    rows::{ROWS, Row},
    stop::{Interrupted, Stop, then_always},
    try_row::Trial,
};

/// The rows that are tried at the same time, so that all reads together stay far below the quotas
/// that the users of the account share.
const ABREAST: usize = 4;
const INTERRUPTED: u8 = 130;

/// The results of the rows, by their ids.
type Results = Vec<(&'static str, Result<Observation, String>)>;

/// Compares every row.
pub(crate) async fn run(args: &RunArgs) -> Result<ExitCode> {
    let plan = Plan { with_lambda: !args.common.without_lambda };
    let account = Account::connect(plan.with_lambda, args.common.allow_test_endpoints).await?;
    let run = RunId::random();
    introduce(&account, plan, &run);
    if !args.yes && !confirmed()? {
        say("Nothing was made.");
        return Ok(ExitCode::FAILURE);
    }
    let circumstances = Circumstances {
        date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
        region: account.region.clone(),
        emulated: account.emulated,
        watch: Duration::from_secs(args.watch),
        plan,
    };
    let (made, stop) = (Made::default(), Stop::on_signals()?);
    let work = compared(&account, &run, &made, &stop, &circumstances);
    let removal = async {
        say("removing everything");
        remove::all(&account, plan, &run, &made).await
    };
    let (results, removed) = then_always(work, removal).await;
    let is_clean = report_removal(&removed, &run);
    let results = match results {
        Ok(Ok(results)) => results,
        Ok(Err(Interrupted)) => {
            say("interrupted: no report is written");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(panic) => bail!("the comparison ended with a panic ({panic}); no report is written, and this is a defect"),
    };
    let names = removed.resources.iter().map(|it| described(*it)).collect();
    let report = Report::new(&circumstances, &results, names);
    write(args, &report, &secrets(&account, &run, &made))?;
    Ok(if report.agrees() && is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Removes what a run has left.
pub(crate) async fn clean(args: &CleanArgs) -> Result<ExitCode> {
    let plan = Plan { with_lambda: !args.common.without_lambda };
    let account = Account::connect(plan.with_lambda, args.common.allow_test_endpoints).await?;
    let removed = remove::all(&account, plan, &args.run, &Made::default()).await;
    let is_clean = report_removal(&removed, &args.run);
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn introduce(account: &Account, plan: Plan, run: &RunId) {
    say("This makes user pools and users, calls AdminResetUserPassword for each, and removes everything.");
    say(format!("account:  {} ({})", account.id, if account.emulated { "of an emulator" } else { "of AWS" }));
    say(format!("caller:   {}", account.caller));
    say(format!("Region:   {}", account.region));
    say(format!("run:      {run}"));
    say("costs:");
    for line in plan.costs() {
        say(format!("  - {line}"));
    }
}

/// Asks the user, who has to be at a terminal.
fn confirmed() -> Result<bool> {
    if !stdin().is_terminal() {
        bail!("nobody can be asked, because the input is not a terminal; set YES=1 to go on without a question");
    }
    say("Make all this in this account? Type yes to go on:");
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

/// Makes everything, and tries the rows.
async fn compared(
    account: &Account,
    run: &RunId,
    made: &Made,
    stop: &Stop,
    circumstances: &Circumstances,
) -> Result<Results, Interrupted> {
    Maker { account, run, made, stop }.all(circumstances.plan).await?;
    let trial = Trial { account, run, made, stop, watch: circumstances.watch };
    let mut rows: Vec<&'static Row> = ROWS.iter().collect();
    rows.retain(|row| circumstances.excuse(row).is_none());
    let tried = stream::iter(rows).map(|row: &'static Row| tried(&trial, row).boxed());
    let results = tried.buffered(ABREAST).collect().await;
    stop.check()?;
    Ok(results)
}

async fn tried(trial: &Trial<'_>, row: &'static Row) -> (&'static str, Result<Observation, String>) {
    let result = trial.row(row).await.map_err(|error| format!("{error:#}"));
    say(format!("tried {}", row.id));
    (row.id, result)
}

/// Says what was removed and what was not. Returns true if nothing is left.
fn report_removal(removed: &Removed, run: &RunId) -> bool {
    for resource in &removed.resources {
        say(format!("removed {}", described(*resource)));
    }
    if removed.resources.is_empty() {
        say("found nothing to remove");
    }
    for left in &removed.left {
        warn(format!("NOT REMOVED: {left}"));
    }
    if !removed.left.is_empty() {
        warn(format!("to try again: make verify-aws-clean RUN={run}"));
    }
    removed.left.is_empty()
}

/// Returns everything that a report must not contain.
fn secrets(account: &Account, run: &RunId, made: &Made) -> Vec<String> {
    let handles = made.resources().into_iter().map(|(_, handle)| handle);
    [account.id.clone(), account.caller.clone(), run.to_string()].into_iter().chain(handles).collect()
}

fn write(args: &RunArgs, report: &Report, secrets: &[String]) -> Result<()> {
    let (markdown, json) = (report.markdown(), report.json()?);
    for text in [&markdown, &json] {
        if contains(text, secrets).is_some() {
            bail!("the report would identify the account; it is not written, and this is a defect");
        }
    }
    say(&markdown);
    let folder = &args.report;
    let failed = || format!("failed to write a report into {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    for (name, text) in [("report.md", &markdown), ("report.json", &json)] {
        fs::write(folder.join(name), text).with_context(failed)?;
    }
    say(format!("wrote report.md and report.json into {}", folder.display()));
    Ok(())
}
