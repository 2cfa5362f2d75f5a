//! Checks that the alerts and the dashboard fit the metrics, and the documentation the alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cognito_reset_api::conditions::WaitReason;
use serde::Deserialize;

use super::{
    counted,
    reference::{Described, described},
};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_saphyr::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Labels that Prometheus adds, and those of buckets.
const ADDED: [&str; 4] = ["job", "namespace", "instance", "le"];

/// Checks that the metrics of an expression exist, and have the labels that it names.
fn fits(expression: &str, metrics: &BTreeMap<String, Described>) {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut known: BTreeSet<&str> = ADDED.into();
    let mut used = 0;
    for prefix in ["cognito_reset_", "process_"] {
        for (start, _) in expression.match_indices(prefix) {
            let rest = &expression[start..];
            let (name, rest) = rest.split_at(rest.find(|letter| !is_name(letter)).unwrap_or(rest.len()));
            let metric = metrics.get(name).or_else(|| {
                let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
                metrics.get(base).filter(|metric| metric.type_ == "histogram")
            });
            let metric = metric.unwrap_or_else(|| panic!("{name} is no metric of the operator: {expression}"));
            let own: BTreeSet<&str> = metric.labels.iter().map(String::as_str).collect();
            let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(text, _)| text);
            for matcher in matchers.split(", ").filter(|matcher| !matcher.is_empty()) {
                let label = matcher.split(['=', '!']).next().unwrap().trim();
                assert!(own.contains(label) || ADDED.contains(&label), "{name} has no label {label}: {expression}");
            }
            known.extend(own);
            used += 1;
        }
    }
    assert!(used > 0, "no metric of the operator: {expression}");
    for (start, _) in expression.match_indices("by (") {
        let labels = expression[start..].split_once('(').unwrap().1.split_once(')').unwrap().0;
        for label in labels.split(", ") {
            assert!(known.contains(label), "no metric has the label {label}: {expression}");
        }
    }
}

#[test]
fn alerts_and_dashboard_use_metrics_and_labels_that_exist() {
    let metrics = described(&counted());
    for Alert { expr, .. } in alerts() {
        fits(&expr, &metrics);
    }
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10, "{}", panels.len());
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            fits(target["expr"].as_str().unwrap(), &metrics);
        }
    }
}

#[test]
fn each_alert_has_a_severity_texts_and_a_section_in_the_docs() {
    let (rules, page) = (read("deploy/monitoring/rules.yaml"), read("docs/alerts.md"));
    let base = rules.lines().find_map(|line| line.strip_prefix("# runbook base: ")).unwrap();
    assert!(page.contains(&format!("s#{base}#")), "docs/alerts.md replaces another address than {base}");
    let sections: BTreeMap<_, _> = page
        .split("\n### ")
        .skip(1)
        .map(|section| {
            let (name, text) = section.split_once('\n').unwrap();
            (name.to_owned(), text.to_owned())
        })
        .collect();
    let alerts = alerts();
    let names: BTreeSet<_> = alerts.iter().map(|alert| alert.alert.clone()).collect();
    assert_eq!(names, sections.keys().cloned().collect(), "left: the alerts; right: the sections of docs/alerts.md");
    assert_eq!(names.len(), alerts.len(), "two alerts have the same name");
    for Alert { alert, labels, annotations, expr } in &alerts {
        assert!(["critical", "warning"].contains(&labels["severity"].as_str()), "{alert}: {labels:?}");
        for text in ["summary", "description"] {
            assert!(annotations[text].ends_with('.'), "{alert}: {text}");
        }
        assert_eq!(annotations["runbook_url"], format!("{base}#{}", alert.to_lowercase()), "{alert}");
        let section = &sections[alert];
        let silence = format!("amtool silence add alertname={alert} ");
        for part in ["**Meaning.**", "\n1. ", "**Silence.**", &silence] {
            assert!(section.contains(part), "docs/alerts.md says nothing under {part} for {alert}");
        }
        assert!(alert == "CognitoResetAbsent" || expr.contains("by (job, namespace"), "{alert} mixes installations");
    }
    assert_eq!(rules.matches(base).count(), alerts.len() + 1, "the address of the pages is in other places, too");
}

/// The reasons that wait for a person or for another request.
const OF_PEOPLE: [WaitReason; 17] = [
    WaitReason::Suspended,
    WaitReason::NoMatchingGrant,
    WaitReason::ConflictingGrants,
    WaitReason::UserPoolHeld,
    WaitReason::GrantSuspended,
    WaitReason::NotAfterRequired,
    WaitReason::AwaitingApproval,
    WaitReason::RequesterUnverified,
    WaitReason::ApproverUnverified,
    WaitReason::RequesterNotIndependent,
    WaitReason::ApproverNotIndependent,
    WaitReason::SelfApproval,
    WaitReason::PendingLimitReached,
    WaitReason::UserStateNotRead,
    WaitReason::AwaitingPriorAttempt,
    WaitReason::ObjectTooLarge,
    WaitReason::InvalidObject,
];

/// The reasons that the operator, the cluster or AWS has to end. Exceptions of Cognito are further
/// ones.
const OF_MACHINES: [WaitReason; 12] = [
    WaitReason::GrantsNotConfirmed,
    WaitReason::RateLimited,
    WaitReason::Throttled,
    WaitReason::DeliveryFailing,
    WaitReason::AwsCredentialsUnavailable,
    WaitReason::RegionNotServed,
    WaitReason::UserStateUnreadable,
    WaitReason::CognitoUnreachable,
    WaitReason::ClaimTimedOut,
    WaitReason::ClockSkew,
    WaitReason::RecordNotUsable,
    WaitReason::WriteRefused,
];

#[test]
fn the_alert_of_old_requests_leaves_out_waits_for_people() {
    let alerts = alerts();
    let alert = alerts.iter().find(|alert| alert.alert == "CognitoResetPendingTooLong").unwrap();
    let left_out: BTreeSet<_> = alert.expr.split('"').nth(1).unwrap().split('|').collect();
    assert_eq!(left_out, OF_PEOPLE.map(WaitReason::as_str).into(), "left: the alert; right: the reasons");
    // A new reason is in docs/reasons.md, and has to be added to one of the lists.
    let page = read("docs/reasons.md");
    let waiting = page.split("\n## Waiting\n").nth(1).unwrap().split("\n#").next().unwrap();
    let rows = waiting.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<_> = rows.map(|(name, _)| name).collect();
    // The status of a request that no operator has seen has the reason Pending by default.
    let listed = OF_PEOPLE.iter().chain(&OF_MACHINES).map(|reason| reason.as_str()).chain(["Pending"]);
    assert_eq!(listed.collect::<BTreeSet<_>>(), documented, "left: this test; right: docs/reasons.md");
}
