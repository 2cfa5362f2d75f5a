//! The kubectl plugin against the real API server.

mod create;
mod doctor;
mod explain;
mod export;
mod installed;
mod manage;
mod reconcile;
mod report;
mod runbooks;
mod watch;
