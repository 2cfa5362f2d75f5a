//! Escapes characters that are invisible or change how text is displayed, so that a log line or a
//! table shows its real content.

use std::borrow::Cow;

/// Returns true for a control character, a line or paragraph separator, and a character of
/// Unicode's format class (Cf). Such a character breaks a line, controls a terminal, changes the
/// direction of text, or has no width.
#[must_use]
pub const fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}'
        | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Returns the text with hidden characters as JSON escapes such as `\u202e`. Within a JSON string
/// they stay the same characters. Characters for which `keep` returns true are not changed.
#[must_use]
pub fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let goes = |character: char| is_hidden(character) && !keep(character);
    if !text.chars().any(goes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if goes(character) {
            let units =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            shown.push_str(&units);
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::{escaped, is_hidden};

    #[test]
    fn the_hidden_characters_are_those_of_unicode() {
        let hidden = Regex::new(r"^[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]$").unwrap();
        let wrong: Vec<char> =
            ('\0'..=char::MAX).filter(|it| is_hidden(*it) != hidden.is_match(it.encode_utf8(&mut [0; 4]))).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn what_is_escaped_is_the_same_string_of_json_and_one_line() {
        let text = "a\u{202e}b\u{2028}c\u{e0041}d\u{9b}e é 日本語 \u{1F600} \\";
        let json = serde_json::to_string(text).unwrap();
        let shown = escaped(&json, |_| false);
        assert!(!shown.chars().any(is_hidden), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        assert_eq!(escaped("a\u{1b}[31mb\n", |it| it == '\u{1b}'), "a\u{1b}[31mb\\u000a");
        assert!(matches!(escaped("plain é", |_| false), std::borrow::Cow::Borrowed(_)));
    }
}
