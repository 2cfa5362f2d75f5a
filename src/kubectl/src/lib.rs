//! The kubectl plugin `kubectl cognito-reset`. It prints what requests and records say, and
//! computes no outcome of its own.

pub mod cli;
pub mod cluster;
pub mod create;
pub mod exit;
pub mod export;
pub mod failure;
pub mod ledger;
pub mod moment;
pub mod naming;
pub mod reconcile;
pub mod report;
pub mod request;
pub mod rules;
pub mod sheet;
pub mod tally;
pub mod users;
pub mod verify;
