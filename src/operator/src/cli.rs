//! Parses flags and environment variables. No decision is made here.

mod values;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use cognito_reset_api::UserStateSource;
use cognito_reset_core::watched_namespaces::WatchedNamespaces;

pub(crate) use self::values::Listen;
use self::values::{
    duration, freshness, identity, lease_duration, rate, retention, retention_rate, user_state_source,
    watched_namespaces,
};

/// Resets Amazon Cognito passwords for PasswordResetRequests, at most once each.
///
/// The cluster is found through KUBECONFIG or the pod's service account. It is reached through the
/// proxy in HTTPS_PROXY, unless NO_PROXY names it, or through the proxy-url of the kubeconfig
/// (docs/network.md).
///
/// AWS credentials, profile and endpoints are configured as for every AWS SDK.
/// AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER names an endpoint, such as an interface endpoint of a
/// VPC, for the pools of its Region. The operator does not start with an endpoint that is not an
/// https address of the service itself, nor with an endpoint together with AWS_USE_FIPS_ENDPOINT or
/// AWS_USE_DUALSTACK_ENDPOINT. AWS_CA_BUNDLE names a file of certificate authorities to trust for
/// AWS. AWS_RETRY_MODE and AWS_MAX_ATTEMPTS have no effect.
#[derive(Debug, Parser)]
#[command(name = "cognito-reset-operator", version, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM or SIGINT. If a flag is given twice, the last one counts.
    #[command(args_override_self = true)]
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions, or write them into a folder.
    Crds(CrdsArgs),
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// Arguments of `crds`.
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// The folder into which one file per resource is written; if not set, all are printed.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out_dir: Option<PathBuf>,
}

/// Arguments of `run`. Durations are written like 30s, 5m or 1h, and are at most a day if nothing
/// else is said.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The address that serves /livez, /readyz and /metrics. A port alone, such as :8080, means all
    /// IPv4 and IPv6 addresses.
    #[arg(long, env = "COGNITO_RESET_LISTEN", default_value = "127.0.0.1:8080", value_name = "[ADDRESS]:PORT")]
    pub(crate) listen: Listen,

    /// The name of this process in records and Events. In a cluster, use the name of the pod.
    #[arg(long, env = "COGNITO_RESET_IDENTITY", default_value = "cognito-reset-operator", value_name = "NAME", value_parser = identity)]
    pub(crate) identity: String,

    /// The namespaces whose requests this operator handles, separated by commas, at most 50; if not
    /// set, all namespaces of the cluster. Requests of other namespaces, and the records of such
    /// requests, are left alone. With it, the permissions on requests are needed in these
    /// namespaces only (docs/permissions.md).
    #[arg(long, env = "COGNITO_RESET_WATCH_NAMESPACES", default_value = "", hide_default_value = true, value_parser = watched_namespaces, value_name = "NAMESPACES")]
    pub(crate) watch_namespaces: WatchedNamespaces,

    /// Coordinate replicas with a Lease, so that one works at a time. Without it every
    /// replica works: no reset is made twice, but replicas repeat each other's reads.
    #[arg(long, env = "COGNITO_RESET_LEASE", default_value_t = true, action = ArgAction::Set, value_name = "BOOLEAN")]
    pub(crate) lease: bool,

    /// The namespace of the Lease; by default that of the pod, or of the kubeconfig's context.
    #[arg(long, env = "COGNITO_RESET_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,

    /// The time after which another replica replaces a leader that was killed, from 1s to 1h. A
    /// leader that cannot renew the Lease for two thirds of this time stops.
    #[arg(long, env = "COGNITO_RESET_LEASE_DURATION", default_value = "15s", value_parser = lease_duration, value_name = "DURATION")]
    pub(crate) lease_duration: Duration,

    /// The format of the log, which is written to standard error.
    #[arg(long, env = "COGNITO_RESET_LOG_FORMAT", default_value = "text", value_enum)]
    pub(crate) log_format: LogFormat,

    /// The log filter: a level, or directives such as warn,cognito_reset_operator=debug. Other
    /// crates always log only warnings and errors, because at lower levels they would log user
    /// names.
    #[arg(long, env = "COGNITO_RESET_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,

    /// The number of requests that are processed at the same time for each AWS account and Region,
    /// from 2 to 1024. If results cannot be written into records, up to half as many tasks wait
    /// until they can; while that many wait, no new calls are made.
    #[arg(long, env = "COGNITO_RESET_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=1024), value_name = "NUMBER")]
    pub(crate) concurrency: u16,

    /// Resets per second for each AWS account and Region, from 0.01 to 1000. Cognito's own limit is
    /// 30, shared with users who have forgotten their password.
    #[arg(long, env = "COGNITO_RESET_RATE", default_value_t = 10.0, value_parser = rate, value_name = "PER_SECOND")]
    pub(crate) rate: f64,

    /// The call by which users are read before a reset, for grants without a userStateSource:
    /// AdminGetUser, ListUsers or None. AdminGetUser makes each user a monthly active user. With
    /// the other two, a call without a clear response ends as Unknown.
    #[arg(long, env = "COGNITO_RESET_USER_STATE_SOURCE", default_value = "AdminGetUser", value_parser = user_state_source, value_name = "CALL")]
    pub(crate) user_state_source: UserStateSource,

    /// Timeout of one call of AdminResetUserPassword.
    #[arg(long, env = "COGNITO_RESET_CALL_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) call_timeout: Duration,

    /// Timeout of reading a user, and of loading AWS credentials.
    #[arg(long, env = "COGNITO_RESET_READ_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) read_timeout: Duration,

    /// Timeout of connecting to AWS.
    #[arg(long, env = "COGNITO_RESET_CONNECT_TIMEOUT", default_value = "3s", value_parser = duration, value_name = "DURATION")]
    pub(crate) connect_timeout: Duration,

    /// Timeout of writing a claim. After it nothing is sent for the claim.
    #[arg(long, env = "COGNITO_RESET_CLAIM_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) claim_timeout: Duration,

    /// Timeout of each call to the Kubernetes API server, except watches.
    #[arg(long, env = "COGNITO_RESET_API_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) api_timeout: Duration,

    /// Time without any response of the API server after which `/livez` returns 503, so that the
    /// kubelet restarts the operator. The restart also loads a certificate authority that was
    /// replaced.
    #[arg(long, env = "COGNITO_RESET_LIVENESS_TIMEOUT", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) liveness_timeout: Duration,

    /// Time for which grants, holds and namespace labels are used after the API server has
    /// confirmed that they are current, from 1s to 5m. After that time nothing is sent. The
    /// operator confirms them twice within it.
    #[arg(long, env = "COGNITO_RESET_GRANT_FRESHNESS", default_value = "5s", value_parser = freshness, value_name = "DURATION")]
    pub(crate) grant_freshness: Duration,

    /// Time after which the API server ends a watch, which is then started again. A watch that does
    /// not respond is dropped 5 s later.
    #[arg(long, env = "COGNITO_RESET_WATCH_TIMEOUT", default_value = "2m", value_parser = duration, value_name = "DURATION")]
    pub(crate) watch_timeout: Duration,

    /// Pause before the second attempt, if the first one is proven to have done nothing. It doubles
    /// with each attempt.
    #[arg(long, env = "COGNITO_RESET_RETRY_INITIAL", default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) retry_initial: Duration,

    /// Longest pause between two attempts.
    #[arg(long, env = "COGNITO_RESET_RETRY_MAX", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) retry_max: Duration,

    /// The number of times that a user is read after a call without a clear response, from 1 to 10.
    #[arg(long, env = "COGNITO_RESET_PROBES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10), value_name = "NUMBER")]
    pub(crate) probes: u32,

    /// Pause between the first and the second of these reads. It doubles each time.
    #[arg(long, env = "COGNITO_RESET_PROBE_PAUSE", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) probe_pause: Duration,

    /// Interval of the scans for orphaned claims, for finished requests past their
    /// ttlSecondsAfterFinished, and for records of requests that were never granted.
    #[arg(long, env = "COGNITO_RESET_SWEEP_INTERVAL", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub(crate) sweep_interval: Duration,

    /// Time for which a record is kept after its last write, by the API server's clock, from 1s to
    /// 87600h; 0 keeps records forever. A request that is applied again after that time resets
    /// again. The record of a request that was never granted is kept for 15 minutes, or until its
    /// notAfter, for a day at most.
    #[arg(long, env = "COGNITO_RESET_RECORD_RETENTION", default_value = "8760h", value_parser = retention, value_name = "DURATION")]
    pub(crate) record_retention: Duration,

    /// Interval of the scans for records whose retention has passed.
    #[arg(long, env = "COGNITO_RESET_RETENTION_SCAN_INTERVAL", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub(crate) retention_scan_interval: Duration,

    /// Maximum number of requests and records per second that are read again before their deletion,
    /// from 0.1 to 1000. The records of requests that were never granted do not count.
    #[arg(long, env = "COGNITO_RESET_RETENTION_RATE", default_value_t = 10.0, value_parser = retention_rate, value_name = "PER_SECOND")]
    pub(crate) retention_rate: f64,

    /// Interval of the checks whether the role of a grant can be assumed. A failed check is
    /// repeated after a tenth of it.
    #[arg(long, env = "COGNITO_RESET_ROLE_CHECK_INTERVAL", default_value = "10m", value_parser = duration, value_name = "DURATION")]
    pub(crate) role_check_interval: Duration,

    /// For tests: allow any endpoint for Cognito and STS, even without TLS. Otherwise the operator
    /// does not start with an endpoint that does not belong to AWS.
    #[arg(long, env = "COGNITO_RESET_ALLOW_TEST_ENDPOINTS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOLEAN")]
    pub(crate) allow_test_endpoints: bool,

    /// Time for calls in flight to finish after SIGTERM, or after the Lease is lost.
    #[arg(long, env = "COGNITO_RESET_SHUTDOWN_TIMEOUT", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub(crate) shutdown_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_for_a_year_by_default() {
        let Command::Run(args) = Cli::parse_from(["cognito-reset-operator", "run"]).command else { panic!("not run") };
        assert_eq!(args.record_retention, Duration::from_secs(365 * 24 * 3600));
    }
}
