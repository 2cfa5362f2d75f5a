use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use cognito_reset_api::{Effect, Outcome, conditions::EndReason};
use cognito_reset_core::{
    action::{
        port::{ReadError, SessionFailure},
        response::ResetResponse,
    },
    dispatch::key::Key,
    ledger::attribution::Attribution,
    refusal::Refuser,
};
use jiff::Timestamp;

use super::*;
use crate::{controllers::retention::store::Kind, kube::lease::Leadership, telemetry::metrics::text};

/// Counts each metric once. A family without any series is not in the text.
fn count(metrics: &Metrics) {
    let Metrics { process, api_requests, leadership, requests, grants, orphaned_claims, retention } = metrics;
    let now = Timestamp::UNIX_EPOCH;
    process.invalid_object();
    process.event_dropped();
    api_requests.count_one();
    leadership.set(Leadership::Leader);
    requests.finished(Outcome::Succeeded, EndReason::ResetAccepted.into());
    requests.call(&ResetResponse::Accepted);
    requests.settled(Effect::Performed);
    requests.attributed(Attribution::Own);
    requests.pending().put(
        Key::of_uid("7"),
        &serde_json::from_str(r#"{"metadata":{},"spec":{"userPoolID":"p_1","username":"alice"}}"#).unwrap(),
    );
    requests.durations().calling(Some(now), now);
    requests.durations().finished(Outcome::Succeeded, Some(now), now);
    requests.durations().user_read(&Err(ReadError::NoResponse), Duration::ZERO);
    grants.confirming(Arc::default());
    grants.role_failed(SessionFailure::Other);
    grants.status_refused(&Refuser::Permission);
    orphaned_claims.found();
    retention.deleted(Kind::Record);
    retention.error(Kind::Record);
    retention.scanned(Kind::Record, Some(now));
}

/// Returns the type and the label names of each metric in a text, as the documentation writes them.
fn described(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let rows = types.map(|(name, type_)| {
        let (suffix, series) = match type_ {
            "counter" => ("_total", "_total"),
            "histogram" => ("", "_count"),
            _ => ("", ""),
        };
        let sample = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{series}"))).unwrap();
        let labels: Vec<_> = sample
            .split_once('}')
            .map(|(labels, _)| labels.trim_start_matches('{').split(',').map(|label| label.split_once('=').unwrap().0))
            .into_iter()
            .flatten()
            .map(|label| format!("`{label}`"))
            .collect();
        (format!("{name}{suffix}"), format!("{type_} | {}", labels.join(", ")))
    });
    rows.collect()
}

#[test]
fn documentation_lists_each_metric_with_type_and_labels() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/observability.md");
    let page = fs::read_to_string(path).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `cognito_reset_"));
    let documented: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (format!("cognito_reset_{}", cells[0].trim_end_matches('`')), format!("{} | {}", cells[1], cells[2]))
        })
        .collect();
    let metrics = Metrics::default();
    count(&metrics);
    let registry = metrics.registry();
    let described = described(&text(&registry).unwrap());
    assert_eq!(described, documented, "left: the code; right: docs/observability.md");
    // The pending requests and the age of confirmations are collected when the metrics are read,
    // and are not in the registry.
    let registered = format!("{registry:?}").matches("Descriptor {").count() + 3;
    assert_eq!(described.len(), registered, "a metric that is registered is not counted in this test");
}

#[test]
fn age_of_confirmations_is_shown_only_where_they_are_made() {
    let metrics = Metrics::default();
    let shows = |wanted: bool| {
        let text = text(&metrics.registry()).unwrap();
        assert_eq!(text.contains("cognito_reset_grant_confirmation_age_seconds inf"), wanted, "{text}");
        assert_eq!(text.contains("confirmation_age"), wanted, "{text}");
    };
    shows(false);
    metrics.grants.confirming(Arc::default());
    shows(true);
}
