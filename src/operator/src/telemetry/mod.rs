//! Contains logs, metrics, Events and the HTTP server.

pub(crate) mod events;
pub(crate) mod exposition;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod panics;
pub(crate) mod process;
pub(crate) mod server;
