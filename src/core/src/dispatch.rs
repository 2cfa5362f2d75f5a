//! Hands out turns to requests, and slots to the closings of records. Pure: the monotonic clock is
//! an argument.
//!
//! `turns` is the dispatcher: it combines the lanes (`lane`), their fair queues (`fair`, `rounds`),
//! their pace (`pace`) and the brakes of pools and lanes (`brake`, `meaning`). `plan` puts a
//! request that the watch shows into its place. `closings` limits how many records a namespace can
//! cause without a call.

pub mod brake;
pub mod closings;
mod fair;
pub mod key;
pub mod lane;
pub mod meaning;
pub mod pace;
pub mod plan;
mod rounds;
mod steps;
pub mod turns;
