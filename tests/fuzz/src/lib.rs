//! Invalid input at scale: inputs near the valid ones, and the properties that hold for every one
//! of them.
//!
//! Each target is one type and one function. `tests/briefly.rs` runs them on random bytes under
//! `cargo test`, and `targets/` on those of libFuzzer, guided by coverage, under `make fuzz`.

pub mod briefly;
pub mod codes;
pub mod patterns;
pub mod records;
pub mod replies;
pub mod resources;
pub mod wire;

mod edits;
mod statuses;
