//! Remembers the effects that cannot be stored at present.

use std::collections::{BTreeMap, BTreeSet};

use crate::{machine::HeldUp, refusal::Refuser};

/// The records whose effect is known and could not be stored. Each keeps a task busy.
#[derive(Debug)]
pub struct HeldUpEffects {
    /// The number from which on no request is claimed.
    most: usize,
    /// The records whose write has failed at least once.
    unstored: BTreeSet<String>,
    /// Those of them that are held up for longer, each with its refuser if the write is refused.
    lasting: BTreeMap<String, Option<Refuser>>,
}

impl HeldUpEffects {
    /// Returns an empty memory. If `most` effects are held up for longer, no request is claimed.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, unstored: BTreeSet::new(), lasting: BTreeMap::new() }
    }

    /// Adds a record whose write has failed.
    pub fn failed(&mut self, record: &str) {
        self.unstored.insert(record.to_owned());
    }

    /// Adds a record whose write is refused, or fails for longer.
    pub fn lasts(&mut self, record: &str, refuser: Option<Refuser>) {
        self.failed(record);
        self.lasting.insert(record.to_owned(), refuser);
    }

    /// Removes a record, because its effect is stored or found again later.
    pub fn remove(&mut self, record: &str) {
        self.unstored.remove(record);
        self.lasting.remove(record);
    }

    /// Returns the names of all records, sorted.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        self.unstored.iter().cloned().collect()
    }

    /// Returns a refuser, if any, once too many are held up for longer.
    #[must_use]
    pub fn too_many(&self) -> Option<HeldUp> {
        (self.lasting.len() >= self.most).then(|| HeldUp { by: self.lasting.values().flatten().next().cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_held_up_until_they_are_removed() {
        let mut held_up = HeldUpEffects::new(2);
        let too_many = |by| Some(HeldUp { by });
        assert_eq!(held_up.too_many(), None);
        held_up.lasts("r2", None);
        held_up.lasts("r2", None);
        held_up.failed("r1");
        assert_eq!((held_up.too_many(), held_up.records()), (None, vec!["r1".into(), "r2".into()]));
        held_up.lasts("r1", None);
        assert_eq!(held_up.too_many(), too_many(None));
        held_up.lasts("r2", Some(Refuser::Crd));
        assert_eq!(
            (held_up.too_many(), held_up.records()),
            (too_many(Some(Refuser::Crd)), vec!["r1".into(), "r2".into()])
        );
        held_up.remove("r1");
        assert_eq!((held_up.too_many(), held_up.records()), (None, vec!["r2".to_owned()]));
    }
}
