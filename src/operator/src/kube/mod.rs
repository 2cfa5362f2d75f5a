//! Connects to the Kubernetes API server.

pub(crate) mod config;
pub(crate) mod current;
pub(crate) mod errors;
pub(crate) mod lease;
pub(crate) mod preflight;
pub(crate) mod proxies;
pub(crate) mod requests;
pub(crate) mod response;
pub(crate) mod store;
pub(crate) mod trimmed;
pub(crate) mod user_records;
pub(crate) mod watch;
