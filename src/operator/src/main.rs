//! Parse, install the TLS provider, run.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use cognito_reset_core::escape::escaped;
use cognito_reset_operator::{cli::Cli, command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider for both clients. It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match command::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", escaped(&error.to_string(), |_| false));
            ExitCode::FAILURE
        }
    }
}
