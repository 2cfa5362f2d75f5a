//! The meaning of each reason and what to do, as `docs/reasons.md` says it. That page is the only
//! place where these texts are.

const PAGE: &str = include_str!("../../../docs/reasons.md");

/// The sections of the page with reasons of requests.
const SECTIONS: [&str; 3] = ["Ended with success", "Ended without success", "Waiting"];
const EXCEPTIONS: &str = "Exceptions of Cognito";

/// An explanation of one reason, as plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The meaning.
    pub meaning: String,
    /// The action of a person; absent for an exception of Cognito, whose meaning is the cause.
    pub action: Option<String>,
}

/// Returns the explanation of a reason of a request; `None` if this release does not know the
/// reason.
#[must_use]
pub fn explain(reason: &str) -> Option<Explanation> {
    let name = format!("`{reason}`");
    let row = rows(&SECTIONS).find(|row| row.first() == Some(&name.as_str()));
    row.and_then(|row| {
        let [_, meaning, action] = row.as_slice() else { return None };
        Some(Explanation { meaning: plain(meaning), action: Some(plain(action)) })
    })
    .or_else(|| exception(&name))
}

/// Returns the explanation of an exception: its own meaning, and that of its class.
fn exception(name: &str) -> Option<Explanation> {
    let row = rows(&[EXCEPTIONS]).find(|row| row.first() == Some(&name))?;
    let [_, class, meaning] = row.as_slice() else { return None };
    let of_class = rows(&[EXCEPTIONS]).find_map(|row| match row.as_slice() {
        [name, meaning] if name == class => Some(plain(meaning)),
        _ => None,
    })?;
    Some(Explanation { meaning: format!("{} {of_class}", plain(meaning)), action: None })
}

/// Returns the cells of each row of the tables in these sections.
fn rows(sections: &'static [&'static str]) -> impl Iterator<Item = Vec<&'static str>> {
    let parts = PAGE.split("\n## ").filter(|part| part.lines().next().is_some_and(|title| sections.contains(&title)));
    parts.flat_map(str::lines).filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(cells.split(" | ").collect())
    })
}

/// Returns a cell without the marks of Markdown. A link becomes its text, or the page to which it
/// leads if the link is all that is in parentheses.
fn plain(cell: &str) -> String {
    let (mut text, mut rest) = (String::new(), cell);
    while let Some((before, link, after)) = next_link(rest) {
        text.push_str(before);
        let alone = before.ends_with('(') && after.starts_with(')');
        text.push_str(&if alone { page(link.1) } else { in_page(link) });
        rest = after;
    }
    text.push_str(rest);
    text.replace('`', "")
}

/// Returns the text before the first link, the link with its target, and the text after it.
fn next_link(text: &str) -> Option<(&str, (&str, &str), &str)> {
    let (before, rest) = text.split_once('[')?;
    let (label, rest) = rest.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    Some((before, (label, target), after))
}

/// Returns the page of a link in the documentation.
fn page(target: &str) -> String {
    match target.split('#').next() {
        None | Some("") => "docs/reasons.md".to_owned(),
        Some(page) => format!("docs/{page}"),
    }
}

/// Returns the text of a link; with its page if it leads to another part of the page, which the
/// reader does not have at hand.
fn in_page((label, target): (&str, &str)) -> String {
    if target.starts_with('#') { format!("{label} in {}", page(target)) } else { label.to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use cognito_reset_api::Exception;
    use serde_json::Value;

    use super::*;

    /// Returns the objects of the file of all states, each with its state.
    pub(crate) fn states() -> Vec<(String, Value)> {
        let lines = include_str!("../../core/tests/conditions/states.jsonl").lines();
        let parsed = lines.map(|line| serde_json::from_str::<Value>(line).expect("a state"));
        let requests = parsed.filter(|line| line["object"]["kind"] == "PasswordResetRequest");
        requests.map(|line| (line["state"].as_str().unwrap_or_default().to_owned(), line["object"].clone())).collect()
    }

    #[test]
    fn every_reason_of_a_request_is_explained() {
        let reason = |object: &Value| object["status"]["conditions"][0]["reason"].as_str().map(str::to_owned);
        let mut reasons: BTreeSet<String> = states().iter().filter_map(|(_, object)| reason(object)).collect();
        reasons.extend(Exception::ALL.iter().map(|exception| exception.code().to_owned()));
        assert!(reasons.len() > 60, "{reasons:?}");
        for reason in reasons {
            let Explanation { meaning, action } = explain(&reason).unwrap_or_else(|| panic!("no {reason}"));
            let text = format!("{meaning} {}", action.unwrap_or_default());
            assert!(text.len() > 20 && !text.contains(['[', ']', '`', '|']), "{reason}: {text}");
            assert!(!text.contains("]("), "{reason}: {text}");
        }
        assert_eq!(explain("BrandNew"), None);
        assert_eq!(explain("InForce"), None, "a reason of holds");
    }

    #[test]
    fn links_become_text_or_their_page() {
        for (cell, wanted) in [
            ("plain `code`", "plain code"),
            ("waits for its [turn](architecture.md#turns) now", "waits for its turn now"),
            ("fix the cause ([network](network.md))", "fix the cause (docs/network.md)"),
            ("a ([x](grants.md#y)), b ([z](#z))", "a (docs/grants.md), b (docs/reasons.md)"),
            ("see [Rejected writes](#rejected-writes)", "see Rejected writes in docs/reasons.md"),
        ] {
            assert_eq!(plain(cell), wanted);
        }
    }

    #[test]
    fn an_exception_is_explained_with_its_class() {
        let user = explain("UserNotFoundException").expect("it is there");
        assert_eq!(user.meaning, "The user does not exist. Nothing happened. The request ends.");
        assert_eq!(user.action, None);
    }
}
