//! The commands that change what is there: requests of a selection, and holds.

pub mod approve;
pub mod chosen;
pub mod hold;
pub mod prune;
pub mod release;
pub mod suspend;

/// The number of objects that are changed at the same time. An interruption leaves each either
/// changed or not.
const ABREAST: usize = 8;
