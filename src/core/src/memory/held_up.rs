//! Remembers the effects that cannot be stored at present.

use std::collections::BTreeMap;

use crate::{machine::HeldUp, refusal::Refuser};

/// The records whose effect is known and cannot be stored at present, each with its refuser if the
/// write is refused. Each keeps a task busy.
#[derive(Debug)]
pub struct HeldUpEffects {
    /// The number from which on no request is claimed.
    most: usize,
    records: BTreeMap<String, Option<Refuser>>,
}

impl HeldUpEffects {
    /// Returns an empty memory. With `most` effects in it, no request is claimed.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, records: BTreeMap::new() }
    }

    /// Adds a record.
    pub fn add(&mut self, record: &str, refuser: Option<Refuser>) {
        self.records.insert(record.to_owned(), refuser);
    }

    /// Removes a record, because its effect is stored or found again later.
    pub fn remove(&mut self, record: &str) {
        self.records.remove(record);
    }

    /// Returns the names of the records, sorted.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// Returns a refuser, if any, once there are too many.
    #[must_use]
    pub fn too_many(&self) -> Option<HeldUp> {
        (self.records.len() >= self.most).then(|| HeldUp { by: self.records.values().flatten().next().cloned() })
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
        held_up.add("r2", None);
        held_up.add("r2", None);
        assert_eq!(held_up.too_many(), None);
        held_up.add("r1", None);
        assert_eq!(held_up.too_many(), too_many(None));
        held_up.add("r2", Some(Refuser::Definition));
        assert_eq!(
            (held_up.too_many(), held_up.records()),
            (too_many(Some(Refuser::Definition)), vec!["r1".into(), "r2".into()])
        );
        held_up.remove("r1");
        assert_eq!((held_up.too_many(), held_up.records()), (None, vec!["r2".to_owned()]));
    }
}
