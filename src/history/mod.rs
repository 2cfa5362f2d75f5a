//! The history: records whose retention has passed, and finished requests whose time to live has.
//!
//! Each is looked for page by page, and little is kept of a page, so that memory does not grow with what there is. What
//! looks old enough is read afresh, and the same pure decision ([`judge`]) is asked again; it alone decides, by the API server's
//! clock, and every deletion is bound to the object that was read.

pub mod archive;
pub mod collect;
pub mod judge;
pub mod page;
pub mod tracked;

pub use collect::{History, Settings};
