//! Writes that the API server refuses. Without a claim nothing is sent, without a record no status
//! has an outcome, and the status says what happened and names the policy that refuses.

mod stopped;
mod woken;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Operator, Recorded, Reply, eventually};

/// The own words of a policy, which the operator must not repeat.
const OWN_WORDS: &str = "zq-own-words-of-the-policy";
const RESET: &str = "Succeeded/ResetAccepted";
const REFUSED: &str = "Pending/WriteRefused";

/// Returns a policy that refuses these operations on these resources unless the expression holds.
fn policy(name: &str, operations: &[&str], resources: &[&str], expression: &str) -> String {
    policy_of("cognito-reset.dev", name, operations, resources, expression)
}

/// The same for resources of this API group, or of every one.
fn policy_of(group: &str, name: &str, operations: &[&str], resources: &[&str], expression: &str) -> String {
    let rule = json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": resources });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] },
            "validations": [{ "expression": expression, "message": OWN_WORDS }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] },
    });
    // Without the first line, kubectl 1.32 takes all of it for one JSON document.
    format!("---\n{policy}\n---\n{binding}")
}

/// The common parts of the steps of these tests.
struct Refusing<'a> {
    env: &'a Environment,
    operator: &'a Operator,
}

impl Refusing<'_> {
    /// Applies a policy, and waits until the API server refuses the administrator's `probe` with
    /// it.
    async fn enforce(&self, yaml: &str, probe: &[&str], input: &str) -> Result<()> {
        self.env.apply(yaml).await?;
        eventually(LIMIT, "the policy to be in force", async || {
            let output = self.env.cluster.as_admin().run_with_input(probe, input).await?;
            ensure!(output.refusal()?.contains("denied"), "not by it");
            anyhow::Ok(())
        })
        .await
    }

    async fn lift(&self, name: &str) -> Result<()> {
        self.env.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name]).await?;
        Ok(())
    }

    /// Waits until the request's status contains all of this, and returns it.
    async fn says(&self, name: &str, parts: &[&str]) -> Result<Value> {
        eventually(LIMIT, format!("{name} to say {parts:?}"), async || {
            let request = self.env.get("prr", name).await?;
            let ready = condition(&request, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            ensure!(ready["reason"] == "WriteRefused" && request["status"]["outcome"] == "Pending", "{ready}");
            ensure!(parts.iter().all(|part| message.contains(part)), "{message}");
            anyhow::Ok(request)
        })
        .await
    }

    /// Waits for a Warning about the object with this reason that contains all of this, and returns
    /// it.
    async fn warns(&self, name: &str, reason: &str, parts: &[&str]) -> Result<Value> {
        eventually(LIMIT, format!("an event {reason} about {name}"), async || {
            let events = self.events(name, reason).await?;
            let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
            let found = events.iter().find(|event| parts.iter().all(|part| note(event).contains(part)));
            found.filter(|event| event["type"] == "Warning").cloned().with_context(|| format!("{events:?}"))
        })
        .await
    }

    /// Returns how often the operator has tried to create the record of this request.
    fn claims(&self, name: &str) -> usize {
        let created =
            |sent: &Recorded| sent.seen.method == Method::POST && sent.seen.path.contains("/passwordresetrecords");
        self.env
            .api
            .requests()
            .iter()
            .filter(|sent| created(sent) && sent.seen.json()["request"]["name"] == name)
            .count()
    }

    async fn events(&self, name: &str, reason: &str) -> Result<Vec<Value>> {
        let of_it = |event: &Value| event["regarding"]["name"] == name && event["reason"] == reason;
        Ok(self.env.list("events").await?.into_iter().filter(of_it).collect())
    }

    /// Asserts that refusals were counted with these labels.
    async fn counted(&self, object: &str, by: &str) -> Result<()> {
        let (_, metrics) = self.operator.page("/metrics").await?;
        let wanted = format!("cognito_reset_writes_refused_total{{object=\"{object}\",by=\"{by}\"}}");
        ensure!(metrics.contains(&wanted), "{wanted}: {metrics}");
        Ok(())
    }

    /// Checks that the log names the refuser, and that nothing repeats a policy's own words.
    fn logged(&self, refuser: &str) {
        let log = self.operator.logs();
        assert!(log.contains(refuser), "{refuser}: {log}");
        assert!(!log.contains(OWN_WORDS), "{log}");
    }
}

fn labelled(manifest: &str) -> String {
    manifest.replace("namespace: default", "namespace: default, labels: {owner: support}")
}

#[tokio::test]
async fn nothing_is_sent_while_a_policy_refuses_records() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let refusing = Refusing { env: &env, operator: &operator };
    let wants_label = "has(object.metadata.labels) && 'owner' in object.metadata.labels";
    let yaml = policy("owner-label", &["CREATE"], &["*"], wants_label);
    let unlabelled = env.request("probe", "probe", "");
    refusing.enforce(&yaml, &["create", "--dry-run=server", "-f", "-"], &unlabelled).await?;
    for (name, spec) in [("held", ""), ("late", "deadlineSeconds: 10"), ("old", "notAfter: \"2020-01-01T00:00:00Z\"")] {
        env.users.create_user(&env.pool, name).await?;
        env.apply(&labelled(&env.request(name, name, spec))).await?;
    }
    let by = "rejected by the ValidatingAdmissionPolicy owner-label";
    refusing.says("held", &[by, "nothing was sent"]).await?;
    refusing.says("late", &["deadlineSeconds", "the write of the record that says so", by]).await?;
    refusing.says("old", &["notAfter", "the write of the record that says so", by]).await?;
    // The operator has tried again, and has reported it once.
    let so_far = refusing.claims("held");
    eventually(LIMIT, "further tries", async || (refusing.claims("held") >= so_far + 2).then_some(())).await?;
    refusing.warns("held", "WriteRefused", &[by, "nothing was sent"]).await?;
    let late = refusing.warns("late", "WriteRefused", &[by, "the write of the record that says so"]).await?;
    assert_eq!(late["action"], "Close");
    let events = refusing.events("held", "WriteRefused").await?;
    assert!(events.len() == 1 && events[0]["series"].is_null() && events[0]["action"] == "Claim", "{events:?}");
    refusing.counted("record", "policy").await?;
    refusing.logged("the ValidatingAdmissionPolicy owner-label");
    for name in ["held", "late", "old"] {
        assert_eq!((env.state(name).await?.as_str(), env.calls(name)), (REFUSED, 0), "{name}");
    }
    refusing.lift("owner-label").await?;
    for (name, end, calls) in [("held", RESET, 1), ("late", "Failed/DeadlineExceeded", 0), ("old", "Failed/Expired", 0)]
    {
        assert_eq!(env.ended(name).await?, end, "{name}: {}", operator.logs());
        assert_eq!(env.calls(name), calls, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_outcome_is_reported_while_a_policy_refuses_its_record() -> Result<()> {
    let env = Environment::start().await?;
    // At most two effects are held up, and then no further call is made.
    let operator = env.run_with(env.operator().args(["--concurrency=4"])).await?;
    let refusing = Refusing { env: &env, operator: &operator };
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, RESET);
    let record = env.record("before").await?.context("no record")?;
    let name = record["metadata"]["name"].as_str().unwrap_or_default();
    let yaml = policy("frozen-records", &["UPDATE"], &["passwordresetrecords"], "false");
    refusing.enforce(&yaml, &["label", "--dry-run=server", "--overwrite", "prrec", name, "probe=probe"], "").await?;
    let by = "rejected by the ValidatingAdmissionPolicy frozen-records";
    env.ask("sent").await?;
    let sent = refusing.says("sent", &["password invalidated", "The write of the record that says so", by]).await?;
    assert_eq!(condition(&sent, "PasswordInvalidated")["status"], "True", "{sent}");
    env.apply(&env.request("refused", "nobody", "")).await?;
    refusing
        .says("refused", &["Cognito rejected the reset with UserNotFoundException", "nothing was changed", by])
        .await?;
    // A later request of the first name has an expiry that its record would have to remember.
    env.kubectl(&["delete", "prr", "before"]).await?;
    env.apply(&env.request("before", "before", "notAfter: \"2099-01-01T00:00:00Z\"")).await?;
    refusing.says("before", &["reset the password at", "notAfter", by]).await?;
    env.ask("next").await?;
    refusing.says("next", &["nothing was sent", "the results of earlier requests", by]).await?;
    refusing.warns("sent", "WriteRefused", &["password invalidated", by]).await?;
    refusing.counted("record", "policy").await?;
    refusing.logged("the ValidatingAdmissionPolicy frozen-records");
    assert!(env.record("sent").await?.context("no record")?["effect"].is_null());
    assert_eq!((env.calls("sent"), env.calls("next")), (1, 0));
    refusing.lift("frozen-records").await?;
    for (name, end) in [
        ("sent", RESET),
        ("refused", "Failed/UserNotFoundException"),
        ("before", "Succeeded/AlreadyPerformed"),
        ("next", RESET),
    ] {
        assert_eq!(env.ended(name).await?, end, "{name}: {}", operator.logs());
    }
    for name in ["sent", "nobody", "before", "next"] {
        assert_eq!(env.calls(name), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_open_claim_that_cannot_be_settled_delays_no_other_one() -> Result<()> {
    let env = Environment::start().await?;
    for name in ["one", "two"] {
        let claim = env.api.once(Matcher::path(Method::POST, "/passwordresetrecords"), Fault::HoldReply);
        let mut operator = env.run().await?;
        env.ask(name).await?;
        let held = claim.held(LIMIT).await?;
        operator.sigkill().await?;
        held.lose();
        env.kubectl(&["delete", "prr", name]).await?;
    }
    let operator = env.run().await?;
    let refusing = Refusing { env: &env, operator: &operator };
    let mut records = Vec::new();
    for name in ["one", "two"] {
        let record = env.record(name).await?.context("no record")?;
        records.push(record["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    }
    let yaml = policy("frozen-records", &["UPDATE"], &["passwordresetrecords"], "false");
    refusing.enforce(&yaml, &["label", "--dry-run=server", "prrec", &records[0], "probe=probe"], "").await?;
    eventually(LIMIT, "both claims to be tried", async || {
        let tried = |record: &String| {
            let of_it =
                |line: &&str| line.contains(record.as_str()) && line.contains("unable to resolve an open claim");
            operator.logs().lines().any(|line| of_it(&line))
        };
        records.iter().all(tried).then_some(())
    })
    .await?;
    refusing.counted("record", "policy").await?;
    refusing.lift("frozen-records").await?;
    eventually(LIMIT, "both claims to be settled", async || {
        for name in ["one", "two"] {
            ensure!(env.record(name).await?.context("no record")?["effect"] == "Unknown", "{name}");
        }
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((env.calls("one"), env.calls("two")), (0, 0));
    Ok(())
}

#[tokio::test]
async fn an_event_reports_an_outcome_while_statuses_are_refused() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let refusing = Refusing { env: &env, operator: &operator };
    env.apply(&env.request("probe", "probe", "suspend: true")).await?;
    env.becomes("probe", "Pending/Suspended").await?;
    let resources = ["passwordresetrequests/status", "userpoolgrants/status"];
    let probe = [
        "patch",
        "prr",
        "probe",
        "--subresource=status",
        "--type=merge",
        "--dry-run=server",
        "-p",
        r#"{"status":{"attempts":7}}"#,
    ];
    refusing.enforce(&policy("no-statuses", &["UPDATE"], &resources, "false"), &probe, "").await?;
    env.ask("reported-by-event").await?;
    env.apply(&env.request("waits", "waits", "suspend: true")).await?;
    env.grant("another", "namespaces: [elsewhere]").await?;
    let by = "rejected by the ValidatingAdmissionPolicy no-statuses";
    let cannot = "The status cannot be written";
    refusing.warns("reported-by-event", "ResetAccepted", &["password invalidated", cannot, by]).await?;
    refusing.warns("waits", "Suspended", &["the request is suspended", cannot, by]).await?;
    refusing.warns("another", "NoNamespaceMatches", &["the grant selects no existing namespace", cannot, by]).await?;
    refusing.counted("status", "policy").await?;
    refusing.logged("the ValidatingAdmissionPolicy no-statuses");
    let tries = |name: &str| {
        let path = format!("{name}/status");
        env.api.requests().iter().filter(|sent| sent.seen.path.contains(&path)).count()
    };
    let so_far = (tries("reported-by-event"), tries("another"));
    eventually(LIMIT, "further tries", async || {
        (tries("reported-by-event") > so_far.0 + 1 && tries("another") > so_far.1 + 1).then_some(())
    })
    .await?;
    for (name, reason) in [("reported-by-event", "ResetAccepted"), ("another", "NoNamespaceMatches")] {
        let events = refusing.events(name, reason).await?;
        assert!(
            events.len() == 1 && events[0]["series"].is_null() && events[0]["action"] == "UpdateStatus",
            "{events:?}"
        );
    }
    assert_eq!(env.state("reported-by-event").await?, "Pending/Pending");
    refusing.lift("no-statuses").await?;
    assert_eq!(env.ended("reported-by-event").await?, RESET);
    env.becomes("waits", "Pending/Suspended").await?;
    assert_eq!(env.calls("reported-by-event"), 1);
    Ok(())
}

#[tokio::test]
async fn a_refused_deletion_is_logged_once_and_counted_each_time() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let refusing = Refusing { env: &env, operator: &operator };
    env.apply(&env.request("probe", "probe", "suspend: true")).await?;
    let yaml = policy("no-deletions", &["DELETE"], &["passwordresetrequests"], "false");
    refusing.enforce(&yaml, &["delete", "--dry-run=server", "prr", "probe"], "").await?;
    let spec = "notAfter: \"2020-01-01T00:00:00Z\"\nttlSecondsAfterFinished: 1";
    env.apply(&env.request("old", "old", spec)).await?;
    assert_eq!(env.ended("old").await?, "Failed/Expired");
    let deletions = || env.api.requests().iter().filter(|sent| sent.seen.method == Method::DELETE).count();
    eventually(LIMIT, "several tries", async || (deletions() >= 3).then_some(())).await?;
    refusing.counted("request", "policy").await?;
    refusing.logged("the ValidatingAdmissionPolicy no-deletions");
    let warnings = operator.logs();
    let warnings = warnings.lines().filter(|line| line.contains("\"WARN\"") && line.contains("no-deletions"));
    assert_eq!(warnings.count(), 1, "{}", operator.logs());
    refusing.lift("no-deletions").await?;
    eventually(LIMIT, "the deletion", async || {
        let left = env.kubectl(&["get", "prr", "-o", "name"]).await?;
        ensure!(!left.contains("/old"), "{left}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_that_refuses_the_lease_and_events_is_named() -> Result<()> {
    let env = Environment::start().await?;
    let wants_label = "has(object.metadata.labels) && 'owner' in object.metadata.labels";
    let yaml = policy_of("*", "owner-label", &["CREATE", "UPDATE"], &["*"], wants_label);
    let operator = env.replica("replica", Some("3s"));
    let bare = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "probe" } }).to_string();
    let probe = ["create", "--dry-run=server", "-f", "-"];
    env.apply(&yaml).await?;
    eventually(LIMIT, "the policy to be in force", async || {
        let output = env.cluster.as_admin().run_with_input(&probe, &bare).await?;
        ensure!(output.refusal()?.contains("denied"), "not by it");
        anyhow::Ok(())
    })
    .await?;
    let operator = operator.start()?;
    let refusing = Refusing { env: &env, operator: &operator };
    let refused = "no-leader-seen: the write of the Lease was rejected by the ValidatingAdmissionPolicy owner-label";
    eventually(LIMIT, "readyz to say who refuses the lease", async || {
        let (status, text) = operator.page("/readyz").await?;
        ensure!(status == 503 && text.trim() == refused, "{status} {text}");
        anyhow::Ok(())
    })
    .await?;
    let tries = || {
        let of_lease = |path: &str| path.contains("/leases");
        env.api.requests().iter().filter(|it| it.seen.method == Method::POST && of_lease(&it.seen.path)).count()
    };
    let so_far = tries();
    eventually(LIMIT, "further tries", async || (tries() > so_far + 2).then_some(())).await?;
    refusing.counted("lease", "policy").await?;
    refusing.logged("the ValidatingAdmissionPolicy owner-label");
    let logs = operator.logs();
    let warnings =
        logs.lines().filter(|line| line.contains("\"WARN\"") && line.contains("rejected the write of the Lease"));
    assert_eq!(warnings.count(), 1, "{logs}");
    refusing.lift("owner-label").await?;
    eventually(LIMIT, "it to lead", async || {
        let (status, text) = operator.page("/readyz").await?;
        ensure!(status == 200 && text.trim() == "leader", "{status} {text}");
        anyhow::Ok(())
    })
    .await?;

    // Then the policy refuses only Events: resets go on.
    let yaml = policy_of("*", "owner-label", &["CREATE"], &["events"], "false");
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "probe", "namespace": "default" },
        "involvedObject": { "kind": "Pod", "namespace": "default", "name": "a" }, "reason": "Probe", "message": "a",
    });
    refusing.enforce(&yaml, &probe, &event.to_string()).await?;
    env.ask("unreported").await?;
    assert_eq!(env.ended("unreported").await?, RESET);
    eventually(LIMIT, "the refused event to be counted", async || refusing.counted("event", "policy").await).await?;
    assert!(refusing.events("unreported", "ResetAccepted").await?.is_empty());
    refusing.logged("the API server rejects an Event");
    Ok(())
}

const DEAD_WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: dead}
webhooks:
- name: dead.example.com
  clientConfig: {url: "https://127.0.0.1:1/"}
  rules: [{apiGroups: ["cognito-reset.dev"], apiVersions: ["*"], operations: ["CREATE"], resources: ["passwordresetrecords"]}]
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 1
"#;

#[tokio::test]
async fn a_dead_webhook_and_a_lost_permission_are_named() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let refusing = Refusing { env: &env, operator: &operator };
    // The probe makes a copy of an earlier record.
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, RESET);
    let mut copy = env.record("before").await?.context("no record")?;
    copy["metadata"] = json!({ "name": "r0-probe" });
    env.apply(DEAD_WEBHOOK).await?;
    eventually(LIMIT, "the webhook to be asked", async || {
        let probe = ["create", "--dry-run=server", "-f", "-"];
        let output = env.cluster.as_admin().run_with_input(&probe, &copy.to_string()).await?;
        ensure!(output.refusal()?.contains("failed calling webhook"), "not by it");
        anyhow::Ok(())
    })
    .await?;
    env.ask("unasked").await?;
    refusing
        .says("unasked", &["nothing was sent", "the admission webhook dead.example.com, which cannot be called"])
        .await?;
    refusing.counted("record", "webhook").await?;
    refusing.logged("the admission webhook dead.example.com");
    assert_eq!(env.calls("unasked"), 0);
    env.kubectl(&["delete", "validatingwebhookconfiguration", "dead"]).await?;
    assert_eq!(env.ended("unasked").await?, RESET);

    let role = env.get("clusterrole", "cognito-reset-operator").await?;
    let mut fewer = role.clone();
    for rule in fewer["rules"].as_array_mut().context("no rules")? {
        if rule["resources"].to_string().contains("passwordresetrecords") {
            let verbs = rule["verbs"].as_array_mut().context("no verbs")?;
            verbs.retain(|verb| verb != "create");
        }
    }
    let rules = |role: &Value| json!([{ "op": "replace", "path": "/rules", "value": role["rules"] }]).to_string();
    let set = async |role: &Value| {
        env.kubectl(&["patch", "clusterrole", "cognito-reset-operator", "--type=json", "-p", &rules(role)]).await
    };
    set(&fewer).await?;
    let account = "--as=system:serviceaccount:cognito-reset-system:cognito-reset-operator";
    eventually(LIMIT, "the permission to be gone", async || {
        let output = env
            .cluster
            .kubectl(&["auth", "can-i", "create", "passwordresetrecords.cognito-reset.dev", account])
            .await?;
        ensure!(output.stdout.trim() == "no", "{}", output.stdout);
        anyhow::Ok(())
    })
    .await?;
    env.ask("not-permitted").await?;
    refusing.says("not-permitted", &["nothing was sent", "rejected by RBAC"]).await?;
    refusing.counted("record", "permission").await?;
    set(&role).await?;
    assert_eq!(env.ended("not-permitted").await?, RESET);

    let broken = Fault::Respond(Reply::kubernetes_error(500, "InternalError"));
    let failing = env.api.always(Matcher::path(Method::PUT, "/passwordresetrecords/"), broken);
    env.ask("failing").await?;
    refusing.says("failing", &["password invalidated", "The write of the record that says so failed"]).await?;
    failing.remove();
    assert_eq!(env.ended("failing").await?, RESET);
    for name in ["unasked", "not-permitted", "failing"] {
        assert_eq!(env.calls(name), 1, "{name}");
    }
    Ok(())
}
