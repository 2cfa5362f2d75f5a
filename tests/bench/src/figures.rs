//! The figures of a run.

use serde::Serialize;

use crate::{api_server::Requests, usage::Memory};

/// The figures of one run of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// The scenario's name.
    pub scenario: String,
    /// The number of resets.
    pub resets: usize,
    /// The time from the start of the operator or the first creation to the last outcome, in
    /// seconds.
    pub seconds: f64,
    /// Resets per second.
    pub rate: f64,
    /// The share of the budget that was used, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_used: Option<f64>,
    /// The operator's CPU time for each reset, in milliseconds.
    pub operator_cpu: f64,
    /// The API server's CPU time for each reset, in milliseconds.
    pub api_server_cpu: f64,
    /// The number of requests to the API server for each reset.
    pub requests_per_reset: f64,
    /// The requests to the API server by verb and resource.
    pub requests: Requests,
    /// The calls that Cognito throttled.
    pub throttled: u64,
    /// The operator's memory at the end; of two replicas, the leader's.
    pub memory: Memory,
    /// The time from the creation of a single request to its call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_call: Option<Percentiles>,
    /// The time from the creation of a single request to its outcome, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_outcome: Option<Percentiles>,
}

/// Percentiles by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Percentiles {
    /// Returns the percentiles of samples; `None` without any.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let rank = |percent: usize| samples.get((samples.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: rank(50)?, p90: rank(90)?, p99: rank(99)? })
    }
}

/// The smallest, the median and the largest figure of several runs.
pub fn spread(mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    match samples.as_slice() {
        [] => String::new(),
        [only] => format!("{only:.1}"),
        [first, .., last] => {
            let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
            format!("{first:.1} / {median:.1} / {last:.1}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples = (1..=50).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(samples), Some(Percentiles { p50: 25.0, p90: 45.0, p99: 50.0 }));
        assert_eq!(Percentiles::of(Vec::new()), None);
    }

    #[test]
    fn a_spread_shows_the_smallest_the_median_and_the_largest() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "1.0 / 2.0 / 3.0");
        assert_eq!(spread(vec![2.04]), "2.0");
    }
}
