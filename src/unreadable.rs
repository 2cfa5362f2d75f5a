//! Objects that cannot be parsed: reported, never a stopped watch.

use std::sync::Arc;

use kube::{Resource, ResourceExt, core::DeserializeGuard};
use tracing::warn;

use crate::{events::Events, metrics::Metrics};

/// Reports objects that cannot be parsed.
#[derive(Clone)]
pub struct Unreadable {
    events: Events,
    metrics: Arc<Metrics>,
}

impl Unreadable {
    /// Reports by log, Event and metric.
    #[must_use]
    pub const fn new(events: Events, metrics: Arc<Metrics>) -> Self {
        Self { events, metrics }
    }

    /// The metrics that it counts in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Reports one. What the parser quotes of the object is masked: it may be a user's name.
    pub fn report<K: Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>, error: &str) {
        self.metrics.not_understood();
        let error = masked(error);
        warn!(
            kind = %K::kind(&()), namespace = object.meta().namespace.as_deref().unwrap_or_default(), name = %object.name_any(), %error,
            "unable to understand an object; it is left alone"
        );
        self.events.not_understood(object.object_ref(&()), &error);
    }
}

/// A parser's text without what stands in quotes or backticks, in one line of at most 300 characters.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut quoted = None;
    for character in text.lines().next().unwrap_or_default().chars().take(300) {
        match quoted {
            Some(quote) if character == quote => quoted = None,
            Some(_) => continue,
            None if matches!(character, '"' | '`') => {
                quoted = Some(character);
                masked.push_str("[...]");
                continue;
            }
            None => {}
        }
        if quoted.is_none() && !matches!(character, '"' | '`') {
            masked.push(character);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_a_parser_quotes_is_masked() {
        for (text, wanted) in [
            (r#"invalid type: string "alice", expected i64"#, "invalid type: string [...], expected i64"),
            ("unknown variant `alice`, expected `Resend` or `Skip`", "unknown variant [...], expected [...] or [...]"),
            ("unfinished \"alice", "unfinished [...]"),
            ("one line\nalice", "one line"),
        ] {
            assert_eq!(masked(text), wanted);
        }
    }
}
