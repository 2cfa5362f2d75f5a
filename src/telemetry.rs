//! Logs through tracing, as JSON or for people.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::LogFormat;

/// A log filter that cannot be used.
#[derive(Debug, Error)]
#[error("failed to start logging: {0}")]
pub struct TelemetryError(String);

/// Starts logging to standard error.
///
/// Whatever the filter says, clients' logs of requests and responses stay off below warnings: they
/// would show user names.
///
/// # Errors
/// Where the filter cannot be parsed.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let mut filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError(error.to_string()))?;
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().map_err(|error| TelemetryError(format!("{quiet}: {error}")))?);
    }
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    let started = match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Text => registry.with(layer).try_init(),
    };
    started.map_err(|error| TelemetryError(error.to_string()))
}

/// Crates that log requests, responses or headers below warnings.
const QUIET: &[&str] = &[
    // Every error of it is returned as well, and logged where it is met.
    "kube_client=off",
    "aws_config=warn",
    "aws_runtime=warn",
    "aws_sdk_cognitoidentityprovider=warn",
    "aws_sdk_sts=warn",
    "aws_sigv4=warn",
    "aws_smithy_http_client=warn",
    "aws_smithy_runtime=warn",
    "aws_smithy_runtime_api=warn",
    "h2=warn",
    "hyper=warn",
    "hyper_util=warn",
    "kube_runtime=warn",
    "rustls=warn",
    "tower=warn",
];
