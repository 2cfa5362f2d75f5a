//! The order of things for one request: what is known ([`state`], [`knowledge`]), what happens next ([`decide`]), and what
//! its status says of it ([`status`]).

pub mod decide;
pub mod knowledge;
pub mod state;
pub mod status;

pub use decide::decide;
