//! The order in which the records of ungranted requests are read, while their requests exist.
//!
//! Each of these records is read as soon as retention may delete it. If its request exists, it is
//! kept, and has to be read again. Anybody who may create requests can cause any number of such
//! records, so a scan reads only a part of them, and the scans that follow read the others.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

/// The scans of the records of ungranted requests by one process.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// The number of scans that have ended.
    scans: u64,
    /// The beginning of the last scan, by the API server's clock.
    last_began: Option<Timestamp>,
    /// The number of parts of which a scan reads one. It is a power of two. A record that has its
    /// turn in a certain scan by the largest number of parts also has it by every smaller one, so
    /// changes of the number let no record wait for longer.
    parts: u64,
    /// The number of records in this scan that an earlier one may have read.
    read_before: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { scans: 0, last_began: None, parts: 1, read_before: 0 }
    }
}

impl Rotation {
    /// Returns true if this scan reads the record with this uid, which retention may delete since
    /// this moment.
    pub fn is_due(&mut self, uid: &str, deletable_since: Timestamp) -> bool {
        if self.last_began.is_none_or(|began| began < deletable_since) {
            return true;
        }
        self.read_before = self.read_before.saturating_add(1);
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        hasher.finish() % self.parts == self.scans % self.parts
    }

    /// Ends a scan that began at this time, by the API server's clock. The next one reads about
    /// `most` of the records that an earlier scan may have read.
    pub fn ended(&mut self, began: Option<Timestamp>, most: u64) {
        let parts = self.read_before.div_ceil(most.max(1)).max(1).checked_next_power_of_two().unwrap_or(1 << 63);
        *self =
            Self { scans: self.scans.wrapping_add(1), last_began: began.or(self.last_began), parts, read_before: 0 };
    }

    /// Ends a scan that failed, so that it did not come to all records.
    pub const fn failed(&mut self) {
        self.read_before = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    /// Scans records that may be deleted since minute 0. Returns those that the scan reads.
    fn scan(rotation: &mut Rotation, uids: &[String], minute: i64, most: u64) -> BTreeSet<String> {
        let read = uids.iter().filter(|uid| rotation.is_due(uid, at(0))).cloned().collect();
        rotation.ended(Some(at(minute)), most);
        read
    }

    #[test]
    fn every_record_is_read_at_once_and_then_in_rotation() {
        let uids: Vec<_> = (0..1000).map(|number| format!("uid-{number}")).collect();
        let mut rotation = Rotation::default();
        let mut minute = 0;
        let mut next = |rotation: &mut Rotation, uids: &[String], most| {
            minute += 1;
            scan(rotation, uids, minute, most)
        };
        assert_eq!(next(&mut rotation, &uids, 100).len(), 1000, "a new process has read none");
        // From here on, an earlier scan may have read them. Their number is known after one more.
        assert_eq!(next(&mut rotation, &uids, 100).len(), 1000);
        let mut read = BTreeSet::new();
        for _ in 0..16 {
            let part = next(&mut rotation, &uids, 100);
            assert!((20..=125).contains(&part.len()), "{}", part.len());
            read.extend(part);
        }
        assert_eq!(read.len(), 1000, "16 scans read all");
        next(&mut rotation, &uids[..100], 100);
        assert_eq!(next(&mut rotation, &uids[..100], 100).len(), 100, "so few are read by every scan");
    }

    #[test]
    fn a_changing_number_of_records_lets_none_wait_longer() {
        let uids: Vec<_> = (0..400).map(|number| format!("uid-{number}")).collect();
        let mut rotation = Rotation::default();
        scan(&mut rotation, &uids, 1, 100);
        let always = &uids[..100];
        for most in [100, 37] {
            let mut read = BTreeSet::new();
            for minute in 2..22 {
                let present = if minute % 2 == 0 { &uids[..] } else { always };
                read.extend(scan(&mut rotation, present, minute, most));
            }
            assert!(always.iter().all(|uid| read.contains(uid)), "{most}");
        }
    }

    #[test]
    fn a_record_that_may_be_deleted_since_the_last_scan_is_due() {
        let mut rotation = Rotation::default();
        let uids: Vec<_> = (0..1000).map(|number| format!("uid-{number}")).collect();
        scan(&mut rotation, &uids, 1, 1);
        scan(&mut rotation, &uids, 2, 1);
        for (since, all) in [(0, false), (2, false), (3, true)] {
            let due = uids.iter().filter(|uid| rotation.is_due(uid, at(since))).count();
            assert_eq!(due == uids.len(), all, "since minute {since}");
        }
        // A scan that failed counts for nothing, and one without a Date changes no time.
        rotation.failed();
        rotation.ended(None, 1);
        assert!(uids.iter().all(|uid| rotation.is_due(uid, at(3))));
        assert!(uids.iter().all(|uid| rotation.is_due(uid, at(0))), "there was none to be read again");
    }
}
