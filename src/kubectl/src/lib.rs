//! The kubectl plugin `kubectl cognito-reset`. It prints what requests and records say, and
//! computes no outcome of its own.

/// The name of the program, by which kubectl finds it, and under which it owns the fields that it
/// writes.
pub const PROGRAM: &str = "kubectl-cognito_reset";

pub mod ask;
pub mod cli;
pub mod cluster;
pub mod completion;
pub mod create;
pub mod doctor;
pub mod document;
pub mod exit;
pub mod explain;
pub mod export;
pub mod failure;
pub mod ledger;
pub mod list;
pub mod manage;
pub mod me;
pub mod moment;
pub mod naming;
pub mod pages;
pub mod parsed;
pub mod reasons;
pub mod reconcile;
pub mod report;
pub mod request;
pub mod rules;
pub mod selection;
pub mod sheet;
pub mod shell;
#[cfg(test)]
mod snapshot;
pub mod status;
pub mod style;
pub mod tally;
pub mod terminal;
pub mod users;
pub mod verify;
pub mod watch;
