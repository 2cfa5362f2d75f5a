//! A Prometheus server that scrapes operators, evaluates rules and responds to queries.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    http_client::HttpClient,
    port::Port,
    process::{Process, server},
};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A process to scrape.
#[derive(Clone, Debug)]
pub struct Target {
    /// The value of the label `instance`.
    pub instance: String,
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// The format that Prometheus asks for, as the configuration of Prometheus names it.
    pub format: &'static str,
}

/// A running Prometheus. It ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    _port: Port,
    url: String,
    client: HttpClient,
    _directory: TempDir,
}

/// A time series of a response: its labels, and its values by time.
#[derive(Clone, Debug)]
pub struct Series {
    /// The labels.
    pub labels: Value,
    /// The times in seconds since 1970, and the values.
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts the program, which scrapes the targets and evaluates the rules each second.
    ///
    /// # Errors
    /// When it does not get ready, with the end of its log.
    pub async fn start(program: &Path, rules: &Path, job: &str, namespace: &str, targets: &[Target]) -> Result<Self> {
        let configuration = configuration(rules, job, namespace, targets)?;
        let directory = tempfile::Builder::new().prefix("prometheus-").tempdir().context("no temporary directory")?;
        let file = |name: &str| -> PathBuf { directory.path().join(name) };
        std::fs::write(file("prometheus.yml"), configuration.to_string())?;
        let port = Port::reserve()?;
        let mut command = server(program, directory.path());
        command
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={port}"))
            .arg("--log.level=warn");
        let mut process = Process::spawn("prometheus", &mut command, &file("prometheus.log"), Some(directory.path()))?;
        let (url, client) = (port.url(), HttpClient::new(None)?);
        let ready = format!("{url}/-/ready");
        process.ready(START_LIMIT, async || client.is_ok(&ready, None).await).await?;
        Ok(Self { process, _port: port, url, client, _directory: directory })
    }

    /// Evaluates an expression at this moment.
    ///
    /// # Errors
    /// When Prometheus reports an error or a warning; so for all methods here.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        let response = self.post("query", &[("query", expression)]).await?;
        series(&response, "value").with_context(|| format!("no series for {expression}"))
    }

    /// Evaluates an expression for each second of a period, given in seconds since 1970.
    pub async fn query_range(&self, expression: &str, start: f64, end: f64) -> Result<Vec<Series>> {
        let (start, end) = (start.to_string(), end.to_string());
        let parameters = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        let response = self.post("query_range", &parameters).await?;
        series(&response, "values").with_context(|| format!("no series for {expression}"))
    }

    /// Returns all alerts with their state and the result of their last evaluation.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let response = self.post("rules", &[]).await?;
        let groups = response["groups"].as_array().context("no groups of rules")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let request = if parameters.is_empty() {
            Request::get(url).body(Full::default())?
        } else {
            let form: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
            let type_ = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            Request::post(url).header(type_.0, type_.1).body(Full::new(Bytes::from(form.join("&"))))?
        };
        let response = self.client.exchange(request).await?;
        let mut body: Value = serde_json::from_slice(response.body()).with_context(|| self.process.logs())?;
        ensure!(body["status"] == "success" && body.get("warnings").is_none(), "{path} {parameters:?}: {body}");
        Ok(body["data"].take())
    }
}

/// Returns the configuration. YAML contains JSON.
fn configuration(rules: &Path, job: &str, namespace: &str, targets: &[Target]) -> Result<Value> {
    let jobs = targets.iter().map(|Target { instance, address, format }| {
        let labels = json!({ "job": job, "namespace": namespace, "instance": instance });
        json!({
            "job_name": instance, "scrape_protocols": [format],
            "static_configs": [{ "targets": [address], "labels": labels }],
        })
    });
    Ok(json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "rule_files": [rules.canonicalize().with_context(|| format!("no rules at {}", rules.display()))?],
        "scrape_configs": jobs.collect::<Vec<_>>(),
    }))
}

/// Parses the series of a response. A response that is one number has no labels.
fn series(data: &Value, key: &str) -> Result<Vec<Series>> {
    let result = data["result"].as_array().context("no result")?;
    let parse = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
    result
        .iter()
        .map(|one| {
            let points = if key == "values" { one[key].as_array().cloned() } else { Some(vec![one[key].clone()]) };
            let points = points.iter().flatten().map(parse).collect::<Option<_>>();
            Ok(Series { labels: one["metric"].clone(), points: points.with_context(|| one.to_string())? })
        })
        .collect()
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}
