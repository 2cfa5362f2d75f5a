//! The chaos run, and load with faults, from the command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use testbed::chaos::{ChaosRun, Mode, Programs};

use crate::environment::repository;

/// The arguments of a chaos run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Number of faults.
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    cycles: usize,

    /// Instead: how many requests, while replicas are killed every few seconds.
    #[arg(long, value_name = "REQUESTS", conflicts_with = "cycles")]
    load: Option<usize>,

    /// Repeats the order of the faults of an earlier run [default: a new one].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// File to write the report to, besides standard output.
    #[arg(long, value_name = "PATH")]
    report: Option<PathBuf>,

    /// The library of the crate `clock` [default: beside this program].
    #[arg(long, value_name = "PATH")]
    clock: Option<PathBuf>,
}

/// Runs it. Everything it started has ended when it returns.
pub(crate) async fn run(arguments: Arguments, operator: PathBuf) -> Result<()> {
    let Arguments { cycles, load, seed, report, clock } = arguments;
    let beside = || {
        let program = std::env::current_exe().context("this program does not know its own path")?;
        anyhow::Ok(program.with_file_name("libclock.so"))
    };
    let clock = clock.map_or_else(beside, Ok)?;
    let chaos = ChaosRun {
        mode: load.map_or(Mode::Faults(cycles), Mode::Load),
        seed: seed.unwrap_or_else(new_seed),
        report,
        programs: Programs { operator, clock, repository: repository() },
    };
    tokio::select! {
        outcome = chaos.run() => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

/// Returns a seed that is short enough to type.
fn new_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs() & 0xff_ffff
}
