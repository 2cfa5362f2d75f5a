//! Contains the loops of the operator, one module each.

pub(crate) mod grant;
pub(crate) mod invalid_objects;
pub(crate) mod orphaned_claims;
pub(crate) mod request;
pub(crate) mod retention;
