//! The last part of the demonstration: a list of users, reset by the kubectl plugin.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};
use testbed::ResetCount;

use crate::{
    environment::{Environment, output, plugin},
    samples::GRANTED,
    terminal::{Terminal, say},
};

/// The number of users in the list.
const USERS: usize = 50;
const TICKET: &str = "DEMO-1";
/// The lines of the report that are shown: its head and some rows.
const SHOWN: usize = 6;

/// Resets a list of users, runs the same command again, and shows the report.
pub(crate) async fn show(environment: &Environment, terminal: &Terminal) -> Result<()> {
    let terminal = terminal.with_plugins(plugin()?.parent().context("the plugin is in no folder")?);
    write_list(environment).await?;
    let (pool, before) = (&environment.pool, environment.proxy.resets());
    let list = format!("--from target/testbed/users.csv --column email --pool {pool}");
    let create = format!("cognito-reset create {list} --ticket {TICKET} -n {GRANTED} --yes --wait");

    say(&format!("A list of {USERS} users, reset by one command of the kubectl plugin"));
    terminal.live(&create).await?;
    let calls = environment.proxy.resets();
    let new: BTreeMap<_, _> = calls.iter().filter(|(user, _)| !before.contains_key(*user)).collect();
    let once = |count: &ResetCount| count.forwarded == 1 && count.accepted == 1;
    ensure!(new.len() == USERS && new.values().all(|count| once(count)), "not each user was reset once: {new:?}");

    say("The same command again: all requests exist, and Cognito is not called");
    terminal.live(&create).await?;
    ensure!(environment.proxy.resets() == calls, "Cognito was called again");

    say("The report about the ticket, out of the ledger");
    let totals = terminal.beginning(&format!("cognito-reset report --ticket {TICKET}"), SHOWN).await?;
    let wanted = format!("{USERS} records (of all times): {USERS} Performed, 0 NotPerformed, 0 Unknown, 0 open");
    ensure!(totals.lines().any(|line| line.ends_with(&wanted)), "the report does not say {wanted:?}: {totals}");
    Ok(())
}

/// Creates the users, and writes their list as CSV.
async fn write_list(environment: &Environment) -> Result<()> {
    let (cognito, mut csv) = (environment.moto.cognito(), "id,email\n".to_owned());
    for number in 1..=USERS {
        let user = format!("user-{number:02}@example.com");
        cognito.create_user(&environment.pool, &user).await?;
        writeln!(csv, "{number},{user}")?;
    }
    let path = output().join("users.csv");
    std::fs::write(&path, csv).with_context(|| format!("failed to write {}", path.display()))
}
