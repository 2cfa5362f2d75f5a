//! A user's name stays in the resources: it is in no log line at any level, no metric, no event, no status and no error,
//! whatever happens to the request, and whoever repeats the name in an answer.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use anyhow::{Result, ensure};
use cognito_reset_operator::cognito::outcome::Exception;
use common::{Bench, LIMIT};
use http::Method;
use serde_json::{Value, json};
use testbed::{Fault, Matcher, Operator, Reply, Rule, eventually};

/// In every user name and value of client metadata, and in nothing else that the test asks for.
const MARK: &str = "zq-marked";

/// An answer of Cognito or STS that repeats the name wherever it can.
fn quoting(status: u16, code: &str) -> Fault {
    let text = format!("user {MARK} said {MARK}");
    let body = json!({ "__type": code, "message": text, "Message": text }).to_string();
    let reply = Reply::new(status, body).header("content-type", "application/x-amz-json-1.1");
    Fault::Respond(reply.header("x-amzn-errortype", code).header("x-amzn-errormessage", &text))
}

/// A refusal of the API server that repeats the name, as it does for values that it does not like.
fn refusal(status: u16, reason: &str) -> Fault {
    let text = format!("Invalid value: \"{MARK}\": {MARK} is not wanted");
    let causes = json!([{ "field": "spec.username", "reason": "FieldValueInvalid", "message": text }]);
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text, "reason": reason,
        "code": status, "details": { "causes": causes },
    });
    Fault::Respond(Reply::new(status, body.to_string()).header("content-type", "application/json"))
}

/// Waits until a rule was met this often.
async fn met(rule: &Rule, times: usize) -> Result<()> {
    eventually(LIMIT, "what is refused to be asked for", async || {
        ensure!(rule.hits() >= times, "{} of {times}", rule.hits());
        anyhow::Ok(())
    })
    .await
}

struct Marked {
    bench: Bench,
    logs: Vec<String>,
    metrics: Vec<String>,
}

impl Marked {
    async fn run(&self) -> Result<Operator> {
        self.bench.run_with(self.bench.operator().args(["--log=trace"])).await
    }

    async fn ask(&self, name: &str, spec: &str) -> Result<()> {
        let username = format!("{MARK}-{name}");
        self.bench.users.create_user(&self.bench.pool, &username).await?;
        let metadata = format!("clientMetadata: {{key: {MARK}-value}}\n{spec}");
        self.bench.apply(&self.bench.request(name, &username, &metadata)).await?;
        Ok(())
    }

    /// Asks, and waits for what is expected.
    async fn becomes(&self, name: &str, spec: &str, wanted: &str) -> Result<()> {
        self.ask(name, spec).await?;
        self.bench.becomes(name, wanted).await
    }

    async fn keep(&mut self, operator: &Operator) -> Result<()> {
        let (_, metrics) = operator.page("/metrics").await?;
        self.metrics.push(metrics);
        self.logs.push(operator.logs());
        Ok(())
    }

    /// What Cognito and AWS answer.
    async fn answers(&self) -> Result<()> {
        let Bench { cognito, .. } = &self.bench;
        self.becomes("accepted", "", "Succeeded/ResetAccepted").await?;
        for exception in Exception::ALL {
            let name = format!("answer-{}", exception.code().to_lowercase());
            let rule = cognito.once(Matcher::reset_of(&format!("{MARK}-{name}")), quoting(400, exception.code()));
            self.ask(&name, "").await?;
            self.bench.ended(&name).await?;
            ensure!(rule.hits() == 1, "{name}");
        }
        for (name, fault) in [
            ("brand-new", quoting(400, "BrandNewException")),
            ("lost", Fault::LoseBefore),
            ("garbage", Fault::Garbage(format!("{MARK} {MARK}").into())),
            ("foreign", Fault::Respond(Reply::new(200, format!("<html>{MARK}</html>")))),
            ("redirected", Fault::Respond(Reply::new(302, MARK).header("location", &format!("http://{MARK}.example")))),
        ] {
            cognito.once(Matcher::reset_of(&format!("{MARK}-{name}")), fault);
            self.ask(name, "").await?;
            self.bench.ended(name).await?;
        }
        let unreadable = cognito.always(Matcher::operation("AdminGetUser"), quoting(400, "AccessDeniedException"));
        self.ask("unread", "ifResetRequired: Skip").await?;
        met(&unreadable, 2).await?;
        unreadable.remove();
        self.bench.ended("unread").await?;
        Ok(())
    }

    /// What keeps a request waiting, or ends it without a call.
    async fn gates(&self) -> Result<()> {
        self.becomes("suspended", "suspend: true", "Pending/Suspended").await?;
        self.becomes("expired", "expirationTime: \"2020-01-01T00:00:00Z\"", "Failed/Expired").await?;
        self.becomes("late", "suspend: true\ndeadlineSeconds: 1", "Failed/DeadlineExceeded").await?;
        self.bench.kubectl(&["delete", "upg", "everyone"]).await?;
        self.bench.grant("others", "namespaces: [default]\nusernamePattern: \"other-.*\"").await?;
        self.becomes("no-pattern", "", "Pending/UserPoolNotGranted").await?;
        self.bench.grant("by-two", "namespaces: [default]\nrequireApproval: true").await?;
        self.becomes("by-one", "", "Pending/ApprovalNotProven").await?;
        // The suspended one is the oldest, and the only one that may go on.
        self.bench.grant("one-by-one", "namespaces: [default]\nmaxPendingPerNamespace: 1").await?;
        self.bench.becomes("by-one", "Pending/PendingLimitReached").await?;
        self.bench.kubectl(&["delete", "upg", "by-two", "one-by-one"]).await?;
        let sts = Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
        let rule = self.bench.cognito.always(sts, quoting(403, "AccessDenied"));
        self.bench.grant("by-role", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/reset").await?;
        self.ask("no-role", "").await?;
        met(&rule, 2).await?;
        rule.remove();
        self.bench.kubectl(&["delete", "upg", "by-role", "others"]).await?;
        self.bench.grant("everyone", "namespaces: [\"*\"]").await?;
        for name in ["no-pattern", "by-one", "no-role"] {
            self.bench.ended(name).await?;
        }
        self.bench.kubectl(&["delete", "prr", "accepted"]).await?;
        self.bench.apply(&self.bench.request("accepted", &format!("{MARK}-accepted"), "")).await?;
        self.bench.becomes("accepted", "Succeeded/AlreadyPerformed").await
    }

    /// What the API server answers.
    async fn refusals(&self) -> Result<()> {
        let places = [
            (Method::POST, "/passwordresetrecords"),
            (Method::PUT, "/passwordresetrecords/"),
            (Method::PUT, "/status"),
            (Method::GET, "/passwordresetrequests/"),
            (Method::GET, "/passwordresetrecords/"),
            (Method::GET, "/passwordresetrecords?"),
            (Method::POST, "/events"),
        ];
        for (index, (method, path)) in places.into_iter().enumerate() {
            for (status, reason) in [(422, "Invalid"), (500, "InternalError")] {
                let rule = self.bench.api.once(Matcher::path(method.clone(), path), refusal(status, reason));
                let name = format!("refused-{index}-{status}");
                self.ask(&name, "").await?;
                self.bench.ended(&name).await?;
                met(&rule, 1).await?;
            }
        }
        Ok(())
    }

    /// What cannot be read: a record with a name where a list of attempts belongs.
    async fn unreadable(&self) -> Result<()> {
        let broken = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": "r1-broken" },
            "schema": 1, "attempts": MARK, "username": [MARK],
        });
        let reply = Reply::new(200, broken.to_string()).header("content-type", "application/json");
        self.bench.api.once(Matcher::path(Method::GET, "/passwordresetrecords/"), Fault::Respond(reply));
        self.becomes("unreadable", "", "Pending/RecordNotUsable").await?;
        let list = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecordList", "metadata": {}, "items": [broken],
        });
        let reply = Reply::new(200, list.to_string()).header("content-type", "application/json");
        let rule = self.bench.api.once(Matcher::path(Method::GET, "/passwordresetrecords?"), Fault::Respond(reply));
        met(&rule, 1).await
    }
}

#[tokio::test]
async fn a_marked_user_name_is_nowhere_but_in_the_resources() -> Result<()> {
    let mut marked = Marked { bench: Bench::start().await?, logs: Vec::new(), metrics: Vec::new() };
    // Lists that are refused, before anything else works.
    marked.bench.api.once(Matcher::path(Method::GET, "/passwordresetrequests?&fieldSelector"), refusal(422, "Invalid"));
    marked.bench.api.once(Matcher::path(Method::GET, "/namespaces?"), refusal(500, "InternalError"));
    let mut operator = marked.run().await?;
    marked.answers().await?;
    marked.gates().await?;
    marked.refusals().await?;
    marked.unreadable().await?;
    // Killed during a call, and started anew.
    let call = marked.bench.cognito.once(Matcher::reset_of(&format!("{MARK}-killed")), Fault::HoldReply);
    marked.ask("killed", "").await?;
    let held = call.held(LIMIT).await?;
    marked.keep(&operator).await?;
    operator.sigkill().await?;
    held.lose();
    let operator = marked.run().await?;
    marked.bench.ended("killed").await?;
    marked.keep(&operator).await?;

    let Marked { bench, logs, metrics } = marked;
    let parsed = async |kind: &str| -> Result<Value> {
        Ok(serde_json::from_str(&bench.kubectl(&["get", kind, "-A", "-o", "json"]).await?)?)
    };
    let (requests, mut records, grants) = (parsed("prr").await?, parsed("prrec").await?, parsed("upg").await?);
    // The test would find the name: it is where it belongs.
    assert!(requests.to_string().contains(MARK) && records.to_string().contains(MARK));
    for record in records["items"].as_array_mut().into_iter().flatten() {
        record["username"] = Value::Null;
    }
    let statuses: Vec<&Value> =
        requests["items"].as_array().into_iter().flatten().map(|request| &request["status"]).collect();
    let events = [parsed("events").await?, parsed("events.v1.events.k8s.io").await?];
    let paths: Vec<_> = bench.api.requests().into_iter().map(|request| request.seen.path).collect();
    for (place, text) in [
        ("logs", logs.concat()),
        ("metrics", metrics.concat()),
        ("events", json!(events).to_string()),
        ("statuses", json!(statuses).to_string()),
        ("records", records.to_string()),
        ("grants", grants.to_string()),
        ("paths", paths.concat()),
    ] {
        let found = text.find(MARK).map(|at| text.chars().skip(at.saturating_sub(300)).take(600).collect::<String>());
        assert!(text.len() > 100 && found.is_none(), "{place}: {found:?}");
    }
    assert!(logs.concat().contains("422 Invalid for spec.username"), "refusals are told all the same");
    Ok(())
}
