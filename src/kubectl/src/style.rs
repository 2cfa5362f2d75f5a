//! Colours. They are put into text that is laid out already, and anstream removes them where there
//! is no terminal, or `--color`, NO_COLOR or CLICOLOR say so.

use clap::builder::styling::{AnsiColor, Style};
use cognito_reset_api::Outcome;
use unicode_width::UnicodeWidthChar as _;

/// The weight of a word, which its colour shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It went as it was meant to.
    Good,
    /// Somebody should look.
    Attention,
    /// It failed.
    Bad,
    /// There is nothing to say about it yet.
    Quiet,
}

impl Tone {
    /// Returns the weight of an outcome as a status writes it; `None` for another word.
    #[must_use]
    pub fn of_outcome(word: &str) -> Option<Self> {
        let all = [Outcome::Succeeded, Outcome::Unknown, Outcome::Failed, Outcome::Pending];
        let outcome = all.into_iter().find(|outcome| outcome.as_str() == word)?;
        Some(match outcome {
            Outcome::Succeeded => Self::Good,
            Outcome::Unknown => Self::Attention,
            Outcome::Failed => Self::Bad,
            Outcome::Pending => Self::Quiet,
        })
    }

    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Quiet => AnsiColor::Cyan.on_default(),
        }
    }
}

/// Returns a text in the colour of a tone.
#[must_use]
pub fn painted(text: &str, tone: Tone) -> String {
    let style = tone.style();
    format!("{style}{text}{style:#}")
}

/// Colours the word of a line that begins at a column of the terminal, counted from 0, if it has a
/// tone.
#[must_use]
pub fn word(line: &str, column: usize, tone: impl Fn(&str) -> Option<Tone>) -> String {
    let begin = at_column(line, column);
    let (before, rest) = line.split_at_checked(begin).unwrap_or((line, ""));
    let end = rest.find([' ', '\t', ',', '/', ':']).unwrap_or(rest.len());
    let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    tone(word).map_or_else(|| line.to_owned(), |tone| format!("{before}{}{after}", painted(word, tone)))
}

/// Returns the index of the character that a terminal shows at a column.
fn at_column(line: &str, column: usize) -> usize {
    let mut at = 0;
    for (index, character) in line.char_indices() {
        if at >= column {
            return index;
        }
        at += character.width().unwrap_or(0);
    }
    line.len()
}

/// Returns a text without colours.
#[cfg(test)]
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_at_the_column_is_coloured() {
        let red = "\u{1b}[1m\u{1b}[31m";
        for (line, column, wanted) in [
            ("Failed  a", 0, format!("{red}Failed\u{1b}[0m  a")),
            ("ü Failed/Expired Failed", 2, format!("ü {red}Failed\u{1b}[0m/Expired Failed")),
            ("Failed Pending", 7, "Failed \u{1b}[36mPending\u{1b}[0m".to_owned()),
            // Such as a user of that name, in another column.
            ("a Failed", 0, "a Failed".to_owned()),
            // Each of these takes two columns.
            ("山田 Failed", 5, format!("山田 {red}Failed\u{1b}[0m")),
            ("Failedly", 0, "Failedly".to_owned()),
            ("", 3, String::new()),
        ] {
            let shown = word(line, column, Tone::of_outcome);
            assert_eq!(shown, wanted);
            assert_eq!(plain(&shown), line);
        }
    }

    #[test]
    fn each_outcome_has_its_tone() {
        let words = ["Succeeded", "Unknown", "Failed", "Pending", "Other"];
        let tones = [Some(Tone::Good), Some(Tone::Attention), Some(Tone::Bad), Some(Tone::Quiet), None];
        assert_eq!(words.map(Tone::of_outcome), tones);
    }
}
