//! Contains logs, metrics, Events and the HTTP server.

pub mod events;
pub mod invalid_objects;
pub mod logs;
pub mod metrics;
pub mod panics;
pub mod server;
