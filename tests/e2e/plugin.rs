//! The kubectl plugin against the real API server.

mod bad_input;
mod campaign;
mod cost;
mod create;
mod doctor;
mod explain;
mod export;
mod installed;
mod line;
mod manage;
mod reconcile;
mod report;
mod runbooks;
mod watch;
