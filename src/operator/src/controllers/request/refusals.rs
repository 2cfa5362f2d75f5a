//! Remembers refusals of the API server across reconciles: refused writes, published Events, and effects that are held up.

use std::{collections::HashMap, time::Duration};

use cognito_reset_core::{
    machine::{RefusedWrite, state::RecordWrite},
    recent::RecentSet,
    refusal::Refuser,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::controllers::request::user_locks::LONG_AGO;

/// The refusals of requests that have not ended, by record.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    met: Mutex<HashMap<String, Met>>,
}

#[derive(Debug)]
struct Met {
    times: usize,
    write: Option<(RecordWrite, Instant)>,
    refusers: RecentSet<Refuser>,
    said: String,
    said_of: RecentSet<Option<Refuser>>,
    last: Instant,
}

impl Refusals {
    /// A write to the record was refused. Each refusal is followed by a longer pause: `pause` gives it, by how many there
    /// were before.
    pub(super) fn again(
        &self,
        record: &str,
        write: RecordWrite,
        refuser: &Refuser,
        pause: impl FnOnce(usize) -> Duration,
        now: Instant,
    ) -> RefusedWrite {
        self.of(record, now, |met| {
            let pause = pause(met.times);
            met.times = met.times.saturating_add(1);
            if met.write.is_none_or(|(before, _)| before != write) {
                met.refusers = RecentSet::default();
            }
            met.write = Some((write, now + pause));
            met.refusers.is_new(refuser);
            RefusedWrite { write, refuser: met.refusers.newest().cloned(), pause }
        })
    }

    /// Returns the refused write of the record whose pause is not over. A request waits for it, regardless of what started its
    /// reconcile.
    pub(super) fn standing(&self, record: &str, now: Instant) -> Option<RefusedWrite> {
        let mut all = self.met.lock();
        let met = all.get_mut(record)?;
        met.last = now;
        let (write, until) = met.write.filter(|(_, until)| now < *until)?;
        Some(RefusedWrite {
            write,
            refuser: met.refusers.newest().cloned(),
            pause: until.saturating_duration_since(now),
        })
    }

    /// Returns true if no Event of this record has had this text for this refuser, which refuses the status. From now on the
    /// text counts as published, so each refuser gets one Event for it.
    pub(super) fn is_news(&self, record: &str, text: &str, refuser: Option<&Refuser>, now: Instant) -> bool {
        self.of(record, now, |met| {
            if met.said != text {
                text.clone_into(&mut met.said);
                met.said_of = RecentSet::default();
            }
            met.said_of.is_new(&refuser.cloned())
        })
    }

    fn of<T>(&self, record: &str, now: Instant, then: impl FnOnce(&mut Met) -> T) -> T {
        let mut all = self.met.lock();
        if !all.contains_key(record) {
            // A request that is deleted while it waits is never forgotten by name.
            all.retain(|_, met| now.saturating_duration_since(met.last) < LONG_AGO);
        }
        let met = all.entry(record.to_owned()).or_insert_with(|| Met {
            times: 0,
            write: None,
            refusers: RecentSet::default(),
            said: String::new(),
            said_of: RecentSet::default(),
            last: now,
        });
        met.last = now;
        then(met)
    }

    /// Forgets a record that was written, or whose request has ended.
    pub(super) fn forget(&self, record: &str) {
        self.met.lock().remove(record);
    }
}

/// The records whose effect is known and cannot be stored at present, and who refuses that, where it is refused. Each
/// keeps a task busy.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    records: Mutex<HashMap<String, Option<Refuser>>>,
}

/// One of them, from when it is added until this is dropped.
#[derive(Debug)]
pub(super) struct HeldUpEntry<'a> {
    all: &'a HeldUp,
    record: &'a str,
}

impl HeldUp {
    /// The entry of a record, not added yet.
    #[must_use]
    pub(super) const fn entry<'a>(&'a self, record: &'a str) -> HeldUpEntry<'a> {
        HeldUpEntry { all: self, record }
    }

    /// Returns the names of the records.
    pub(super) fn records(&self) -> Vec<String> {
        let mut records: Vec<_> = self.records.lock().keys().cloned().collect();
        records.sort();
        records
    }

    /// Returns a refuser, if any, once there are as many as `most`.
    pub(super) fn too_many(&self, most: usize) -> Option<Option<Refuser>> {
        let records = self.records.lock();
        (records.len() >= most).then(|| records.values().flatten().next().cloned())
    }
}

impl HeldUpEntry<'_> {
    /// It is held up, and by whom.
    pub(super) fn add(&self, refuser: Option<Refuser>) {
        self.all.records.lock().insert(self.record.to_owned(), refuser);
    }

    /// It is not held up any more.
    pub(super) fn remove(&self) {
        self.all.records.lock().remove(self.record);
    }
}

impl Drop for HeldUpEntry<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> Refuser {
        Refuser::ValidatingPolicy(name.into())
    }

    #[test]
    fn a_text_is_news_once_for_each_refuser() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for (record, text, by, is_news) in [
            ("r1", "a", "one", true),
            ("r1", "a", "one", false),
            ("r1", "a", "two", true),
            ("r1", "a", "one", false),
            ("r2", "a", "one", true),
            ("r1", "b", "one", true),
            ("r1", "a", "one", true),
        ] {
            assert_eq!(refusals.is_news(record, text, Some(&policy(by)), now), is_news, "{record} {text} {by}");
        }
        assert!(refusals.is_news("r1", "a", None, now) && !refusals.is_news("r1", "a", None, now));
        refusals.forget("r1");
        assert!(refusals.is_news("r1", "a", Some(&policy("one")), now));
        assert!(!refusals.is_news("r2", "a", Some(&policy("one")), now));
    }

    #[test]
    fn refusals_are_counted_until_a_write_or_a_long_time() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let again = |record: &str, now| {
            let mut before = None;
            let pause = |times| {
                before = Some(times);
                Duration::ZERO
            };
            refusals.again(record, RecordWrite::Claim, &policy("a"), pause, now);
            before
        };
        for (seconds, record, before) in [
            (0, "r1", 0),
            (1, "r1", 1),
            (2, "r2", 0),
            (7100, "r1", 2),
            (7201, "r1", 3),
            // What is new has the others looked through: r2 was not looked at for two hours.
            (7202, "r3", 0),
            (7203, "r2", 0),
            (7203, "r1", 4),
            // Itself a record is counted on, however long ago that was.
            (20_000, "r1", 5),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(again(record, now), Some(before), "{record} at {seconds} s");
        }
        refusals.forget("r1");
        assert_eq!(again("r1", start + Duration::from_secs(20_001)), Some(0));
    }

    #[test]
    fn a_refused_write_is_remembered_until_its_pause_is_over() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (claim, close) = (RecordWrite::Claim, RecordWrite::Close(cognito_reset_api::CloseCause::Expired));
        let standing =
            |write, by, seconds| RefusedWrite { write, refuser: Some(policy(by)), pause: Duration::from_secs(seconds) };
        assert_eq!(refusals.standing("r1", at(0)), None);
        let pause = |_| Duration::from_secs(10);
        assert_eq!(refusals.again("r1", claim, &policy("a"), pause, at(0)), standing(claim, "a", 10));
        assert_eq!(refusals.standing("r1", at(3)), Some(standing(claim, "a", 7)));
        assert_eq!(refusals.standing("r2", at(3)), None);
        assert_eq!(refusals.standing("r1", at(10)), None);
        // Who refuses in turn is named when it is new.
        for (by, named) in [("b", "b"), ("a", "b"), ("b", "b"), ("c", "c"), ("a", "c")] {
            assert_eq!(refusals.again("r1", claim, &policy(by), pause, at(20)), standing(claim, named, 10), "{by}");
        }
        assert_eq!(refusals.again("r1", close, &policy("a"), pause, at(30)), standing(close, "a", 10));
        assert_eq!(refusals.standing("r1", at(31)), Some(standing(close, "a", 9)));
        refusals.forget("r1");
        assert_eq!(refusals.standing("r1", at(31)), None);
    }

    #[test]
    fn effects_are_held_up_until_they_are_stored() {
        let held_up = HeldUp::default();
        let (one, two) = (held_up.entry("r1"), held_up.entry("r2"));
        assert_eq!(held_up.too_many(1), None);
        one.add(None);
        assert_eq!((held_up.too_many(1), held_up.too_many(2)), (Some(None), None));
        two.add(Some(Refuser::Permission));
        two.add(Some(Refuser::Definition));
        assert_eq!((held_up.too_many(2), held_up.too_many(3)), (Some(Some(Refuser::Definition)), None));
        assert_eq!(held_up.records(), ["r1", "r2"]);
        drop(two);
        assert_eq!((held_up.too_many(1), held_up.too_many(2)), (Some(None), None));
        drop(one);
        assert_eq!((held_up.too_many(1), held_up.records()), (None, vec![]));
    }
}
