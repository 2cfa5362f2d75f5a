//! The time that resets take at the operator's budget. Pure.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::ResourceExt as _;

use super::terms::Terms;

/// The resets a second of an operator without `--rate`, for each account and Region.
const DEFAULT_RATE: f64 = 10.0;
const FLAG: &str = "--rate";
const VARIABLE: &str = "COGNITO_RESET_RATE";

/// The budget of the operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// The resets a second for each account and Region.
    pub per_second: f64,
    /// The source of the number.
    pub source: String,
}

impl Budget {
    /// Returns the default of the operator, with the cause for which its own setting is not known.
    #[must_use]
    pub fn default_because(cause: &str) -> Self {
        Self { per_second: DEFAULT_RATE, source: format!("the default of the operator: {cause}") }
    }

    /// Reads the budget from the Deployments that bear the label of the operator.
    #[must_use]
    pub fn of(deployments: &[Deployment]) -> Self {
        let [deployment] = deployments else {
            return Self::default_because(&match deployments.len() {
                0 => "no Deployment has its label".to_owned(),
                count => format!("{count} Deployments have its label"),
            });
        };
        let name = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
        let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let containers = spec.map_or(&[][..], |spec| &spec.containers);
        match containers.iter().find_map(rate) {
            None => Self::default_because(&format!("its Deployment {name} sets no {FLAG}")),
            Some(text) => match text.parse() {
                Ok(per_second) if (0.01..=1000.0).contains(&per_second) => {
                    Self { per_second, source: format!("{FLAG} of the operator's Deployment {name}") }
                }
                _ => Self::default_because(&format!("{FLAG} of its Deployment {name} is no number that it accepts")),
            },
        }
    }

    /// Returns the time for requests under these terms, if nothing else uses the budget.
    #[must_use]
    pub fn time(&self, requests: usize, terms: &Terms) -> Duration {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let by_grants =
            terms.limits.values().map(|(count, per_minute)| number(*count) * 60.0 / f64::from((*per_minute).max(1)));
        let seconds = by_grants.fold(number(requests) / self.per_second, f64::max);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Returns the rate that a container sets. A flag comes before a variable.
fn rate(container: &Container) -> Option<String> {
    let args = container.args.as_deref().unwrap_or_default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix(FLAG) {
            Some("") => return words.next().cloned(),
            Some(rest) if rest.starts_with('=') => return Some(rest.trim_start_matches('=').to_owned()),
            _ => {}
        }
    }
    let variable = container.env.iter().flatten().find(|variable| variable.name == VARIABLE);
    variable.and_then(|variable| variable.value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(container: &serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"namespace": "system", "name": "operator"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "sidecar"}, container]}}},
        }))
        .unwrap()
    }

    #[test]
    fn the_rate_is_that_of_the_deployment() {
        for (container, rate, source) in [
            (json!({"args": ["run", "--rate=2.5"]}), 2.5, "--rate of the operator's Deployment system/operator"),
            (json!({"args": ["--rate", "20"]}), 20.0, "--rate of the operator's Deployment system/operator"),
            (
                json!({"args": ["run"], "env": [{"name": "COGNITO_RESET_RATE", "value": "3"}]}),
                3.0,
                "--rate of the operator's Deployment system/operator",
            ),
            (
                json!({"args": ["--rate-of-others=2"]}),
                10.0,
                "the default of the operator: its Deployment system/operator sets no --rate",
            ),
            (
                json!({"args": ["--rate=$(RATE)"]}),
                10.0,
                "the default of the operator: --rate of its Deployment system/operator is no number that it accepts",
            ),
        ] {
            let mut container = container;
            container["name"] = "operator".into();
            let budget = Budget::of(&[deployment(&container)]);
            assert_eq!(budget, Budget { per_second: rate, source: source.to_owned() });
        }
        assert_eq!(Budget::of(&[]).source, "the default of the operator: no Deployment has its label");
    }

    #[test]
    fn the_default_is_that_of_the_operator() {
        let flags = include_str!("../../../../docs/reference/flags.md");
        let (_, about) = flags.split_once("### `--rate`").expect("the flag");
        let usage = about.trim_start().lines().next().unwrap_or_default();
        assert!(usage.ends_with(&format!("Default: `{DEFAULT_RATE}`.")), "{usage}");
    }

    #[test]
    fn the_slowest_limit_decides_about_the_time() {
        let budget = Budget { per_second: 10.0, source: String::new() };
        let terms = |limits: &[(&str, usize, u32)]| Terms {
            limits: limits.iter().map(|&(grant, count, limit)| (grant.into(), (count, limit))).collect(),
            ..Terms::default()
        };
        for (terms, seconds) in
            [(terms(&[]), 10), (terms(&[("a", 100, 1800)]), 10), (terms(&[("a", 50, 60), ("b", 50, 30)]), 100)]
        {
            assert_eq!(budget.time(100, &terms), Duration::from_secs(seconds), "{terms:?}");
        }
    }
}
