//! Text for terminals: escaped, wrapped, and safe to type again.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    io::{ErrorKind, Write as _},
    os::fd::AsFd,
};

use cognito_reset_core::escape::{escaped, is_hidden};
use comfy_table::{ColumnConstraint, Table, Width, presets};
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    failure::Failure,
    shell,
    style::{self, Tone},
};

/// The number of blanks between two columns.
const GAP: u16 = 3;

/// The other end of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It reads.
    Reads,
    /// It has closed the pipe, as `head` does, and wants no more.
    Gone,
}

/// Prints at once, so that a part is seen before the next one is read.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> Result<Reader, Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::refused(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints a line of the result of a work that goes on, whether or not somebody reads it.
///
/// # Errors
/// When standard output cannot be written.
pub fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n")).map(|_| ())
}

/// Prints a remark for people. The command goes on if nobody reads it.
pub fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Formats a remark for people, and prints it.
macro_rules! remark {
    ($($text:tt)*) => { $crate::terminal::say(&format!($($text)*)) };
}
pub(crate) use remark;

/// Returns a text of an object with its hidden characters escaped.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Returns a text as one word of a shell; `None` if it has characters that cannot be typed.
#[must_use]
pub fn typable(text: &str) -> Option<String> {
    (!text.chars().any(is_hidden)).then(|| shell::quoted(text))
}

/// Returns the columns of the terminal behind a stream; `None` if there is none, so that nothing is
/// wrapped. COLUMNS overrides it.
#[must_use]
pub fn width(stream: impl AsFd) -> Option<usize> {
    let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    named.or_else(|| terminal_size::terminal_size_of(stream).map(|(width, _)| width.0.into()))
}

/// Returns a text as lines of at most `width` columns, of which the first begins with `first`, and
/// the others with as many blanks. A word that is longer is not broken.
#[must_use]
pub fn wrapped(first: &str, text: &str, width: Option<usize>) -> String {
    let indent = first.width();
    let (mut lines, mut column, mut begins) = (first.to_owned(), indent, true);
    for word in text.split(' ') {
        let length = word.width();
        if !begins && width.is_some_and(|width| column + 1 + length > width) {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if !begins {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
        begins = false;
    }
    lines.truncate(lines.trim_end().len());
    lines
}

/// Returns a time in seconds, in UTC.
#[must_use]
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the time from `then` to `now` as kubectl shows it, in one unit.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    seconds(now.as_second().saturating_sub(then.as_second()).max(0))
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

/// Returns a number of things, such as "1 request" or "3 requests".
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    if number == N::from(1) { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Returns how often each word occurs, such as "2 Failed, 1 Pending", in the order of the words.
#[must_use]
pub fn frequencies<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// Returns rows as kubectl shows them. Each cell is escaped.
#[must_use]
pub fn table<'a>(header: &[&str], rows: impl IntoIterator<Item = Vec<Cow<'a, str>>>) -> String {
    let escaped = |row: Vec<Cow<'a, str>>| row.iter().map(|cell| shown(cell).into_owned()).collect();
    Columns::new(header).lines(rows.into_iter().map(escaped).collect())
}

/// Rows that are printed in parts, with the columns of the widest row so far.
#[derive(Debug)]
pub struct Columns {
    header: Option<Vec<String>>,
    widths: Vec<u16>,
}

impl Columns {
    /// Begins with this header, which the first part shows.
    #[must_use]
    pub fn new(header: &[impl AsRef<str>]) -> Self {
        let header = header.iter().map(|name| name.as_ref().to_owned()).collect();
        Self { header: Some(header), widths: Vec::new() }
    }

    /// Returns these rows as lines, with the words of a column in the colours of their tones.
    pub fn lines_with_tones(
        &mut self,
        rows: Vec<Vec<String>>,
        column: usize,
        tone: impl Fn(&str) -> Option<Tone>,
    ) -> String {
        let lines = self.lines(rows);
        let begin: usize = self.widths.iter().take(column).map(|width| usize::from(*width + GAP)).sum();
        lines.lines().map(|line| style::word(line, begin, &tone)).collect::<Vec<_>>().join("\n")
    }

    /// Returns these rows as lines.
    pub fn lines(&mut self, rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if let Some(header) = self.header.take() {
            table.set_header(header);
        }
        table.add_rows(rows);
        let of_content = table.column_max_content_widths();
        let before = self.widths.iter().copied().chain(std::iter::repeat(0));
        self.widths = of_content.into_iter().zip(before).map(|(width, before)| width.max(before)).collect();
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_padding((0, GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width.saturating_add(GAP))));
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_safe_to_type() {
        for (text, wanted) in [
            ("alice@example.com", Some("alice@example.com")),
            ("o'neil; rm", Some(r"'o'\''neil; rm'")),
            ("$(x)", Some("'$(x)'")),
            ("", Some("''")),
            ("a\u{1b}[31m", None),
            ("a\u{202e}b", None),
        ] {
            assert_eq!(typable(text).as_deref(), wanted, "{text:?}");
        }
        assert_eq!(shown("a\u{1b}b"), "a\\u001bb");
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        for (seconds, wanted) in
            [(-5, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")]
        {
            assert_eq!(age(at(0), at(seconds)), wanted);
        }
        assert_eq!(moment(at(0)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(wrapped("  a  ", "bb cc dddddddddddd e", Some(10)), "  a  bb cc\n     dddddddddddd\n     e");
        assert_eq!(wrapped("a ", "b c d", None), "a b c d");
        assert_eq!(wrapped("a ", "", Some(9)), "a");
    }

    #[test]
    fn a_table_shows_hidden_characters_and_no_borders() {
        let rows = [vec!["a".into(), "b\u{1b}[2J".into()]];
        assert_eq!(table(&["NAME", "REASON"], rows), "NAME   REASON\na      b\\u001b[2J");
    }

    #[test]
    fn later_parts_keep_the_columns() {
        let row = |cells: [&str; 2]| vec![cells.map(str::to_owned).to_vec()];
        let mut columns = Columns::new(&["NAME", "USER"]);
        assert_eq!(columns.lines(row(["abcdef", "x"])), "NAME     USER\nabcdef   x");
        assert_eq!(columns.lines(row(["a", "y"])), "a        y");
    }

    #[test]
    fn words_are_counted_in_their_order() {
        assert_eq!(frequencies(["Pending", "Failed", "Pending"]), "1 Failed, 2 Pending");
        assert_eq!(frequencies([]), "");
    }

    #[test]
    fn a_count_names_its_things() {
        let counts = [0, 1, 2].map(|count| counted(count, "hold"));
        assert_eq!(counts, ["0 holds", "1 hold", "2 holds"]);
    }
}
