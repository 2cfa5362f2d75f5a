//! Decides which records and finished requests are deleted, and when.

pub mod gitops;
pub mod page;
pub mod policy;
pub mod rotation;
