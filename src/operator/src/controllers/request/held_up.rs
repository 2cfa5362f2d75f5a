//! Shares the memory of effects that cannot be stored between the reconciles of this process.

use cognito_reset_core::{machine, memory::held_up::HeldUpEffects, refusal::Refuser};
use parking_lot::Mutex;

/// The effects that cannot be stored at present.
#[derive(Debug)]
pub(super) struct HeldUp(Mutex<HeldUpEffects>);

/// The entry of one record, from when it is added until this is dropped.
#[derive(Debug)]
pub(super) struct HeldUpEntry<'a> {
    all: &'a HeldUp,
    record: &'a str,
}

impl HeldUp {
    /// Returns an empty memory. If `most` effects are held up for longer, no request is claimed.
    pub(super) const fn new(most: usize) -> Self {
        Self(Mutex::new(HeldUpEffects::new(most)))
    }

    /// Returns the entry of a record, not added yet.
    #[must_use]
    pub(super) const fn entry<'a>(&'a self, record: &'a str) -> HeldUpEntry<'a> {
        HeldUpEntry { all: self, record }
    }

    /// Returns the names of the records.
    pub(super) fn records(&self) -> Vec<String> {
        self.0.lock().records()
    }

    /// Returns a refuser, if any, once there are too many.
    pub(super) fn too_many(&self) -> Option<machine::HeldUp> {
        self.0.lock().too_many()
    }
}

impl HeldUpEntry<'_> {
    /// Adds the record, because the write of its effect has failed.
    pub(super) fn failed(&self) {
        self.all.0.lock().failed(self.record);
    }

    /// Adds the record, because the write is refused or fails for longer.
    pub(super) fn lasts(&self, refuser: Option<Refuser>) {
        self.all.0.lock().lasts(self.record, refuser);
    }

    /// Removes the record.
    pub(super) fn remove(&self) {
        self.all.0.lock().remove(self.record);
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

    #[test]
    fn entry_is_removed_when_it_is_dropped() {
        let held_up = HeldUp::new(2);
        let (one, two) = (held_up.entry("r1"), held_up.entry("r2"));
        one.lasts(None);
        two.lasts(Some(Refuser::Permission));
        assert_eq!(held_up.too_many(), Some(machine::HeldUp { by: Some(Refuser::Permission) }));
        drop(two);
        assert_eq!((held_up.too_many(), held_up.records()), (None, vec!["r1".to_owned()]));
        drop(one);
        assert!(held_up.records().is_empty());
    }
}
