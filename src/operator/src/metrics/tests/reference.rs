//! Generates docs/metrics.md from the registry, and checks that it is up to date.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

use super::*;

/// The variable with which `make generate` has the page written.
const UPDATE: &str = "UPDATE_METRICS_REFERENCE";

const HEAD: &str = "# Metrics reference

<!-- Generated from the code by `make generate`. Do not edit. -->

This page lists every metric that `/metrics` shows, for people who write queries.
[observability.md](observability.md) describes the formats, and [alerts.md](alerts.md) the alerts
and the dashboard. No label contains the name of a user, a pool or an object.

| metric | type | labels | unit | meaning |
|---|---|---|---|---|
";

/// A metric as the text of all metrics describes it.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) type_: String,
    pub(super) labels: Vec<String>,
    unit: String,
    help: String,
}

/// Returns the metrics of a text in OpenMetrics, by the names that queries use.
pub(super) fn described(text: &str) -> BTreeMap<String, Described> {
    let mut metrics = BTreeMap::new();
    for (name, type_) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let (suffix, series) = match type_ {
            "counter" => ("_total", "_total"),
            "histogram" => ("", "_count"),
            _ => ("", ""),
        };
        let of = |keyword: &str| {
            let prefix = format!("# {keyword} {name} ");
            text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
        };
        let prefix = format!("{name}{series}");
        let is_sample = |rest: &str| rest.starts_with(['{', ' ']);
        let sample = text.lines().find_map(|line| line.strip_prefix(&prefix).filter(|rest| is_sample(rest)));
        let sample = sample.unwrap_or_else(|| panic!("{name} has no series in this test"));
        let labels = sample.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
        let unit = if of("UNIT").is_empty() && name.ends_with("_seconds") { "seconds".into() } else { of("UNIT") };
        let help = of("HELP").trim_end_matches('.').to_owned();
        let described = Described { type_: type_.to_owned(), labels, unit, help };
        metrics.insert(format!("{name}{suffix}"), described);
    }
    metrics
}

fn page(metrics: &BTreeMap<String, Described>) -> String {
    let mut page = HEAD.to_owned();
    for (name, Described { type_, labels, unit, help }) in metrics {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{name}` | {type_} | {} | {unit} | {help} |", labels.join(", ")).unwrap();
    }
    page
}

#[test]
fn the_reference_of_metrics_is_what_the_registry_has() {
    let described = described(&counted());
    let registered = format!("{:?}", Metrics::default().registry()).matches("Descriptor {").count();
    // Those of the pending requests, the age of confirmations and the process are collected when
    // the metrics are read, and are not in the registry.
    assert_eq!(described.len(), registered + 2 + 1 + 2, "a metric that is registered is not counted in this test");
    for (name, Described { help, .. }) in &described {
        assert!(help.len() > 10 && !help.contains(['|', '\n', '<']), "the help of {name}: {help}");
    }
    let page = page(&described);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "docs/metrics.md is not up to date: run 'make generate' and commit the result");
}
