//! Remembers the writes of records that the API server refused, and the Events about statuses that
//! it refused.

use std::{collections::HashMap, time::Instant};

use super::UNUSED;
use crate::{
    ledger::Backoff,
    machine::{RefusedWrite, state::RecordWrite},
    recent::RecentSet,
    refusal::Refuser,
};

/// The refused writes of requests that have not ended, by record.
#[derive(Debug)]
pub struct RefusedWrites {
    backoff: Backoff,
    records: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    refusals: usize,
    /// The write that was refused last, and the end of the pause after it.
    write: Option<(RecordWrite, Instant)>,
    refusers: RecentSet<Refuser>,
    /// The text of the last Event, and the refusers that it was published for.
    text: String,
    published_for: RecentSet<Option<Refuser>>,
    last: Instant,
}

impl RefusedWrites {
    /// Returns an empty memory, with these pauses between the tries of a write.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, records: HashMap::new() }
    }

    /// Counts a refusal of a write. The pause before the next try grows with the number of refusals
    /// before, and `jitter` spreads it.
    pub fn refused(
        &mut self,
        record: &str,
        write: RecordWrite,
        refuser: &Refuser,
        jitter: &str,
        now: Instant,
    ) -> RefusedWrite {
        let backoff = self.backoff;
        let entry = self.entry(record, now);
        let pause = backoff.after(entry.refusals, jitter).unsigned_abs();
        entry.refusals = entry.refusals.saturating_add(1);
        if entry.write.is_none_or(|(before, _)| before != write) {
            entry.refusers = RecentSet::default();
        }
        entry.write = Some((write, now + pause));
        entry.refusers.is_new(refuser);
        RefusedWrite { write, refuser: entry.refusers.newest().cloned(), pause }
    }

    /// Returns the refused write of the record if its pause is not over. The request waits for it,
    /// regardless of what started its reconcile.
    pub fn paused(&mut self, record: &str, now: Instant) -> Option<RefusedWrite> {
        let entry = self.records.get_mut(record)?;
        entry.last = now;
        let (write, until) = entry.write.filter(|(_, until)| now < *until)?;
        let pause = until.saturating_duration_since(now);
        Some(RefusedWrite { write, refuser: entry.refusers.newest().cloned(), pause })
    }

    /// Returns true if no Event about this record has had this text for this refuser, which refuses
    /// the status. The text then counts as published, so that each refuser gets one Event for it.
    pub fn is_new_event(&mut self, record: &str, text: &str, refuser: Option<&Refuser>, now: Instant) -> bool {
        let entry = self.entry(record, now);
        if entry.text != text {
            text.clone_into(&mut entry.text);
            entry.published_for = RecentSet::default();
        }
        entry.published_for.is_new(&refuser.cloned())
    }

    fn entry(&mut self, record: &str, now: Instant) -> &mut Entry {
        if !self.records.contains_key(record) {
            // A request that is deleted while it waits is never forgotten by name.
            self.records.retain(|_, entry| now.saturating_duration_since(entry.last) < UNUSED);
        }
        let entry = self.records.entry(record.to_owned()).or_insert_with(|| Entry {
            refusals: 0,
            write: None,
            refusers: RecentSet::default(),
            text: String::new(),
            published_for: RecentSet::default(),
            last: now,
        });
        entry.last = now;
        entry
    }

    /// Forgets a record that was written, or whose request has ended.
    pub fn forget(&mut self, record: &str) {
        self.records.remove(record);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cognito_reset_api::CloseCause;
    use jiff::SignedDuration;

    use super::*;

    const JITTER: &str = "5f0c";

    fn backoff(initial: i64, max: i64) -> Backoff {
        Backoff { initial: SignedDuration::from_secs(initial), max: SignedDuration::from_secs(max) }
    }

    fn policy(name: &str) -> Refuser {
        Refuser::ValidatingPolicy(name.into())
    }

    #[test]
    fn a_text_is_new_once_for_each_refuser() {
        let (mut refused, now) = (RefusedWrites::new(backoff(10, 10)), Instant::now());
        for (record, text, by, is_new) in [
            ("r1", "a", Some("one"), true),
            ("r1", "a", Some("one"), false),
            ("r1", "a", Some("two"), true),
            ("r1", "a", Some("one"), false),
            ("r2", "a", Some("one"), true),
            ("r1", "b", Some("one"), true),
            ("r1", "a", Some("one"), true),
            ("r1", "a", None, true),
            ("r1", "a", None, false),
        ] {
            let by = by.map(policy);
            assert_eq!(refused.is_new_event(record, text, by.as_ref(), now), is_new, "{record} {text} {by:?}");
        }
        refused.forget("r1");
        assert!(refused.is_new_event("r1", "a", Some(&policy("one")), now));
        assert!(!refused.is_new_event("r2", "a", Some(&policy("one")), now));
    }

    #[test]
    fn refusals_are_counted_until_a_write_or_a_long_time() {
        let backoff = backoff(1, 1000);
        let (mut refused, start) = (RefusedWrites::new(backoff), Instant::now());
        let pause = |number| backoff.after(number, JITTER).unsigned_abs();
        let mut again = |record: &str, seconds| {
            let now = start + Duration::from_secs(seconds);
            refused.refused(record, RecordWrite::Claim, &policy("a"), JITTER, now).pause
        };
        for (seconds, record, before) in [
            (0, "r1", 0),
            (1, "r1", 1),
            (2, "r2", 0),
            (7100, "r1", 2),
            (7201, "r1", 3),
            // A new record drops those that were not used for two hours: r2, but not r1.
            (7202, "r3", 0),
            (7203, "r2", 0),
            (7203, "r1", 4),
            // A record alone never drops itself.
            (20_000, "r1", 5),
        ] {
            assert_eq!(again(record, seconds), pause(before), "{record} at {seconds} s");
        }
        refused.forget("r1");
        let after = refused.refused("r1", RecordWrite::Claim, &policy("a"), JITTER, start);
        assert_eq!(after.pause, pause(0));
    }

    #[test]
    fn a_refused_write_is_remembered_until_its_pause_is_over() {
        let backoff = backoff(10, 10);
        let (mut refused, start) = (RefusedWrites::new(backoff), Instant::now());
        let pause = backoff.after(0, JITTER).unsigned_abs();
        let seconds = Duration::from_secs;
        let (claim, close) = (RecordWrite::Claim, RecordWrite::Close(CloseCause::Expired));
        let wanted = |write, by, pause| RefusedWrite { write, refuser: Some(policy(by)), pause };
        assert_eq!(refused.paused("r1", start), None);
        assert_eq!(refused.refused("r1", claim, &policy("a"), JITTER, start), wanted(claim, "a", pause));
        assert_eq!(refused.paused("r1", start + seconds(3)), Some(wanted(claim, "a", pause - seconds(3))));
        assert_eq!(refused.paused("r2", start + seconds(3)), None);
        assert_eq!(refused.paused("r1", start + pause), None);
        // If several refuse in turn, the newest is named.
        let later = start + seconds(20);
        for (by, named) in [("b", "b"), ("a", "b"), ("b", "b"), ("c", "c"), ("a", "c")] {
            assert_eq!(refused.refused("r1", claim, &policy(by), JITTER, later), wanted(claim, named, pause), "{by}");
        }
        // Another write begins with its own refuser.
        assert_eq!(refused.refused("r1", close, &policy("a"), JITTER, later), wanted(close, "a", pause));
        assert_eq!(refused.paused("r1", later + seconds(1)), Some(wanted(close, "a", pause - seconds(1))));
        refused.forget("r1");
        assert_eq!(refused.paused("r1", later + seconds(1)), None);
    }
}
