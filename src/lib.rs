//! A Kubernetes operator that resets Amazon Cognito passwords: at most once for each request, and
//! with a status that never claims more than is known.
//!
//! Start with [`reset::decide`], the one function that decides what happens next, and
//! `docs/architecture.md`, the map.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod api_errors;
pub mod budget;
pub mod cli;
pub mod cognito;
pub mod command;
pub mod controller;
pub mod events;
pub mod grants;
pub mod hidden;
pub mod history;
pub mod kube_config;
pub mod lately;
pub mod lease;
pub mod metrics;
pub mod panics;
pub mod proxies;
pub mod refusal;
pub mod reset;
pub mod rights;
pub mod roles;
pub mod run;
pub mod slim;
pub mod status_retry;
pub mod sweep;
pub mod telemetry;
pub mod unreadable;
pub mod watches;
