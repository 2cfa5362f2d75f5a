use std::{collections::BTreeMap, time::Duration};

use cognito_reset_api::conditions::EndReason;
use cognito_reset_core::action::port::ReadError;

use super::*;

/// Counts each metric once. A family without any series is not in the text.
fn counted() -> String {
    let metrics = Metrics::new();
    let now = Timestamp::UNIX_EPOCH;
    metrics.finished(Outcome::Succeeded, EndReason::ResetAccepted.into());
    metrics.call(&Answer::Accepted);
    metrics.settled(Effect::Performed);
    metrics.aws_failed(AwsStep::Role, "AccessDenied");
    metrics.leadership(Leadership::Leader);
    metrics.collected(Kind::Record);
    metrics.history_error(Kind::Record);
    metrics.history_swept(Kind::Record, Some(now));
    metrics.write_refused(Target::Record, &Refuser::Permission);
    metrics.api_requests().count_one();
    metrics
        .pending()
        .put(&serde_json::from_str(r#"{"metadata":{},"spec":{"userPoolID":"p_1","username":"alice"}}"#).unwrap());
    metrics.durations().calling(Some(now), now);
    metrics.durations().finished(Outcome::Succeeded, Some(now), now);
    metrics.durations().user_read(&Err(ReadError::NoResponse), Duration::ZERO);
    metrics.text().unwrap()
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
    let page = include_str!("../../../../../docs/observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `cognito_reset_"));
    let documented: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (format!("cognito_reset_{}", cells[0].trim_end_matches('`')), format!("{} | {}", cells[1], cells[2]))
        })
        .collect();
    assert_eq!(described(&counted()), documented, "left: the code; right: docs/observability.md");
}
