//! Parses the command line, installs the TLS provider, and runs the command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use cognito_reset_core::escape::escaped;
use cognito_reset_operator::{Cli, execute};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Both clients use one provider. Installing it fails only if one is installed already, which is
    // fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", escaped(&error.to_string(), |_| false));
            ExitCode::FAILURE
        }
    }
}
