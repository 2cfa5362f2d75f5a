//! Makes every decision of cognito-reset-operator.
//!
//! Nothing here reads a clock, draws randomness, or has a client: time, random values and responses
//! are arguments. Start with [`machine::decide`], the function that decides what happens next to a
//! request.

#![forbid(unsafe_code)]

pub mod action;
pub mod dispatch;
pub mod escape;
pub mod grants;
pub mod invalid_objects;
pub mod ledger;
pub mod machine;
mod managed_fields;
pub mod memory;
pub mod orphaned_claims;
pub mod panics;
pub mod recent;
pub mod refusal;
pub mod retention;
pub mod schemas;
pub mod shared;
pub mod status_retry;
pub mod watched_namespaces;
