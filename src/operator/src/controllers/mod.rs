//! Contains the loops of the operator, one module each.

pub mod grant;
pub mod orphaned_claims;
pub mod request;
pub mod retention;
