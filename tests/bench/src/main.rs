//! Measures the operator: how fast it is, and what it costs itself, the API server and Cognito's
//! quota. It prints a table, and writes the figures and plots into files.
//!
//! The figures of two machines cannot be compared, and other programs disturb them. The stand-in
//! for Cognito and the bench itself use the same cores as the operator and the API server.
#![forbid(unsafe_code)]

mod api_server;
mod boto3;
mod cognito;
mod figures;
mod plot;
mod scenarios;
mod table;
mod usage;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Parser, ValueEnum};

use crate::{figures::Figures, plot::Plot, scenarios::Setup, world::Installed};

/// The number of requests in a stream, and in a backlog without a budget.
const NUMBER: usize = 2000;
/// The sizes of the backlogs under a budget.
const BACKLOGS: [usize; 3] = [100, 300, 900];
/// The numbers of finished requests beside which memory is measured.
const FINISHED: [usize; 3] = [0, 2000, 10_000];
/// The seconds for which Cognito's limit stays, and the limit.
const LIMITS: [(usize, usize); 3] = [(20, 30), (30, 10), (60, 30)];

#[derive(Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Cli {
    /// The operator's program [default: target/release/cognito-reset-operator].
    #[arg(long, value_name = "PATH", env = "COGNITO_RESET_OPERATOR_BIN")]
    operator: Option<PathBuf>,
    /// The part of deploy/ that is installed in the cluster.
    #[arg(long, default_value = "crds")]
    installed: Installed,
    /// The number of runs of each scenario.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    runs: usize,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<Scenario>,
    /// The directory for figures and plots [default: target/bench].
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Requests one by one, at rest.
    Rest,
    /// 2,000 requests that are created while the operator works on them.
    Stream,
    /// 2,000 requests that exist before the operator starts.
    Backlog,
    /// 100, 300 and 900 requests under a budget of 30 a second.
    Budget,
    /// 300 requests under a budget that is as large as Cognito's quota.
    Quota,
    /// 300 requests under a budget, with two replicas of which the leader is killed.
    Replicas,
    /// The pace while Cognito's limit moves.
    MovingLimit,
    /// The memory at rest beside 0, 2,000 and 10,000 finished requests.
    Memory,
    /// boto3 in a loop, with 1 and 16 threads.
    Boto3,
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("unable to start")
        .and_then(|runtime| runtime.block_on(run(Cli::parse())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nbench: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    // The client of the API server takes the provider of the process.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a TLS provider is installed already"))?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let program = cli.operator.unwrap_or_else(|| target.join("release/cognito-reset-operator"));
    ensure!(program.exists(), "there is no operator at {}: build it, or pass --operator", program.display());
    let output = cli.output.unwrap_or_else(|| target.join("bench"));
    fs::create_dir_all(&output)?;
    let setup = Setup { program: &program, installed: cli.installed };
    let wanted = if cli.only.is_empty() { Scenario::value_variants() } else { &cli.only };
    let mut figures = Vec::new();
    for scenario in wanted {
        for run in 1..=cli.runs {
            eprintln!("==> {scenario:?}, run {run} of {}", cli.runs);
            figures.extend(measure(setup, *scenario, &output).await?);
            // A later scenario may fail.
            fs::write(output.join("figures.json"), serde_json::to_vec_pretty(&figures)?)?;
        }
    }
    print!("{}", table::table(&figures));
    plot_budget(&figures, &output)
}

async fn measure(setup: Setup<'_>, scenario: Scenario, output: &Path) -> Result<Vec<Figures>> {
    Ok(match scenario {
        Scenario::Rest => vec![setup.rest().await?],
        Scenario::Stream => vec![setup.stream(NUMBER).await?],
        Scenario::Backlog => vec![setup.backlog(NUMBER).await?],
        Scenario::Budget => {
            let mut figures = Vec::new();
            for number in BACKLOGS {
                figures.push(setup.budget(number, 1, false).await?);
            }
            figures
        }
        Scenario::Quota => vec![setup.budget(300, 1, true).await?],
        Scenario::Replicas => vec![setup.budget(300, 2, false).await?],
        Scenario::MovingLimit => {
            plot_moving_limit(&setup.moving_limit(&LIMITS).await?, output)?;
            Vec::new()
        }
        Scenario::Memory => {
            let mut points = Vec::new();
            for finished in FINISHED {
                let resident = setup.memory(finished).await?;
                println!("resident at rest beside {finished} finished requests: {resident:.1} MiB");
                points.push((float(finished), resident));
            }
            fs::write(output.join("memory.json"), serde_json::to_vec(&points)?)?;
            let title = "Memory at rest";
            let lines = vec![("resident", points)];
            Plot { title, x: "finished requests", y: "MiB", lines }.write(&output.join("memory.svg"))?;
            Vec::new()
        }
        Scenario::Boto3 => vec![boto3::run(NUMBER, 1).await?, boto3::run(NUMBER, 16).await?],
    })
}

/// Writes and plots, for each second, its number, the limit and the accepted resets.
fn plot_moving_limit(seconds: &[(usize, usize, usize)], output: &Path) -> Result<()> {
    fs::write(output.join("moving-limit.json"), serde_json::to_vec(seconds)?)?;
    let line = |of: fn(&(usize, usize, usize)) -> usize| {
        seconds.iter().map(|second| (float(second.0), float(of(second)))).collect()
    };
    let lines = vec![("limit of Cognito", line(|it| it.1)), ("accepted resets", line(|it| it.2))];
    let title = "The pace while Cognito's limit moves";
    Plot { title, x: "seconds", y: "calls per second", lines }.write(&output.join("moving-limit.svg"))
}

/// Plots what a backlog under a budget costs by its size.
fn plot_budget(figures: &[Figures], output: &Path) -> Result<()> {
    let line = |of: fn(&Figures) -> f64| {
        let budget = figures.iter().filter(|it| it.scenario == "budget");
        budget.map(|it| (float(it.resets), of(it))).collect::<Vec<_>>()
    };
    let (rate, requests) = (line(|it| it.rate), line(|it| it.per_reset.sum()));
    if rate.is_empty() {
        return Ok(());
    }
    let x = "requests in the backlog";
    let plot = |title, y, name, points| Plot { title, x, y, lines: vec![(name, points)] };
    plot("Resets per second under a budget of 30", "resets per second", "resets", rate)
        .write(&output.join("backlog-rate.svg"))?;
    plot("Requests to the API server for each reset, Events included", "requests", "requests", requests)
        .write(&output.join("backlog-requests.svg"))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of requests")]
fn float(number: usize) -> f64 {
    number as f64
}
