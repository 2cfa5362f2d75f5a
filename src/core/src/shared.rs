//! Shares equal strings, such as the namespace of many requests.

use std::{collections::HashSet, sync::Arc};

/// The number of names below which none is dropped.
const FEW: usize = 64;

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    /// The number of names at which those that nobody uses are dropped.
    drop_at: usize,
}

impl Names {
    /// Returns the shared name that equals this one.
    pub(super) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.drop_at.max(FEW) {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.drop_at = self.known.len() * 2;
        }
        let shared: Arc<str> = name.into();
        self.known.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_shared_and_unused_ones_are_dropped() {
        let mut names = Names::default();
        let kept = names.share("kept");
        assert!(Arc::ptr_eq(&kept, &names.share("kept")));
        for number in 0..10 * FEW {
            names.share(&number.to_string());
            assert!(names.known.len() <= FEW + 1, "{number}");
        }
        assert!(Arc::ptr_eq(&kept, &names.share("kept")));
        let used: Vec<_> = (0..10 * FEW).map(|number| names.share(&format!("used-{number}"))).collect();
        assert!(used.iter().all(|name| Arc::ptr_eq(name, &names.share(name))));
    }
}
