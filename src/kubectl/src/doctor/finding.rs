//! A finding: one line of what `doctor` shows.

use serde::Serialize;

use crate::exit::Exit;

/// The name of the plugin as a command of kubectl.
const PLUGIN: &str = "cognito-reset";

/// The weight of a finding, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Resets are refused, or wait for somebody.
    Fail,
    /// Something is not as it should be, and resets are performed.
    Warn,
    /// The check was not made.
    Skipped,
    /// Nothing is wrong.
    Ok,
}

impl Severity {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Skipped => "skipped",
            Self::Ok => "ok",
        }
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The weight.
    pub severity: Severity,
    /// The subject, in one word or two.
    pub subject: &'static str,
    /// The state that was found.
    pub text: String,
    /// The way out; absent if nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Returns a finding without fault.
    #[must_use]
    pub fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject, text: text.into(), remedy: None }
    }

    /// Returns something that is not as it should be, and the way out.
    #[must_use]
    pub fn warn(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, subject, text: text.into(), remedy: Some(remedy.into()) }
    }

    /// Returns something that refuses resets, and the way out.
    #[must_use]
    pub fn fail(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Fail, subject, text: text.into(), remedy: Some(remedy.into()) }
    }

    /// Returns a check that was not made, and how it can be.
    #[must_use]
    pub fn skipped(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Skipped, subject, text: text.into(), remedy: Some(remedy.into()) }
    }
}

/// Returns the findings with the flags of the user's cluster in each command of kubectl and of this
/// plugin.
#[must_use]
pub fn with_flags(findings: &[Finding], flags: &str) -> Vec<Finding> {
    let command = |remedy: &String| {
        if flags.is_empty() {
            return remedy.clone();
        }
        // kubectl accepts no flags before the name of a plugin.
        let with = remedy.replace("kubectl ", &format!("kubectl {flags} "));
        with.replace(&format!("kubectl {flags} {PLUGIN} "), &format!("kubectl {PLUGIN} {flags} "))
    };
    let with = |finding: &Finding| Finding { remedy: finding.remedy.as_ref().map(command), ..finding.clone() };
    findings.iter().map(with).collect()
}

/// Puts what is wrong first. Findings of one severity keep their order.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| finding.severity);
}

/// Returns the result for scripts: that something refuses resets, or that nothing does.
#[must_use]
pub fn exit(findings: &[Finding]) -> Exit {
    let refuses = findings.iter().any(|finding| finding.severity == Severity::Fail);
    if refuses { Exit::NothingSent } else { Exit::Succeeded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_lead_to_the_cluster_of_the_user() {
        let found = [Finding::fail("a", "kubectl is text", "Helm, or kubectl get poolhold"), Finding::ok("b", "")];
        let shown = with_flags(&found, "--context dev --as 'jane d'");
        assert_eq!(shown[0].remedy.as_deref(), Some("Helm, or kubectl --context dev --as 'jane d' get poolhold"));
        assert_eq!(shown[0].text, found[0].text);
        let found = [Finding::warn("a", "", "kubectl cognito-reset release stop, or kubectl get poolhold")];
        let wanted = "kubectl cognito-reset --context dev release stop, or kubectl --context dev get poolhold";
        assert_eq!(with_flags(&found, "--context dev")[0].remedy.as_deref(), Some(wanted));
        assert_eq!(with_flags(&found, ""), found);
    }

    #[test]
    fn what_is_wrong_comes_first_and_only_a_refusal_fails() {
        let mut all = [
            Finding::ok("a", ""),
            Finding::skipped("b", "", ""),
            Finding::warn("c", "", ""),
            Finding::ok("d", ""),
            Finding::warn("e", "", ""),
        ];
        sort(&mut all);
        assert_eq!(all.each_ref().map(|finding| finding.subject), ["c", "e", "b", "a", "d"]);
        assert_eq!(exit(&all), Exit::Succeeded);
        let mut all = [Finding::ok("a", ""), Finding::fail("b", "", "")];
        sort(&mut all);
        assert_eq!((all[0].subject, exit(&all)), ("b", Exit::NothingSent));
    }
}
