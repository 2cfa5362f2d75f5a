//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::plan::RunId;

/// Compares the classification of Cognito's responses with the service, in the account of the
/// caller's credentials.
#[derive(Debug, Parser)]
#[command(name = "verify-aws", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes user pools and users, compares every row, removes what it made, and writes a report.
    Run(RunArgs),
    /// Removes what a run that was killed has left.
    Clean(CleanArgs),
}

/// The settings of both commands.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Makes and removes neither an IAM role nor a Lambda function. The rows that need one are not
    /// shown.
    #[arg(long)]
    pub(crate) without_lambda: bool,
    /// Accepts endpoints that are not of AWS, such as those of an emulator.
    #[arg(long)]
    pub(crate) allow_test_endpoints: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Makes everything without a question.
    #[arg(long)]
    pub(crate) yes: bool,
    /// The directory that the reports are written to.
    #[arg(long, default_value = "target/verify-aws")]
    pub(crate) report: PathBuf,
    /// The time in seconds, from 0 to 600, for which a user is read after a call if the user does
    /// not have to reset the password.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) watch: u64,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The id that the run printed.
    #[arg(value_parser = RunId::parse)]
    pub(crate) run: RunId,
}
