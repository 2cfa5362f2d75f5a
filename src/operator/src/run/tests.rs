use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

#[test]
fn whole_operator_is_a_small_value() {
    let Command::Run(args) = Cli::parse_from(["cognito-reset-operator", "run"]).command else { unreachable!() };
    let size = size_of_val(&run(*args, std::sync::Arc::default()));
    assert!(size < 16 << 10, "{size} bytes");
}
