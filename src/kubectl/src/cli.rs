//! The command line. Arguments are parsed here and never decided on.

use clap::{Parser, Subcommand};

use crate::{cluster::Target, create, exit::Exit, export, failure::Failure, reconcile, report, verify};

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
    /// Shows who had whom reset, when and with which effect, out of the ledger
    Report(report::Options),
    /// Writes the ledger into a file, with a manifest that shows later changes of the file
    Export(export::Options),
    /// Compares an export with its manifest and the manifests before
    Verify(verify::Options),
    /// Compares the ledger with log files of CloudTrail
    Reconcile(reconcile::Options),
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
            Command::Report(options) => report::run(options, &self.target).await,
            Command::Export(options) => export::run(options, &self.target).await,
            Command::Verify(options) => verify::run(options, &self.target).await,
            Command::Reconcile(options) => reconcile::run(options, &self.target).await,
        }
    }
}
