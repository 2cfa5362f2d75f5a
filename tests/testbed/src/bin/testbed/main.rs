//! The demonstration (`testbed demo`), the same servers to play with (`testbed up`, `testbed
//! down`), and the chaos run (`testbed faults`).
#![forbid(unsafe_code)]

mod demo;
mod environment;
mod faults;
mod many;
mod playground;
mod samples;
mod terminal;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::environment::repository;

/// A Kubernetes control plane, an emulator of Cognito, and the operator between them, on this
/// machine.
#[derive(Parser)]
#[command(name = "testbed", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// The operator's program [default: target/release/cognito-reset-operator].
    #[arg(long, global = true, value_name = "PATH", env = "COGNITO_RESET_OPERATOR_BIN")]
    operator: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the whole story with kubectl, and checks that every outcome is the expected one.
    Demo,
    /// Starts everything, and leaves it running.
    Up,
    /// Stops what `up` has started.
    Down,
    /// Injects faults of every kind while requests come, and compares what was claimed with what
    /// Cognito did.
    Faults(faults::Arguments),
    /// Runs the servers of `up` until it is asked to stop.
    #[command(hide = true)]
    Serve,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let operator =
        cli.operator.unwrap_or_else(|| repository().join("target").join("release").join("cognito-reset-operator"));
    let outcome = match cli.command {
        Command::Demo => demo::run(&operator).await,
        Command::Up => playground::up(&operator).await,
        Command::Down => playground::down().await,
        Command::Faults(arguments) => faults::run(arguments, operator).await,
        Command::Serve => playground::serve(&operator).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // The format `{:?}` would add a backtrace: the message is for the user who ran a
            // command.
            eprintln!("\ntestbed: {problem:#}");
            ExitCode::FAILURE
        }
    }
}
