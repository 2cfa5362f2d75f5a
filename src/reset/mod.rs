//! The reset: gather facts, decide, act.
//!
//! [`decide`] is the only place where the order of things is decided, and it is pure; the other
//! modules gather what it decides on ([`situation`], [`ledger`], [`knowledge`]), act on its steps
//! (`perform`, with what [`performer`] holds; `session` for what AWS is asked beside the call, `hindered` where a write is not taken) and tell the result ([`project`]).

pub mod decide;
mod hindered;
pub mod knowledge;
pub mod lasting;
pub mod ledger;
mod pass;
mod perform;
pub mod performer;
pub mod project;
pub mod refusals;
mod session;
pub mod situation;
pub mod store;
pub mod turnstile;

pub use decide::decide;
