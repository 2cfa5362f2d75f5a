//! The binary `kubectl-cognito_reset`, which kubectl runs as `kubectl cognito-reset`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cognito_reset_kubectl::cli::main(std::env::args_os())
}
