//! The kubectl plugin `kubectl cognito-reset`. It prints what requests and records say, and
//! computes no outcome of its own.

pub mod cli;
pub mod cluster;
pub mod create;
pub mod doctor;
pub mod exit;
pub mod failure;
pub mod naming;
pub mod request;
pub mod rules;
pub mod tally;
pub mod users;
