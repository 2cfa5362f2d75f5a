//! A Kubernetes operator that resets Amazon Cognito passwords: at most once per request, and with a
//! status that never claims more than is known.
//!
//! Start with [`cognito_reset_core::machine::decide`], the function that decides what happens next,
//! and with `docs/architecture.md`, the map.

#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod controllers;
pub mod kube;
pub mod metrics;
pub mod run;
pub mod serve;
pub mod tasks;
pub mod telemetry;
