use std::time::Duration;

use cognito_reset_core::action::response::ResetResponse;
use http::HeaderValue;

use super::*;
use crate::metrics::Metrics;

fn negotiated(accepts: &[&str]) -> Format {
    let mut headers = HeaderMap::new();
    for accept in accepts {
        headers.append(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
    }
    Format::negotiate(&headers)
}

#[test]
fn the_preferred_format_follows_from_accept() {
    use Format::{OpenMetrics, Text};
    let of_prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, wanted) in [
        ("", Text),
        ("*/*", Text),
        ("text/html, */*;q=0.1", Text),
        ("application/json", Text),
        ("text/*", Text),
        ("application/*", OpenMetrics),
        (of_prometheus, OpenMetrics),
        ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.4", Text),
        ("application/openmetrics-text", OpenMetrics),
        ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", OpenMetrics),
        ("application/openmetrics-text;version=0.0.1", Text),
        ("application/openmetrics-text;version=2.0.0", Text),
        ("text/plain, application/openmetrics-text", Text),
        ("application/openmetrics-text, */*", OpenMetrics),
        ("application/openmetrics-text;q=0.9, */*", Text),
        ("application/openmetrics-text;q=0.9, text/plain;q=0.8, */*", OpenMetrics),
        ("application/openmetrics-text;q=0, */*", Text),
        ("text/plain;q=0, */*;q=0.1", OpenMetrics),
        ("text/plain;q=0, application/openmetrics-text;q=0.001", OpenMetrics),
        ("application/openmetrics-text;q=0.500, text/plain;q=0.499", OpenMetrics),
        // A quality that is not valid makes the range not valid.
        ("application/openmetrics-text;q=2, text/plain;q=0.1", Text),
        ("application/openmetrics-text;q=0.5001", Text),
        ("application/openmetrics-text;q=-1", Text),
        ("application/openmetrics-text;q=", Text),
        ("openmetrics", Text),
        (",;,=,", Text),
    ] {
        assert_eq!(negotiated(&[accept]), wanted, "{accept}");
    }
    assert_eq!(negotiated(&[]), Text);
    assert_eq!(negotiated(&["text/plain;q=0.1", "application/openmetrics-text;q=0.2"]), OpenMetrics);
    assert_eq!(negotiated(&["text/plain;q=0.2", "application/openmetrics-text;q=0.1"]), Text);
}

#[test]
fn both_formats_have_the_same_series() {
    let metrics = Metrics::default();
    metrics.process.invalid_object();
    metrics.requests.durations().called(&ResetResponse::Accepted, Duration::from_millis(200));
    let registry = metrics.registry();
    let written = [Format::OpenMetrics, Format::Text].map(|format| format.write(&registry).unwrap());
    // The order of series and labels means nothing. OpenMetrics writes whole values and bounds of
    // buckets as 1.0, and the text format as 1; Prometheus stores both as 1.0.
    let series = written.each_ref().map(|text| {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
        let mut series: Vec<_> = samples
            .map(|line| {
                let line = line.replace(".0\"", "\"");
                let mut parts: Vec<_> = line.trim_end_matches(".0").split(['{', ',', '}']).map(str::to_owned).collect();
                parts.sort();
                parts
            })
            .collect();
        series.sort();
        series
    });
    assert_eq!(series[0], series[1]);
    assert!(series[0].contains(&vec!["cognito_reset_invalid_objects_total 1".to_owned()]), "{series:?}");
    let [open_metrics, text] = &written;
    for (name, is_in_open_metrics, is_in_text) in [
        ("# TYPE cognito_reset_invalid_objects counter", true, false),
        ("# TYPE cognito_reset_invalid_objects_total counter", false, true),
        ("# UNIT cognito_reset_request_creation_to_call_seconds seconds", true, false),
        ("# EOF", true, false),
    ] {
        let has = |text: &str| text.lines().any(|line| line == name);
        assert_eq!((has(open_metrics), has(text)), (is_in_open_metrics, is_in_text), "{name}");
    }
    assert!(!text.contains("_total_total") && !open_metrics.contains("_total_total"), "{text}");
}
