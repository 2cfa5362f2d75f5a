//! The command line. Arguments are parsed here and never decided on.

use clap::{Parser, Subcommand};

use crate::{cluster::Target, create, doctor, exit::Exit, failure::Failure};

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
    /// Says what is wrong with the installation, and what to do
    Doctor(doctor::Options),
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
            Command::Doctor(options) => doctor::run(options, &self.target).await,
        }
    }
}
