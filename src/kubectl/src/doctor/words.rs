//! Lists in words.

/// The most entries of a list that a line names.
const NAMED: usize = 5;

/// Returns the first entries of a list, and the number of the others.
#[must_use]
pub fn list<S: AsRef<str>>(entries: &[S]) -> String {
    let named: Vec<&str> = entries.iter().take(NAMED).map(AsRef::as_ref).collect();
    match entries.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
