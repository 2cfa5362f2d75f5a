//! Logs, metrics, Events and the pages that are served.

pub mod events;
pub mod invalid_objects;
pub mod logs;
pub mod metrics;
pub mod panics;
pub mod server;
