//! The share of a grant: the part of its lane's turns that its requests take while others wait.
//!
//! Time plays no part, so the share holds at any pace, also while Cognito throttles. Each turn of
//! the lane gives the grant the percentage as credit, and a turn within the share costs 100. A
//! turn beyond the share, which is given when nobody else waits, costs nothing. In any number of
//! turns n of the lane, at most `2 + n * percent / 100` are within the share.

/// The cost of a turn within the share.
const TURN: u64 = 100;

/// The share of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    percent: u64,
    credit: u64,
    /// The number of turns of the lane for which the credit is.
    turns: u64,
}

impl Share {
    /// Returns a share whose first turn is within it. `turns` is the number of turns of the lane.
    pub(super) fn new(percent: u32, turns: u64) -> Self {
        Self { percent: u64::from(percent).clamp(1, TURN), credit: TURN, turns }
    }

    /// Changes the percentage. The credit stays.
    pub(super) fn set_percent(&mut self, percent: u32, turns: u64) {
        let credit = self.credit(turns);
        *self = Self { credit, ..Self::new(percent, turns) };
    }

    /// The credit does not grow beyond what the next turn leaves over, so that a grant without
    /// requests saves up nothing.
    fn credit(&self, turns: u64) -> u64 {
        let gained = self.percent.saturating_mul(turns.saturating_sub(self.turns));
        self.credit.saturating_add(gained).min(TURN + self.percent - 1)
    }

    /// Takes in that a turn of the grant is given.
    pub(super) fn take(&mut self, turns: u64) {
        let credit = self.credit(turns);
        (self.credit, self.turns) = (credit.checked_sub(TURN).unwrap_or(credit), turns);
    }

    /// Returns the number of turns of the lane from which on a turn is within the share; `None` if
    /// it is so already.
    pub(super) fn due(&self, turns: u64) -> Option<u64> {
        let lacking = TURN.saturating_sub(self.credit(turns));
        (lacking > 0).then(|| turns + lacking.div_ceil(self.percent))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whenever it takes turns, and however often it is kept out of them, a grant has no more
        /// than its share in any window. Where it takes each turn that it may, it has its share.
        #[test]
        fn share_holds_in_any_window(percent in 1..=100_u32, asks in proptest::collection::vec(0..4_u8, 1..600)) {
            let mut share = Share::new(percent, 0);
            let within: Vec<bool> = (0..).zip(&asks).map(|(turns, ask)| {
                let is_within = *ask > 0 && share.due(turns).is_none();
                if is_within {
                    share.take(turns);
                }
                is_within
            }).collect();
            for begin in 0..within.len() {
                let mut taken = 0;
                for (length, is_within) in (1_u32..).zip(&within[begin..]) {
                    taken += u32::from(*is_within);
                    prop_assert!(taken * 100 <= 200 + length * percent, "{} of {}", taken, length);
                }
            }
            let mut eager = Share::new(percent, 0);
            let number = 1000;
            let taken: u32 = (0..number).map(|turns| {
                let is_within = eager.due(turns.into()).is_none();
                if is_within {
                    eager.take(turns.into());
                }
                u32::from(is_within)
            }).sum();
            prop_assert!(taken * 100 + 100 >= number * percent, "{} of {}", taken, number);
        }

        #[test]
        fn share_is_due_at_the_turn_that_it_names(percent in 1..=100_u32, waits in proptest::collection::vec(0..300_u64, 1..50)) {
            let (mut share, mut turns) = (Share::new(percent, 0), 0);
            for wait in waits {
                share.take(turns);
                turns += 1;
                if let Some(due) = share.due(turns) {
                    prop_assert!(due > turns && share.due(due).is_none() && share.due(due - 1) == Some(due));
                }
                turns += wait;
            }
        }
    }

    #[test]
    fn turn_beyond_the_share_costs_nothing() {
        let mut share = Share::new(10, 0);
        share.take(0);
        assert_eq!(share.due(1), Some(10));
        (1..5).for_each(|turns| share.take(turns));
        assert_eq!(share.due(5), Some(10));
        share.set_percent(50, 5);
        assert_eq!(share.due(5), Some(6), "it keeps its credit of 50");
    }
}
