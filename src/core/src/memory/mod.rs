//! The memory of one process across reconciles: refused writes, effects that cannot be stored,
//! waits for AWS, and when attempts were first observed.
//!
//! Time is an argument. The locks belong to the operator.

use std::time::Duration;

pub mod first_observed;
pub mod held_up;
pub mod lasting_waits;
pub mod refused_statuses;
pub mod refused_writes;

/// The time after which an entry that was not used again is dropped. A request that waits is read
/// at least once an hour.
const UNUSED: Duration = Duration::from_secs(2 * 3600);
