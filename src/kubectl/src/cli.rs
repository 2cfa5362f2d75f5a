//! The command line. Arguments are parsed here and never decided on.

use clap::{Parser, Subcommand};

use crate::{
    cluster::Target,
    create,
    exit::Exit,
    failure::Failure,
    manage::{approve, hold, prune, release, suspend},
};

/// Resets passwords of Amazon Cognito users by requests that the operator performs at most once
#[derive(Debug, Parser)]
#[command(name = "kubectl cognito-reset", bin_name = "kubectl cognito-reset", version, arg_required_else_help = true)]
#[command(after_help = exit_codes())]
pub struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates a request for each user of a list
    Create(Box<create::Options>),
    /// Holds back pending requests
    #[command(after_help = suspend::SUSPEND_EXAMPLES)]
    Suspend(suspend::Options),
    /// Lets suspended requests go on
    #[command(after_help = suspend::RESUME_EXAMPLES)]
    Resume(suspend::Options),
    /// Shows what requests are for, and approves them
    Approve(approve::Options),
    /// Holds back every request of a user pool, present and future
    Hold(hold::Options),
    /// Deletes holds, so that requests go on
    Release(release::Options),
    /// Deletes requests that ended some time ago; their records stay
    Prune(prune::Options),
}

/// Returns the table of the exit codes.
fn exit_codes() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {:<3}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// When it could not do what it was asked.
    pub async fn run(self) -> Result<Exit, Failure> {
        // Another library of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        match self.command {
            Command::Create(options) => create::run(*options, &self.target).await,
            Command::Suspend(options) => suspend::suspend(options, &self.target).await,
            Command::Resume(options) => suspend::resume(options, &self.target).await,
            Command::Approve(options) => approve::run(options, &self.target).await,
            Command::Hold(options) => hold::run(options, &self.target).await,
            Command::Release(options) => release::run(options, &self.target).await,
            Command::Prune(options) => prune::run(options, &self.target).await,
        }
    }
}
