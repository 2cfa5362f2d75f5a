//! Moments of the past and ranges of time, as they are typed.

use std::fmt;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use crate::cluster::duration;

/// Parses a moment: a time, a day (its begin in UTC), or a duration before now.
///
/// # Errors
/// When the text is none of them.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "not a time such as 2036-01-01T00:00:00Z, a day such as 2036-01-01, or a duration before now such as 24h or 30d: {text:?}"
        )
    };
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| wrong());
    }
    let days =
        text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).filter(|days| (0..=36_500).contains(days));
    let before = match days {
        Some(days) => now.checked_sub((days * 24).hours()),
        None => now.checked_sub(duration(text).map_err(|_| wrong())?),
    };
    before.map_err(|_| wrong())
}

/// Parses a moment of the command line.
///
/// # Errors
/// When the text is none.
pub fn argument(text: &str) -> Result<Timestamp, String> {
    parse(text, Timestamp::now())
}

/// A range of time: from `since` on, and before `until`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first moment of the range; `None` for no limit.
    pub since: Option<Timestamp>,
    /// The first moment after the range; `None` for no limit.
    pub until: Option<Timestamp>,
}

impl Range {
    /// Returns true if the moment is in the range.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= moment) && self.until.is_none_or(|until| moment < until)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.since, self.until) {
            (None, None) => write!(f, "of all times"),
            (Some(since), None) => write!(f, "since {since:.0}"),
            (None, Some(until)) => write!(f, "before {until:.0}"),
            (Some(since), Some(until)) => write!(f, "since {since:.0} and before {until:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_day_or_a_duration_before_now() {
        let now: Timestamp = "2030-03-10T12:00:00Z".parse().unwrap();
        for (text, wanted) in [
            ("2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00Z"),
            ("2030-01-01", "2030-01-01T00:00:00Z"),
            ("2h", "2030-03-10T10:00:00Z"),
            ("60", "2030-03-10T11:59:00Z"),
            ("10d", "2030-02-28T12:00:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), wanted, "{text}");
        }
        for text in ["", "yesterday", "-2h", "2030-13-01", "9999999d", "d"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn adjacent_ranges_share_no_moment() {
        let [first, second] = ["2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"].map(|it| it.parse().unwrap());
        let before = Range { since: Some(first), until: Some(second) };
        let after = Range { since: Some(second), until: None };
        assert!(before.contains(first) && !before.contains(second) && after.contains(second));
        assert!(Range::default().contains(first));
    }
}
