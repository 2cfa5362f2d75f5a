//! Remembers when attempts were first observed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::UNUSED;

/// The time of the first observation of each attempt that requests wait for, by record. It never
/// compares the clocks of two machines.
#[derive(Debug, Default)]
pub struct FirstObserved {
    observations: HashMap<String, Observation>,
}

#[derive(Debug)]
struct Observation {
    attempt_id: String,
    settled: bool,
    first: Instant,
    last: Instant,
}

impl FirstObserved {
    /// Returns the time since the record's last attempt was first observed as it is, open or
    /// settled; zero at the first time.
    pub fn observed_for(&mut self, record: &str, attempt_id: &str, settled: bool, now: Instant) -> Duration {
        if !self.observations.contains_key(record) {
            // An attempt that another process settles is never forgotten by name.
            self.observations.retain(|_, attempt| now.saturating_duration_since(attempt.last) < UNUSED);
        }
        let first_observation = || Observation { attempt_id: attempt_id.to_owned(), settled, first: now, last: now };
        let attempt = self.observations.entry(record.to_owned()).or_insert_with(first_observation);
        if attempt.attempt_id != attempt_id || attempt.settled != settled {
            *attempt = first_observation();
        }
        attempt.last = now;
        now.saturating_duration_since(attempt.first)
    }

    /// Forgets a record whose request has ended.
    pub fn forget(&mut self, record: &str) {
        self.observations.remove(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_observed_again_after_each_change() {
        let mut observed = FirstObserved::default();
        let start = Instant::now();
        for (seconds, record, attempt_id, settled, observed_for) in [
            (0, "r1", "a", false, 0),
            (40, "r1", "a", false, 40),
            (46, "r1", "a", true, 0),
            (50, "r1", "a", true, 4),
            (51, "r1", "b", false, 0),
            (52, "r2", "a", false, 0),
            (52, "r1", "b", false, 1),
            (53, "within-two-hours", "a", false, 0),
            (100, "for-two-hours", "a", false, 0),
            (200, "itself", "a", false, 0),
            // What is looked at again is kept, and what is not, for two hours, is forgotten when
            // something new is seen.
            (4000, "new", "a", false, 0),
            (4001, "within-two-hours", "a", false, 3948),
            (7000, "r1", "b", false, 6949),
            (7300, "r3", "a", false, 0),
            (7301, "r1", "b", false, 7250),
            (7301, "for-two-hours", "a", false, 0),
            (7302, "r2", "a", false, 0),
            (7500, "itself", "a", false, 7300),
        ] {
            let now = start + Duration::from_secs(seconds);
            let wanted = Duration::from_secs(observed_for);
            let observed_for = observed.observed_for(record, attempt_id, settled, now);
            assert_eq!(observed_for, wanted, "{record} {attempt_id} at {seconds} s");
        }
        observed.forget("r1");
        let again = start + Duration::from_secs(7303);
        assert_eq!(observed.observed_for("r1", "b", false, again), Duration::ZERO);
    }
}
