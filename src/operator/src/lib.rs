//! A Kubernetes operator that resets Amazon Cognito passwords: at most once per request, and with a
//! status that never claims more than is known.
//!
//! Start with [`cognito_reset_core::machine::decide`], the function that decides what happens next,
//! and with `docs/architecture.md`, the map.

#![forbid(unsafe_code)]

mod cli;
mod command;
mod controllers;
mod kube;
mod metrics;
mod run;
mod serve;
mod tasks;
mod telemetry;

pub use self::{
    cli::{Cli, Command},
    command::execute,
    kube::store::StoreError,
    metrics::Metrics,
    serve::{Prepared, serve},
    tasks::Tasks,
    telemetry::server::Health,
};
