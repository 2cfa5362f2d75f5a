//! The cluster: its version, the CRDs and the clock.

use std::collections::BTreeSet;

use cognito_reset_core::schemas::{compare, listed};
use jiff::Timestamp;
use serde_json::Value;

use super::INSTALL_CRDS;
use crate::{
    doctor::{finding::Finding, read::Read},
    terminal::seconds,
};

/// The oldest minor release of Kubernetes 1 that the operator starts on.
const OLDEST_MINOR: u32 = 32;
/// The difference of two clocks, in seconds, from which it is reported.
const SKEW: i64 = 5;

/// Compares the version of Kubernetes with the oldest one that the operator supports.
#[must_use]
pub fn kubernetes(major: &str, minor: &str, version: &str) -> Finding {
    const SUBJECT: &str = "kubernetes";
    let number = |text: &str| text.trim_end_matches(|end: char| !end.is_ascii_digit()).parse::<u32>().ok();
    if number(major) == Some(1) && number(minor).is_some_and(|minor| minor < OLDEST_MINOR) {
        let text = format!("the API server has version {version}, and the operator needs 1.{OLDEST_MINOR} or newer");
        return Finding::fail(SUBJECT, text, "upgrade the cluster");
    }
    Finding::ok(SUBJECT, version)
}

/// Reports a namespace that does not exist, as far as you may read it.
#[must_use]
pub fn namespace<T>(read: &Read<T>, name: &str) -> Option<Finding> {
    let text = || format!("the namespace {name} does not exist");
    matches!(read, Read::Absent).then(|| Finding::warn("namespace", text(), "name another one with -n"))
}

/// Checks that the API server serves every kind. `served` contains their plurals.
#[must_use]
pub fn crds(served: &Read<BTreeSet<String>>) -> Finding {
    const SUBJECT: &str = "crds";
    let none = BTreeSet::new();
    let served = match served {
        Read::Absent => &none,
        served => match served.needed(SUBJECT, "list the CRDs", "the ClusterRole system:discovery") {
            Ok(served) => served,
            Err(finding) => return finding,
        },
    };
    let own: Vec<String> = cognito_reset_api::crds().iter().map(|crd| crd.spec.names.plural.clone()).collect();
    let missing: Vec<&str> = own.iter().filter(|plural| !served.contains(*plural)).map(String::as_str).collect();
    let way_out = || format!("{INSTALL_CRDS}, or choose another cluster with --context");
    if missing.is_empty() {
        Finding::ok(SUBJECT, format!("installed: {}", own.join(", ")))
    } else if missing.len() == own.len() {
        Finding::fail(SUBJECT, "this cluster has no CRDs of cognito-reset.dev", way_out())
    } else {
        let text = format!("the CRDs of {} are missing; the operator does not start", missing.join(", "));
        Finding::fail(SUBJECT, text, way_out())
    }
}

/// Compares the schemas of the cluster with those of this plugin.
#[must_use]
pub fn schemas(document: &Read<Value>) -> Option<Finding> {
    const SUBJECT: &str = "schemas";
    // The CRDs are missing, which `crds` reports.
    if matches!(document, Read::Absent) {
        return None;
    }
    let document = match document.needed(SUBJECT, "read the schemas of the CRDs", "the ClusterRole system:discovery") {
        Ok(document) => document,
        Err(finding) => return Some(finding),
    };
    let missing = compare(&cognito_reset_api::crds(), document);
    if !missing.ledger.is_empty() {
        let text = format!(
            "the CRDs are older than this plugin: the ledger lacks {}; an operator of the plugin's version does not start",
            listed(&missing.ledger)
        );
        return Some(Finding::warn(SUBJECT, text, INSTALL_CRDS));
    }
    if !missing.others.is_empty() {
        let text = format!("the CRDs are older than this plugin: they lack {}", listed(&missing.others));
        return Some(Finding::warn(SUBJECT, text, INSTALL_CRDS));
    }
    Some(Finding::ok(SUBJECT, "the CRDs have every field of this plugin"))
}

/// The moments around a request, by the own clock, and the Date of its response, which has whole
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The moment before the request.
    pub before: Timestamp,
    /// The moment after the response.
    pub after: Timestamp,
    /// The Date of the response.
    pub date: Option<Timestamp>,
}

impl Clock {
    /// Returns the time of the API server, or else the own one.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.date.unwrap_or(self.after)
    }
}

/// Compares the own clock with the API server's.
#[must_use]
pub fn clock(clock: Clock) -> Finding {
    const SUBJECT: &str = "clock";
    let Some(date) = clock.date.map(Timestamp::as_second) else {
        return Finding::skipped(
            SUBJECT,
            "the response of the API server has no Date",
            "something between you and the API server removes it: connect without it",
        );
    };
    let ahead = clock.before.as_second().saturating_sub(date.saturating_add(1));
    let behind = date.saturating_sub(clock.after.as_second());
    let difference = match (ahead, behind) {
        (SKEW.., _) => format!("{} ahead of", seconds(ahead)),
        (_, SKEW..) => format!("{} behind", seconds(behind)),
        _ => return Finding::ok(SUBJECT, "your clock and that of the API server agree"),
    };
    Finding::warn(
        SUBJECT,
        format!("your clock is {difference} that of the API server"),
        "set it right: a time that you give as a duration, such as --not-after 2h, is counted by it",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn old_versions_of_kubernetes_fail() {
        for (minor, severity) in [
            ("31+", Severity::Fail),
            ("9", Severity::Fail),
            ("32", Severity::Ok),
            ("37+", Severity::Ok),
            ("x", Severity::Ok),
        ] {
            assert_eq!(kubernetes("1", minor, "v1").severity, severity, "{minor}");
        }
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_reported() {
        assert_eq!(namespace(&Read::<()>::Absent, "suport").map(|it| it.severity), Some(Severity::Warn));
        assert_eq!(namespace(&Read::Got(()), "support"), None);
        assert_eq!(namespace(&Read::<()>::Forbidden, "support"), None);
    }

    #[test]
    fn missing_crds_are_named_with_the_way_to_install_them() {
        let all: BTreeSet<String> = cognito_reset_api::crds().iter().map(|crd| crd.spec.names.plural.clone()).collect();
        let mut some = all.clone();
        some.remove("userpoolholds");
        for (served, severity, says) in [
            (Read::Got(all), Severity::Ok, "installed"),
            (Read::Absent, Severity::Fail, "no CRDs"),
            (Read::Got(BTreeSet::new()), Severity::Fail, "no CRDs"),
            (Read::Got(some), Severity::Fail, "CRDs of userpoolholds are missing"),
            (Read::Forbidden, Severity::Skipped, "you may not"),
        ] {
            let found = crds(&served);
            assert_eq!(found.severity, severity);
            assert!(found.text.contains(says), "{found:?}");
            assert!(severity != Severity::Fail || found.remedy.is_some_and(|it| it.contains("deploy/kustomize/crds")));
        }
    }

    #[test]
    fn schemas_that_lack_a_field_are_older() {
        assert_eq!(schemas(&Read::Absent), None);
        assert_eq!(schemas(&Read::Got(json!({}))).map(|it| it.severity), Some(Severity::Ok));
        let kinds = json!([{"group": "cognito-reset.dev", "version": "v1alpha1", "kind": "PasswordResetRecord"}]);
        let old =
            json!({"components": {"schemas": {"x": {"x-kubernetes-group-version-kind": kinds, "properties": {}}}}});
        let found = schemas(&Read::Got(old)).expect("a finding");
        assert_eq!(found.severity, Severity::Warn);
        assert!(found.text.contains("passwordresetrecords action"), "{}", found.text);
    }

    #[test]
    fn a_clock_is_wrong_from_five_seconds() {
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).expect("a time");
        for (before, after, date, says) in [
            (0, 0, Some(0), "agree"),
            (5, 6, Some(0), "agree"),
            (6, 7, Some(0), "5s ahead of"),
            (0, 3, Some(7), "agree"),
            (0, 3, Some(8), "5s behind"),
            // A slow response shows no difference.
            (0, 60, Some(60), "agree"),
            (0, 0, None, "no Date"),
        ] {
            let found = clock(Clock { before: at(before), after: at(after), date: date.map(at) });
            assert!(found.text.contains(says), "{found:?}");
        }
    }
}
