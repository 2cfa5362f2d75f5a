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
    /// The share of the budget that was used between the first call and the last one, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_used: Option<f64>,
    /// The operator's CPU time for each reset, in milliseconds.
    pub operator_cpu: f64,
    /// The API server's CPU time for each reset, in milliseconds.
    pub api_server_cpu: f64,
    /// The requests to the API server for each reset.
    pub per_reset: PerReset,
    /// All requests to the API server by verb and resource.
    pub requests: Requests,
    /// The calls that Cognito throttled.
    pub throttled: u64,
    /// The accepted resets per second, from the first one to the last one.
    pub pace: f64,
    /// The longest time between two resets, in seconds.
    pub longest_pause: f64,
    /// The operator's memory at the end; of two replicas, the leader's.
    pub memory: Memory,
    /// The time from the creation of a single request to its call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_call: Option<Percentiles>,
    /// The time from the creation of a single request to its outcome, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_outcome: Option<Percentiles>,
}

/// The requests to the API server for each reset. Lists are left out, because their number depends
/// on the time and not on the resets: those that confirm grants and holds, and scans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PerReset {
    /// Reads of a request or a record.
    pub reads: f64,
    /// Writes of a request, a record or their status.
    pub writes: f64,
    /// Writes of Events.
    pub events: f64,
}

impl PerReset {
    /// Divides the requests by the number of resets.
    pub fn of(requests: &Requests, resets: usize) -> Self {
        let count = |is_counted: fn(&str, &str) -> bool| {
            let counted = requests.iter().filter(|(key, _)| key.split_once(' ').is_some_and(|(v, r)| is_counted(v, r)));
            #[expect(clippy::cast_precision_loss, reason = "numbers of requests")]
            let of_each = counted.map(|(_, count)| *count).sum::<u64>() as f64 / resets.max(1) as f64;
            of_each
        };
        Self {
            reads: count(|verb, resource| is_of_a_reset(resource) && verb == "GET"),
            writes: count(|verb, resource| is_of_a_reset(resource) && !matches!(verb, "GET" | "LIST")),
            events: count(|_, resource| resource == "events"),
        }
    }

    /// Returns the sum.
    pub fn sum(self) -> f64 {
        self.reads + self.writes + self.events
    }
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

/// Returns true for requests and records, and their status.
fn is_of_a_reset(resource: &str) -> bool {
    resource.starts_with("passwordresetrequests") || resource.starts_with("passwordresetrecords")
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
    fn requests_are_divided_by_the_number_of_resets() {
        let requests = [
            ("GET passwordresetrequests", 4),
            ("GET passwordresetrecords", 2),
            ("LIST passwordresetrequests", 9),
            ("LIST userpoolgrants", 9),
            ("POST passwordresetrecords", 2),
            ("PUT passwordresetrecords", 2),
            ("APPLY passwordresetrequests/status", 1),
            ("POST events", 3),
        ];
        let requests = requests.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
        let each = PerReset::of(&requests, 2);
        assert_eq!((each.reads, each.writes, each.events, each.sum()), (3.0, 2.5, 1.5, 7.0));
    }

    #[test]
    fn a_spread_shows_the_smallest_the_median_and_the_largest() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "1.0 / 2.0 / 3.0");
        assert_eq!(spread(vec![2.04]), "2.0");
    }
}
