//! The text of a cell: one line without hidden characters, in which neither a spreadsheet nor
//! Markdown finds anything to interpret.

use std::borrow::Cow;

use cognito_reset_core::escape::is_hidden;

pub use crate::terminal::shown;

/// The characters that Markdown or HTML may interpret.
const MARKUP: &str = "\\`*_{}[]<>|#~&!$";

/// Returns true if a spreadsheet may take the text for a formula. Some skip blanks before it, and
/// some know the full-width forms of the signs.
#[must_use]
pub fn is_formula(text: &str) -> bool {
    let first = |character: char| matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r');
    let blank = |character: char| character.is_whitespace() || is_hidden(character);
    text.starts_with(first) || text.trim_start_matches(blank).starts_with(first)
}

/// Returns a cell of CSV. One that may be a formula begins with an apostrophe, which makes it text.
#[must_use]
pub fn csv(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{}", shown(text))) } else { shown(text) }
}

/// Returns a cell of a table of Markdown.
#[must_use]
pub fn markdown(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for character in shown(text).chars() {
        match character {
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            character if MARKUP.contains(character) => cell.extend(['\\', character]),
            character => cell.push(character),
        }
    }
    cell
}
