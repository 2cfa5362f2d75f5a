//! Asks before something is changed.

use std::io::IsTerminal as _;

use crate::failure::Failure;

/// The meaning of Enter without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// It affirms.
    GoesOn,
    /// It ends the command.
    Ends,
}

/// Asks a question that `y`, `yes` or, as `enter` says, an empty line affirms. `nothing` says what
/// has not happened, such as "nothing was deleted".
///
/// # Errors
/// When there is no terminal, or the reply is another one.
pub fn confirm(question: &str, enter: Enter, nothing: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("there is no terminal to ask in: pass --yes; {nothing}")));
    }
    let choices = if enter == Enter::GoesOn { "Y/n" } else { "y/N" };
    anstream::eprint!("{question} [{choices}] ");
    let mut reply = String::new();
    let read = std::io::stdin().read_line(&mut reply);
    // A closed input is no reply.
    if read.is_ok_and(|bytes| bytes > 0) && enter.affirms(&reply) { Ok(()) } else { Err(Failure::refused(nothing)) }
}

impl Enter {
    fn affirms(self, reply: &str) -> bool {
        match reply.trim().to_lowercase().as_str() {
            "" => self == Self::GoesOn,
            reply => ["y", "yes"].contains(&reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_affirms_and_enter_where_it_goes_on() {
        for (reply, of_enter) in
            [("y\n", [true; 2]), (" YES \n", [true; 2]), ("\n", [true, false]), ("no", [false; 2]), ("yy", [false; 2])]
        {
            assert_eq!([Enter::GoesOn, Enter::Ends].map(|enter| enter.affirms(reply)), of_enter, "{reply:?}");
        }
    }
}
