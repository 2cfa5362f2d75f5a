//! Asks before something is changed.

use std::io::IsTerminal as _;

use crate::failure::Failure;

/// Asks a question that only `y` or `yes` affirms, unless `--yes` was given. `nothing` says what
/// has not happened, such as "nothing was deleted".
///
/// # Errors
/// When there is no terminal, or the reply is another one.
pub fn confirm(question: &str, yes: bool, nothing: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("there is no terminal to ask in: pass --yes; {nothing}")));
    }
    anstream::eprint!("{question} [y/N] ");
    let mut reply = String::new();
    let read = std::io::stdin().read_line(&mut reply);
    if read.is_ok() && affirms(&reply) { Ok(()) } else { Err(Failure::refused(nothing)) }
}

fn affirms(reply: &str) -> bool {
    ["y", "yes"].contains(&reply.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_affirms() {
        for (reply, wanted) in
            [("y\n", true), (" YES \n", true), ("", false), ("\n", false), ("no", false), ("yy", false)]
        {
            assert_eq!(affirms(reply), wanted, "{reply:?}");
        }
    }
}
