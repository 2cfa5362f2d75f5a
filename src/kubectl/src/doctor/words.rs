//! Numbers and lists in words.

use jiff::Timestamp;

/// The most entries of a list that a line names.
const NAMED: usize = 5;

/// Returns the time between two moments as kubectl shows ages, such as `5m`.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp) -> String {
    seconds(now.as_second().saturating_sub(since.as_second()).max(0))
}

/// Returns a number of seconds in the greatest unit that shows two digits of it, such as `90s`.
#[must_use]
pub fn seconds(seconds: i64) -> String {
    match seconds {
        i64::MIN..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// Returns a number with its noun, in the plural unless it is one.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

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
    fn ages_have_the_greatest_unit_that_shows_two_digits() {
        for (number, wanted) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")]
        {
            assert_eq!(seconds(number), wanted);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
        assert_eq!((count(1, "hold"), count(2, "hold")), ("1 hold".into(), "2 holds".into()));
    }
}
