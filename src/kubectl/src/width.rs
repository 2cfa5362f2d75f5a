//! The width of the terminal.

use console::Term;

/// Returns the number of columns of the terminal behind standard error; `None` if there is none.
#[must_use]
pub fn of_stderr() -> Option<u16> {
    Term::stderr().size_checked().map(|(_, columns)| columns)
}
