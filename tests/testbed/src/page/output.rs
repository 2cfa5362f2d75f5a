//! The comparison of an output with the one that a page shows.

/// Returns true if the output is the expected one. `…` in the expected one is any text within its
/// line, and any number of lines if it is alone in its line. Ages such as `12s` are equal, as are
/// different numbers of blanks.
pub(super) fn matches(expected: &str, output: &str) -> bool {
    let expected: Vec<_> = expected.lines().map(normal).filter(|line| !line.is_empty()).collect();
    let output: Vec<_> = output.lines().map(normal).filter(|line| !line.is_empty()).collect();
    lines_match(&expected, &output)
}

fn lines_match(expected: &[String], output: &[String]) -> bool {
    match expected.split_first() {
        None => output.is_empty(),
        Some((any, rest)) if any == "…" => {
            (0..=output.len()).any(|skipped| output.get(skipped..).is_some_and(|left| lines_match(rest, left)))
        }
        Some((line, rest)) => {
            output.split_first().is_some_and(|(shown, left)| line_matches(line, shown) && lines_match(rest, left))
        }
    }
}

fn line_matches(expected: &str, shown: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut left) = parts.next().and_then(|first| shown.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return left.is_empty() };
    for part in between {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

/// Returns a line with single blanks, and without the value of ages.
fn normal(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().map(|word| if is_age(word) { "AGE" } else { word }).collect();
    words.join(" ")
}

/// Returns true for what kubectl shows as an age: `5s`, `2m10s`, `3d`.
fn is_age(word: &str) -> bool {
    let numbers = word.split_terminator(['s', 'm', 'h', 'd']);
    let digits = |number: &str| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    word.ends_with(['s', 'm', 'h', 'd']) && numbers.into_iter().all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_equal() {
        for (expected, output) in [
            ("NAME   AGE\na      5s", "NAME AGE\na     2m10s\n"),
            ("pool eu-west-1_… is there", "pool eu-west-1_c635 is there"),
            ("first\n…\nlast", "first\na\nb\nlast"),
            ("first\n…", "first"),
            ("…a…b", "xaxb"),
        ] {
            assert!(matches(expected, output), "{expected} / {output}");
        }
    }

    #[test]
    fn what_differs_is_found() {
        for (expected, output) in [
            ("a", "b"),
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a", ""),
            ("pool …, ready", "pool x, failed"),
            ("count 5", "count 6"),
            ("first\n…\nlast", "first\na\nb"),
            ("a…b…c", "axcb"),
        ] {
            assert!(!matches(expected, output), "{expected} / {output}");
        }
    }
}
