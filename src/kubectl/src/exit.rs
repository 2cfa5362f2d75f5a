//! The exit codes, which runbooks rely on.

use std::process::ExitCode;

use crate::tally::Tally;

/// The result of a command, as a script sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did what it was asked, and each request that it waited for succeeded.
    Succeeded,
    /// At least one request failed.
    SomeFailed,
    /// The command line, or a file that it names, is not usable. Nothing was done.
    Usage,
    /// The time of `--timeout` was over before each request had ended. The operator goes on.
    TimedOut,
    /// For at least one request it cannot be determined whether the reset happened.
    SomeUnknown,
    /// The cluster or the user refused, or at least one request ended without a reset now: one had
    /// been performed before, or the user already had to reset the password.
    NothingSent,
    /// Ctrl-C ended the command. The operator goes on.
    Interrupted,
}

impl Exit {
    /// All results, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::SomeFailed,
        Self::Usage,
        Self::TimedOut,
        Self::SomeUnknown,
        Self::NothingSent,
        Self::Interrupted,
    ];

    /// Returns the code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::TimedOut => 3,
            Self::SomeUnknown => 4,
            Self::NothingSent => 5,
            Self::Interrupted => 130,
        }
    }

    /// Returns the meaning, for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Succeeded => "all succeeded",
            Self::SomeFailed => "some failed",
            Self::Usage => "the arguments or a file cannot be used; nothing was done",
            Self::TimedOut => "timed out; the operator goes on",
            Self::SomeUnknown => "for some it cannot be determined whether they were reset",
            Self::NothingSent => "refused, or nothing was sent now for some",
            Self::Interrupted => "interrupted; the operator goes on",
        }
    }

    /// Returns the result of requests that were waited for. Of several results, it is the one that
    /// needs attention first: requests that have not ended, then those of an unknown outcome,
    /// which those are as well that were deleted before an outcome was seen.
    #[must_use]
    pub const fn of(tally: &Tally) -> Self {
        if tally.pending > 0 {
            Self::TimedOut
        } else if tally.unknown + tally.deleted > 0 {
            Self::SomeUnknown
        } else if tally.failed > 0 {
            Self::SomeFailed
        } else if tally.not_needed > 0 {
            Self::NothingSent
        } else {
            Self::Succeeded
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_its_code() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 130]);
    }

    #[test]
    fn the_page_has_the_table() {
        let page = include_str!("../../../docs/kubectl.md");
        for exit in Exit::ALL {
            assert!(page.contains(&format!("| {} | {}", exit.code(), exit.meaning())), "{exit:?}");
        }
    }

    #[test]
    fn the_result_that_needs_attention_first_decides() {
        let tally = |pending, unknown, failed, not_needed| Tally {
            pending,
            unknown,
            failed,
            not_needed,
            succeeded: 9,
            ..Tally::default()
        };
        for (tally, exit) in [
            (tally(0, 0, 0, 0), Exit::Succeeded),
            (tally(0, 0, 0, 1), Exit::NothingSent),
            (tally(0, 0, 1, 1), Exit::SomeFailed),
            (tally(0, 1, 1, 1), Exit::SomeUnknown),
            (tally(1, 1, 1, 1), Exit::TimedOut),
            (Tally { deleted: 1, ..tally(0, 0, 1, 1) }, Exit::SomeUnknown),
        ] {
            assert_eq!(Exit::of(&tally), exit, "{tally:?}");
        }
    }
}
