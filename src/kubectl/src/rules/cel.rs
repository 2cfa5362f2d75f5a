//! The rules of the CRD in CEL that are about the text of one field, and nothing else.

use regex::Regex;

/// A rule: each of its terms has to be true.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    terms: Vec<Term>,
    /// The text of the CRD for a value that breaks it.
    pub(super) message: String,
}

#[derive(Clone, Debug)]
enum Term {
    Matches(Regex),
    AtLeast(String),
    Below(String),
}

impl Rule {
    /// Reads a rule. `None` if it says more than this program understands: then only the API server
    /// checks it.
    pub(super) fn of(rule: &str, message: &str) -> Option<Self> {
        let mut terms = Vec::new();
        let mut rest = rule;
        loop {
            let (term, after) = term(rest)?;
            terms.push(term);
            if after.is_empty() {
                return Some(Self { terms, message: message.to_owned() });
            }
            rest = after.strip_prefix(" && ")?;
        }
    }

    /// Returns true if a text satisfies the rule.
    pub(super) fn allows(&self, text: &str) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Matches(pattern) => pattern.is_match(text),
            Term::AtLeast(least) => text >= least.as_str(),
            Term::Below(bound) => text < bound.as_str(),
        })
    }
}

/// Returns the first term, and the text after it.
fn term(rule: &str) -> Option<(Term, &str)> {
    if let Some(rest) = rule.strip_prefix("self.matches(r'") {
        let (pattern, after) = rest.split_once("')")?;
        return Some((Term::Matches(Regex::new(pattern).ok()?), after));
    }
    let (is_least, rest) = match rule.strip_prefix("self >= '") {
        Some(rest) => (true, rest),
        None => (false, rule.strip_prefix("self < '")?),
    };
    let (bound, after) = rest.split_once('\'')?;
    Some((if is_least { Term::AtLeast(bound.to_owned()) } else { Term::Below(bound.to_owned()) }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_understood_as_a_whole_or_not_at_all() {
        let rule = Rule::of(r"self.matches(r'^[0-9]{4}(-[0-9])*$') && self >= '1970' && self < '9999'", "write a year");
        let rule = rule.expect("it is understood");
        assert_eq!(
            ["1969", "1970", "9998", "9999", "19x0"].map(|it| rule.allows(it)),
            [false, true, true, false, false]
        );
        for odd in ["size(self) > 1", "self >= '1' || true", "!self.matches(r'a')", "self.matches(r'a') && self.isIP()"]
        {
            assert!(Rule::of(odd, "").is_none(), "{odd}");
        }
    }
}
