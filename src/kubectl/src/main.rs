//! The binary `kubectl-cognito_reset`, which kubectl runs as `kubectl cognito-reset`.

use std::process::ExitCode;

use clap::Parser as _;
use cognito_reset_kubectl::{cli::Cli, exit::Exit};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Succeeded };
            // Where nothing can be printed, the exit code is all that is left.
            let _ = error.print();
            return exit.into();
        }
    };
    match cli.run().await {
        Ok(exit) => exit.into(),
        Err(failure) => {
            anstream::eprintln!("error: {failure}");
            failure.exit.into()
        }
    }
}
