//! The kubectl plugin against the real API server.

mod create;
mod export;
mod reconcile;
mod report;
