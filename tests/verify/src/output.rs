//! Output that cannot end a run. A pipe whose reader is gone, as after Ctrl-C, is no reason to
//! leave something in an account.

use std::io::{Write as _, stderr, stdout};

/// Prints a line.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(stdout(), "{}", line.as_ref());
}

/// Prints a line about a problem.
pub(crate) fn warn(line: impl AsRef<str>) {
    let _ = writeln!(stderr(), "{}", line.as_ref());
}
