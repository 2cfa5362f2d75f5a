//! Connects to the Kubernetes API server.

pub mod config;
pub mod errors;
pub mod lease;
pub mod preflight;
pub mod proxies;
pub mod requests;
pub mod store;
pub mod trimmed;
pub mod watch;
