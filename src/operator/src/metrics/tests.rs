mod monitoring;
mod reference;

use std::{sync::Arc, time::Duration};

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
use crate::{controllers::retention::store::Kind, kube::lease::Leadership, telemetry::exposition::Format};

/// Returns the text of all metrics, each of which was counted once. A family without any series is
/// not in the text.
fn counted() -> String {
    let metrics = Metrics::default();
    count(&metrics);
    Format::OpenMetrics.write(&metrics.registry()).unwrap()
}

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

#[test]
fn age_of_confirmations_is_shown_only_where_they_are_made() {
    let metrics = Metrics::default();
    let shows = |wanted: bool| {
        let text = Format::OpenMetrics.write(&metrics.registry()).unwrap();
        assert_eq!(text.contains("cognito_reset_grant_confirmation_age_seconds inf"), wanted, "{text}");
        assert_eq!(text.contains("confirmation_age"), wanted, "{text}");
    };
    shows(false);
    metrics.grants.confirming(Arc::default());
    shows(true);
}

#[test]
fn each_counter_begins_with_0_for_the_labels_that_it_can_have() {
    let metrics = Metrics::default();
    let begun = Format::OpenMetrics.write(&metrics.registry()).unwrap();
    let counters = |text: &str| {
        let is_counter = |line: &&str| line.starts_with("cognito_reset_") && line.contains("_total");
        text.lines().filter(is_counter).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(counters(&begun).iter().all(|line| line.ends_with(" 0")), "{begun}");
    count(&metrics);
    let counted = Format::OpenMetrics.write(&metrics.registry()).unwrap();
    assert_eq!(counters(&counted).len(), counters(&begun).len(), "{counted}");
    for series in [
        "requests_finished_total{outcome=\"Unknown\",reason=\"OutcomeUnknown\"} 0",
        "requests_finished_total{outcome=\"Unknown\",reason=\"InternalErrorException\"} 0",
        "requests_finished_total{outcome=\"Unknown\",reason=\"CodeDeliveryFailureException\"} 0",
        "requests_finished_total{outcome=\"Failed\",reason=\"UserNotFoundException\"} 0",
        "calls_total{response=\"Accepted\"} 0",
        "aws_failures_total{step=\"role\",cause=\"AccessDenied\"} 0",
        "aws_failures_total{step=\"credentials\",cause=\"NoCredentials\"} 0",
        "aws_failures_total{step=\"endpoint\",cause=\"RegionNotServed\"} 0",
        "writes_refused_total{object=\"lease\",by=\"policy\"} 0",
        "retention_errors_total{kind=\"record\"} 0",
    ] {
        assert!(begun.lines().any(|line| line == format!("cognito_reset_{series}")), "{series}: {begun}");
    }
}
