//! Runs the operator under a load while a real Prometheus scrapes it, has Prometheus evaluate the
//! alerts and every expression of the dashboard, and draws the panels.
//!
//! Two replicas are scraped, one in each text format. The load has requests that succeed, fail,
//! wait and end as Unknown, while Cognito throttles and the API server fails, so that no panel is
//! empty.
#![forbid(unsafe_code)]

mod dashboard;
mod load;
mod picture;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use testbed::{
    Operator, Prometheus, Target,
    environment::{Environment, LIMIT, root},
    eventually,
};

use crate::{dashboard::Dashboard, picture::Drawn};

const JOB: &str = "cognito-reset-operator";
const NAMESPACE: &str = "cognito-reset-system";
/// The time for which the Lease is valid, so that the standby takes over soon.
const LEASE: &str = "3s";
/// The alert that fires because one request of the load ends as Unknown.
const FIRING: &str = "CognitoResetOutcomeUnknown";

#[derive(Parser)]
#[command(name = "monitoring", max_term_width = 100)]
struct Cli {
    /// The program prometheus.
    #[arg(long, value_name = "PATH")]
    prometheus: PathBuf,
    /// The file for a picture of the panels, as SVG.
    #[arg(long, value_name = "PATH")]
    picture: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nmonitoring: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<()> {
    let dashboard = Dashboard::read(Path::new(&root("deploy/monitoring/dashboard.json")))?;
    let env = Environment::start().await?;
    let leader = env.run_with(env.replica("replica-1", Some(LEASE))).await?;
    let standby = env.run_with(env.replica("replica-2", Some(LEASE))).await?;
    let targets =
        [target("replica-1", &leader, "OpenMetricsText1.0.0")?, target("replica-2", &standby, "PrometheusText0.0.4")?];
    let rules = root("deploy/monitoring/rules.yaml");
    let prometheus = Prometheus::start(&cli.prometheus, Path::new(&rules), JOB, NAMESPACE, &targets).await?;
    both_are_scraped(&prometheus).await?;
    let started = now()?;
    load::run(&env).await?;
    formats_agree(&prometheus).await?;
    // The standby takes over, as the panel of the leader shows.
    leader.sigterm()?;
    eventually(LIMIT, "the standby to lead", async || {
        let leads = "cognito_reset_leadership{instance=\"replica-2\", state=\"leader\"} == 1";
        ensure!(!prometheus.query(leads).await?.is_empty(), "it does not lead yet");
        load::unfinished(&env).await
    })
    .await?;
    alerts_are_evaluated(&prometheus, &rules).await?;
    let drawn = panels(&prometheus, &dashboard, started, now()?).await?;
    if let Some(path) = &cli.picture {
        picture::write(path, &drawn, started)?;
        println!("monitoring: wrote {}", path.display());
    }
    Ok(())
}

fn target(instance: &str, operator: &Operator, format: &'static str) -> Result<Target> {
    let address = operator.url().strip_prefix("http://").context("the operator has no address")?;
    Ok(Target { instance: instance.to_owned(), address: address.to_owned(), format })
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

async fn both_are_scraped(prometheus: &Prometheus) -> Result<()> {
    eventually(LIMIT, "both replicas to be scraped", async || {
        let scraped = prometheus.query("up == 1 and on (instance) cognito_reset_leadership").await?;
        ensure!(scraped.len() == 2, "{scraped:?}");
        anyhow::Ok(())
    })
    .await
}

/// Checks that both text formats have the same counters, with the same labels and types.
async fn formats_agree(prometheus: &Prometheus) -> Result<()> {
    let mut sets = Vec::new();
    for instance in ["replica-1", "replica-2"] {
        let selector = format!("{{__name__=~\"cognito_reset_.+_total|process_.+\", instance=\"{instance}\"}}");
        let found = prometheus.query(&selector).await?;
        let labels = found.into_iter().map(|series| {
            let mut labels = series.labels;
            labels["instance"].take();
            labels.to_string()
        });
        sets.push(labels.collect::<BTreeSet<_>>());
    }
    let differing: Vec<_> = sets[0].symmetric_difference(&sets[1]).collect();
    ensure!(differing.is_empty() && sets[0].len() > 100, "of {} series these differ: {differing:?}", sets[0].len());
    println!("monitoring: both text formats have the same {} counters and measures of the process", sets[0].len());
    Ok(())
}

/// Checks that Prometheus evaluates each alert, that each selector of an alert has selected data,
/// and that the alert fires whose cause the load contains.
async fn alerts_are_evaluated(prometheus: &Prometheus, rules: &str) -> Result<()> {
    let alerts = eventually(LIMIT, "all alerts to be evaluated", async || {
        let alerts = prometheus.alerts().await?;
        for alert in &alerts {
            ensure!(alert["health"] == "ok", "{alert}");
        }
        let firing = alerts.iter().any(|alert| alert["name"] == FIRING && alert["state"] == "firing");
        ensure!(firing, "{FIRING} does not fire: {alerts:?}");
        anyhow::Ok(alerts)
    })
    .await?;
    let text = std::fs::read_to_string(rules)?;
    ensure!(!alerts.is_empty() && alerts.len() == text.matches("- alert:").count(), "not all alerts are loaded");
    let mut selectors = BTreeSet::new();
    for alert in &alerts {
        let expression = alert["query"].as_str().context("an alert without an expression")?;
        prometheus.query(expression).await?;
        selectors.extend(dashboard::selectors(expression));
    }
    for selector in &selectors {
        let selected = prometheus.query(&format!("max_over_time({selector}[5m])")).await?;
        ensure!(!selected.is_empty(), "nothing was selected by {selector}, which an alert uses");
    }
    println!("monitoring: {} alerts evaluated, whose {} selectors all have data", alerts.len(), selectors.len());
    Ok(())
}

/// Evaluates the expressions of all panels. A panel without data is an error.
async fn panels(prometheus: &Prometheus, dashboard: &Dashboard, start: f64, end: f64) -> Result<Vec<Drawn>> {
    let mut drawn = Vec::new();
    for panel in &dashboard.panels {
        let mut lines = Vec::new();
        for target in &panel.targets {
            let found = prometheus.query_range(&target.expression()?, start, end).await?;
            ensure!(!found.is_empty(), "the panel {:?} has no data for {}", panel.title, target.expr);
            lines.extend(found.into_iter().map(|series| (target.legend(&series.labels), series.points)));
        }
        drawn.push(Drawn { panel: panel.clone(), lines });
    }
    let expressions: usize = dashboard.panels.iter().map(|panel| panel.targets.len()).sum();
    let seconds = Duration::from_secs_f64(end - start).as_secs();
    println!("monitoring: {} panels with {expressions} expressions, all with data over {seconds} s", drawn.len());
    Ok(drawn)
}
