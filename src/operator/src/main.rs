//! Parses the command line, installs the TLS provider, and runs the command. Under the name of the
//! kubectl plugin it is the plugin, so that the image has both in one file.

#![forbid(unsafe_code)]

use std::{path::Path, process::ExitCode};

use clap::Parser;
use cognito_reset_core::escape::escaped;
use cognito_reset_kubectl::PROGRAM;
use cognito_reset_operator::{Cli, execute};

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some(PROGRAM.as_ref())) {
        return cognito_reset_kubectl::cli::main(std::env::args_os());
    }
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
