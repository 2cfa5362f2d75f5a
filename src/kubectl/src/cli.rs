//! The command line. Arguments are parsed here and never decided on.

use std::{ffi::OsString, process::ExitCode};

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};
use colorchoice_clap::Color;

use crate::{
    cluster::Target,
    completion, create, doctor,
    exit::Exit,
    explain, export,
    failure::Failure,
    list,
    manage::{approve, hold, prune, release, suspend},
    reconcile, report, status,
    terminal::remark,
    verify, watch,
};

/// Resets passwords of Amazon Cognito users by requests that the operator performs at most once
#[derive(Debug, Parser)]
#[command(name = "kubectl cognito-reset", bin_name = "kubectl cognito-reset", version, arg_required_else_help = true)]
#[command(after_help = exit_codes())]
pub struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Prints or installs the completion for kubectl or a shell
    Completion(completion::Options),
    #[command(name = completion::COMMAND, hide = true)]
    Complete {
        #[arg(last = true)]
        words: Vec<OsString>,
    },
}

/// The commands that work with a cluster.
#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Creates a request for each user of a list
    Create(Box<create::Options>),
    /// Follows requests until each has ended
    Watch(watch::Options),
    /// Explains what happened to a request, why, and what to do next
    Explain(explain::Options),
    /// Lists requests
    List(list::Options),
    /// Counts requests by outcome and reason, with the holds that concern them
    Status(status::Options),
    /// Holds back pending requests
    #[command(after_help = suspend::SUSPEND_EXAMPLES)]
    Suspend(suspend::Options),
    /// Lets suspended requests go on
    #[command(after_help = suspend::RESUME_EXAMPLES)]
    Resume(suspend::ResumeOptions),
    /// Shows what requests are for, and approves them
    Approve(approve::Options),
    /// Holds back every request of a user pool, present and future
    Hold(hold::Options),
    /// Deletes holds, so that requests go on
    Release(release::Options),
    /// Deletes requests that ended some time ago; their records stay
    Prune(prune::Options),
    /// Says what is wrong with the installation, and what to do
    Doctor(doctor::Options),
    /// Shows who had whom reset, when and with which effect, out of the ledger
    Report(report::Options),
    /// Writes the ledger into a file, with a manifest that shows later changes of the file
    Export(export::Options),
    /// Compares an export with its manifest and the manifests before
    Verify(verify::Options),
    /// Compares the ledger with log files of CloudTrail
    Reconcile(reconcile::Options),
}

/// Runs the plugin as a process with these arguments, of which the first is its own name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::parsed(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Succeeded };
            // Where nothing can be printed, the exit code is all that is left.
            let _ = error.print();
            return exit.into();
        }
    };
    // Another library of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli.color.write_global();
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            remark!("error: {failure}");
            failure.exit.into()
        }
    }
}

/// Returns the table of the exit codes.
fn exit_codes() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {:<3}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Returns the choice of `--color`, for the help and the errors of a command line that may not be
/// one.
fn color(arguments: &[OsString]) -> ColorChoice {
    let words = arguments.iter().filter_map(|argument| argument.to_str()).take_while(|word| *word != "--");
    let (mut choice, mut is_next) = (ColorChoice::Auto, false);
    for word in words {
        let given = if is_next { Some(word) } else { word.strip_prefix("--color=") };
        choice = given.and_then(|given| ColorChoice::from_str(given, false).ok()).unwrap_or(choice);
        is_next = word == "--color";
    }
    choice
}

impl Cli {
    fn parsed(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let mut command = Self::command().color(color(arguments));
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    fn run(self) -> Result<Exit, Failure> {
        let command = match self.command {
            Command::Completion(options) => return completion::run(&options),
            Command::Complete { words } => return completion::complete_for_kubectl(&words),
            Command::Cluster(command) => command,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::refused(format!("the runtime cannot be started: {error}")))?;
        runtime.block_on(command.run(&self.target))
    }
}

impl ClusterCommand {
    async fn run(self, target: &Target) -> Result<Exit, Failure> {
        match self {
            Self::Create(options) => create::run(*options, target).await,
            Self::Watch(options) => watch::run(options, target).await,
            Self::Explain(options) => explain::run(options, target).await,
            Self::List(options) => list::run(options, target).await,
            Self::Status(options) => status::run(options, target).await,
            Self::Suspend(options) => suspend::suspend(options, target).await,
            Self::Resume(options) => suspend::resume(options, target).await,
            Self::Approve(options) => approve::run(options, target).await,
            Self::Hold(options) => hold::run(options, target).await,
            Self::Release(options) => release::run(options, target).await,
            Self::Prune(options) => prune::run(options, target).await,
            Self::Doctor(options) => doctor::run(options, target).await,
            Self::Report(options) => report::run(options, target).await,
            Self::Export(options) => export::run(options, target).await,
            Self::Verify(options) => verify::run(options, target).await,
            Self::Reconcile(options) => reconcile::run(options, target).await,
        }
    }
}

#[cfg(test)]
mod tests;
