//! Compares the operator's classification of Cognito's responses with the service itself, in an
//! account of the user's own. `docs/verification/README.md` describes it.

#![forbid(unsafe_code)]

mod account;
mod archive;
mod cli;
mod compare;
mod iam;
mod made;
mod make;
mod output;
mod plan;
mod remove;
mod report;
mod rows;
mod run;
mod signed;
mod stop;
mod try_row;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args).await,
        Command::Clean(args) => run::clean(&args).await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::warn(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
