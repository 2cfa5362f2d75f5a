//! Remembers recent reports, so that alternating reports are not repeated. Pure.

/// The number of different values that are remembered. The oldest is dropped first.
const MOST: usize = 8;

/// The last few different values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecentSet<T>(Vec<T>);

impl<T> Default for RecentSet<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq + Clone> RecentSet<T> {
    /// Adds the value if it is not remembered. Returns true if it was added.
    pub fn is_new(&mut self, thing: &T) -> bool {
        if self.0.contains(thing) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(thing.clone());
        true
    }

    /// Returns the value that was added last.
    #[must_use]
    pub fn newest(&self) -> Option<&T> {
        self.0.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alternates_is_new_once_each() {
        let mut lately = RecentSet::default();
        assert_eq!(lately.newest(), None);
        for (thing, is_new, newest) in [
            ("a", true, "a"),
            ("a", false, "a"),
            ("b", true, "b"),
            ("a", false, "b"),
            ("b", false, "b"),
            ("c", true, "c"),
        ] {
            assert_eq!((lately.is_new(&thing), lately.newest()), (is_new, Some(&newest)), "{thing}");
        }
    }

    #[test]
    fn only_a_few_values_are_remembered_and_the_oldest_is_dropped() {
        let mut lately = RecentSet::default();
        for number in 0..10 * MOST {
            assert!(lately.is_new(&number));
            assert!(lately.0.len() <= MOST);
        }
        assert!(!lately.is_new(&(9 * MOST)) && lately.is_new(&(9 * MOST - 1)));
    }
}
