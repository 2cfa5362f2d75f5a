//! Round robin among members that come and go.
//!
//! In each round each member gets one turn, or as many as its weight. A member that is new gets its
//! first turn before all others. This cannot be used to jump the queue: a member that leaves and
//! comes back has the position that it had, for as long as that position is of use.

use std::{cmp::Ordering, collections::HashMap, hash::Hash};

use crate::dispatch::steps;

/// A position in the order of turns: the least one is next. No two members have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Position {
    /// False for a member that has had no turn.
    served: bool,
    /// The round of its next turn.
    round: u64,
    /// The order within a round: that of the last turns, so that it is the same in each round.
    sequence: u64,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        steps::count();
        let parts = |it: &Self| (it.served, it.round, it.sequence);
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A member's position, and the number of its turns in the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) position: Position,
    turns: u32,
}

/// The rounds of one queue.
#[derive(Debug)]
pub(super) struct Rounds<M> {
    round: u64,
    sequence: u64,
    /// The seats of members that have left and would otherwise come back earlier than they may.
    left: HashMap<M, Seat>,
}

impl<M> Default for Rounds<M> {
    fn default() -> Self {
        Self { round: 0, sequence: 0, left: HashMap::new() }
    }
}

impl<M: Eq + Hash> Rounds<M> {
    /// Returns the seat of a member that joins.
    pub(super) fn join(&mut self, member: &M) -> Seat {
        self.left.remove(member).unwrap_or_else(|| {
            let position = Position { served: false, round: self.round, sequence: self.next() };
            Seat { position, turns: 0 }
        })
    }

    /// Returns the seat of a member after its turn.
    pub(super) fn served(&mut self, seat: Seat, weight: u32) -> Seat {
        if seat.position.served && seat.position.round > self.round {
            self.round = seat.position.round;
            self.left.retain(|_, left| left.position.round >= self.round);
        }
        let turns = seat.turns + 1;
        let (round, turns) = if turns < weight { (self.round, turns) } else { (self.round + 1, 0) };
        Seat { position: Position { served: true, round, sequence: self.next() }, turns }
    }

    /// Remembers the seat of a member that leaves, unless it has had no turn.
    pub(super) fn leave(&mut self, member: M, seat: Seat) {
        if seat.position.served {
            self.left.insert(member, seat);
        }
    }

    /// Forgets those who have left: nobody waits whom they could overtake.
    pub(super) fn reset(&mut self) {
        self.left.clear();
        self.left.shrink_to_fit();
    }

    /// Returns true if nobody is remembered.
    #[cfg(test)]
    pub(super) fn is_reset(&self) -> bool {
        self.left.is_empty()
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

#[cfg(test)]
mod tests;
