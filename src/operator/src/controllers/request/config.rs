//! The configuration of the controller of requests.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{
    dispatch::{
        lane::{LaneLimits, Limits, QuotaCategory},
        pace::Rate,
    },
    ledger::{Backoff, Waits},
    machine::{Settings, signed},
    watched_namespaces::WatchedNamespaces,
};
use jiff::SignedDuration;
use kube::runtime::watcher;

use crate::{cli::RunArgs, kube::watch};

/// The margin between the longest call and the moment when an open claim of another process is
/// resolved.
const IN_FLIGHT_MARGIN: Duration = Duration::from_secs(5);
/// The shortest wait that is written into a status.
const SHOWN_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// The number of times that a reconcile reads request and record because a write met a change.
const MOST_READS: u32 = 10;
/// The number of initial retry pauses that a wait for AWS has to last before an Event reports it.
const LASTING: u32 = 4;

/// The maximum number of looks per second at requests that need no call: two reads each.
const LOOKS_PER_SECOND: f64 = 100.0;
/// The number of accounts and Regions that can be at the limit of concurrency at the same time.
const LANES_AT_FULL_CONCURRENCY: usize = 4;
/// The time for which a request waits for its turn before its status says so.
const SHOWN_AFTER: Duration = Duration::from_secs(5);

/// The configuration of the controller of requests.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The settings of each reconcile.
    pub(crate) machine: Arc<Settings>,
    /// The configuration of the watch.
    pub(crate) watch: watcher::Config,
    /// The namespaces whose requests are handled.
    pub(crate) watched: WatchedNamespaces,
    /// The timeout of each call to the API server.
    pub(crate) api_timeout: Duration,
    /// The limits of turns.
    pub(crate) limits: Limits,
    /// The time after which an Event reports a wait for AWS.
    pub(crate) patience: Duration,
    /// The number of requests whose effects cannot be stored from which on no request is claimed.
    pub(crate) most_held_up: usize,
}

impl From<&RunArgs> for Config {
    fn from(args: &RunArgs) -> Self {
        let machine = Settings {
            operator_instance: args.identity.clone(),
            claim_timeout: args.claim_timeout,
            waits: Waits {
                backoff: Backoff { initial: signed(args.retry_initial), max: signed(args.retry_max) },
                in_flight: signed(args.claim_timeout + args.call_timeout + IN_FLIGHT_MARGIN),
            },
            probes: args.probes,
            probe_pause: args.probe_pause,
            shown_wait: SHOWN_WAIT,
            most_reads: MOST_READS,
        };
        Self {
            machine: Arc::new(machine),
            watch: watch::config(args.watch_timeout),
            watched: args.watch_namespaces.clone(),
            api_timeout: args.api_timeout,
            limits: limits(args.rate, args.concurrency.into()),
            patience: args.retry_initial * LASTING,
            most_held_up: most_held_up(args.concurrency),
        }
    }
}

/// Returns the limits of turns at this rate of resets, with this number of concurrent reconciles
/// for each account and Region, and as many for requests that need no call.
fn limits(rate: f64, concurrency: usize) -> Limits {
    Limits {
        api: LaneLimits { budget: Rate::per_second(LOOKS_PER_SECOND), slots: concurrency },
        budgets: vec![(QuotaCategory::UserAccountRecovery, Rate::per_second(rate))],
        slots: concurrency,
        slots_of_all: concurrency.saturating_mul(LANES_AT_FULL_CONCURRENCY),
        shown_after: Some(SHOWN_AFTER),
    }
}

/// Returns the number of effects that may be held up for this number of concurrent reconciles,
/// which is 2 or more. It is at most half of them, so that at least one is left for all other
/// requests.
const fn most_held_up(concurrency: u16) -> usize {
    (concurrency / 2) as usize
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Config;
    use crate::cli::{Cli, Command};

    #[test]
    fn at_least_one_reconcile_is_never_held_up() {
        let taken = |number: u16| {
            let arguments = ["cognito-reset-operator".to_owned(), "run".into(), format!("--concurrency={number}")];
            match Cli::try_parse_from(arguments).ok()?.command {
                Command::Run(args) => Some(Config::from(&*args)),
                Command::Crds(_) => None,
            }
        };
        let taken: Vec<_> = (0..=1025).filter_map(taken).collect();
        let concurrency = |config: Option<&Config>| config.map(|config| config.limits.slots);
        assert_eq!((concurrency(taken.first()), concurrency(taken.last())), (Some(2), Some(1024)));
        for Config { limits, most_held_up, .. } in taken {
            assert!((1..limits.slots).contains(&most_held_up), "{limits:?}");
        }
    }
}
