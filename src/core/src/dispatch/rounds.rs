//! Round robin among members that come and go.
//!
//! In each round each member gets one turn. A member that is new gets its first turn before all
//! others. This cannot be used to jump the queue: a member that leaves and comes back has the
//! position that it had, for as long as that position is of use.

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

/// The rounds of one queue.
#[derive(Debug)]
pub(super) struct Rounds<M> {
    round: u64,
    sequence: u64,
    /// The positions of members that have left and would otherwise come back earlier than they may.
    left: HashMap<M, Position>,
}

impl<M> Default for Rounds<M> {
    fn default() -> Self {
        Self { round: 0, sequence: 0, left: HashMap::new() }
    }
}

impl<M: Eq + Hash> Rounds<M> {
    /// Returns the position of a member that joins.
    pub(super) fn join(&mut self, member: &M) -> Position {
        let left = self.left.remove(member);
        left.unwrap_or_else(|| Position { served: false, round: self.round, sequence: self.next() })
    }

    /// Returns the position of a member after its turn.
    pub(super) fn served(&mut self, position: Position) -> Position {
        if position.served && position.round > self.round {
            self.round = position.round;
            self.left.retain(|_, left| left.round >= self.round);
        }
        Position { served: true, round: self.round + 1, sequence: self.next() }
    }

    /// Remembers the position of a member that leaves, unless it has had no turn.
    pub(super) fn leave(&mut self, member: M, position: Position) {
        if position.served {
            self.left.insert(member, position);
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
