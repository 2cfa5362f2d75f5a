//! Counts the comparisons of the queues, in tests only. Tests bound this number and not the time,
//! so that they do not depend on the machine.

/// Counts one comparison.
pub(super) fn count() {
    #[cfg(test)]
    COUNTED.with(|counted| counted.set(counted.get() + 1));
}

#[cfg(test)]
std::thread_local! {
    static COUNTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Returns the number of comparisons that `work` makes, and its result.
#[cfg(test)]
pub(super) fn of<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = COUNTED.get();
    let result = work();
    (COUNTED.get() - before, result)
}
