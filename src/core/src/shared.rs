//! Shares equal values, such as the namespace of many requests.

use std::{borrow::Borrow, collections::HashSet, hash::Hash, sync::Arc};

/// The number of values below which none is dropped.
const FEW: usize = 64;

/// The values in use.
#[derive(Debug)]
pub struct Shared<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// The number of values at which those that nobody uses are dropped.
    drop_at: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), drop_at: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    /// Returns the shared value that equals this one.
    pub fn share<V: Borrow<T> + Into<Arc<T>>>(&mut self, value: V) -> Arc<T> {
        if let Some(known) = self.known.get(value.borrow()) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.drop_at.max(FEW) {
            self.known.retain(|value| Arc::strong_count(value) > 1);
            self.drop_at = self.known.len() * 2;
        }
        let shared = value.into();
        self.known.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_unused_ones_are_dropped() {
        let mut names = Shared::<str>::default();
        let kept = names.share("kept");
        assert!(Arc::ptr_eq(&kept, &names.share("kept".to_owned())));
        for number in 0..10 * FEW {
            names.share(number.to_string());
            assert!(names.known.len() <= FEW + 1, "{number}");
        }
        assert!(Arc::ptr_eq(&kept, &names.share("kept")));
        let used: Vec<_> = (0..10 * FEW).map(|number| names.share(format!("used-{number}"))).collect();
        assert!(used.iter().all(|name| Arc::ptr_eq(name, &names.share(&**name))));
    }
}
