//! The kubectl plugin `kubectl cognito-reset`. It prints what requests and records say, and
//! computes no outcome of its own.

pub mod cli;
pub mod cluster;
pub mod create;
pub mod exit;
pub mod explain;
pub mod failure;
pub mod list;
pub mod naming;
pub mod reasons;
pub mod request;
pub mod rules;
pub mod selection;
pub mod status;
pub mod tally;
pub mod terminal;
pub mod users;
