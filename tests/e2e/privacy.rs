//! A user's name stays in the resources. It is in no log line at any level, no metric, no Event, no
//! status except `userName`, and no error, regardless of what happens to the request and of which
//! server repeats the name in a response.

use std::{cell::RefCell, collections::BTreeSet};

use anyhow::{Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use cognito_reset_api::Exception;
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Operator, Reply, Rule, eventually};

use crate::approval::user_of_alias;

/// A part of every user name and of every value of client metadata, and of nothing else in the
/// test.
const MARK: &str = "zq-marked";

/// Every level of every crate, in each form that a filter has.
const LOUD: &str = "--log=trace,hyper=trace,hyper_util=trace,kube_client=trace,kube_runtime=trace,aws_config=trace,\
                    aws_smithy_runtime::client::orchestrator=trace,aws_smithy_http_client=trace,aws_sdk_sts=trace,\
                    aws_sdk_cognitoidentityprovider=trace,aws_sigv4=trace,tower=trace,rustls=trace";

/// Returns the forms in which the mark may be written: as it is (so also in JSON and in URLs),
/// without its hyphen or with the hyphen encoded, as base64 at each of three places in a text, and
/// as hexadecimal digits. All but base64 are in lower case.
fn forms() -> Vec<String> {
    let base64 = (0..3).map(|before| {
        let text = STANDARD_NO_PAD.encode([&vec![b'-'; before], MARK.as_bytes()].concat());
        // The characters at the ends depend on the text beside the mark.
        let (start, end) = ([0, 2, 3][before], text.len() - text.len() % 4);
        text[start..end].to_owned()
    });
    let hex = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    [MARK.to_owned(), MARK.replace('-', ""), MARK.replace('-', "%2d"), hex].into_iter().chain(base64).collect()
}

/// Returns the first form of the mark in a text, with the text around it.
fn found(text: &str) -> Option<String> {
    let small = text.to_lowercase();
    forms().iter().find_map(|form| {
        let (text, at) =
            text.find(form).map(|at| (text, at)).or_else(|| small.find(form).map(|at| (small.as_str(), at)))?;
        Some(String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(300)..(at + 300).min(text.len())]).into_owned())
    })
}

#[test]
fn the_mark_is_found_in_each_form() {
    for text in
        ["a zq-marked-b", "ZQ-MARKED", "a=zq%2Dmarked", "zqmarked", "{\"zq-marked\\u00e9\"}", "7a712d6d61726b6564"]
    {
        assert!(found(text).is_some(), "{text}");
    }
    for (before, after) in [("", ""), ("a", ""), ("ab", "c"), ("abc", "de"), ("x:y", "@example.com")] {
        let text = STANDARD_NO_PAD.encode(format!("{before}{MARK}{after}"));
        assert!(found(&text).is_some(), "{before} {after}: {text} {:?}", forms());
    }
    assert_eq!(found("nothing marked"), None);
}

/// A response of Cognito or STS that repeats the name in every place.
fn quoting(status: u16, code: &str) -> Fault {
    let text = format!("user {MARK} output {MARK}");
    let body = json!({ "__type": code, "message": text, "Message": text }).to_string();
    let reply = Reply::new(status, body).header("content-type", "application/x-amz-json-1.1");
    Fault::Respond(reply.header("x-amzn-errortype", code).header("x-amzn-errormessage", &text))
}

/// A refusal of the API server that repeats the name, as it does for invalid values.
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

/// A success that has the name in place of its request's id.
fn accepted_as(name: &str) -> Fault {
    Fault::ForwardThenRespond(Reply::new(200, "{}").header("x-amzn-requestid", name))
}

struct Marked {
    env: Environment,
    logs: Vec<String>,
    metrics: Vec<String>,
    /// Every reason that a status had.
    seen: RefCell<BTreeSet<String>>,
}

impl Marked {
    async fn run(&self, more: &[&str]) -> Result<Operator> {
        self.env.run_with(self.env.operator().args([LOUD, "--role-check-interval=5s"]).args(more.iter().copied())).await
    }

    async fn ended(&self, name: &str) -> Result<()> {
        self.saw(&self.env.ended(name).await?);
        Ok(())
    }

    /// Notes the reason that follows the outcome.
    fn saw(&self, state: &str) {
        self.seen.borrow_mut().extend(state.split('/').next_back().map(str::to_owned));
    }

    async fn ask(&self, name: &str, spec: &str) -> Result<()> {
        self.env.apply(&self.made(name, spec).await?).await?;
        Ok(())
    }

    /// Returns the manifest of a request for a new marked user.
    async fn made(&self, name: &str, spec: &str) -> Result<String> {
        let username = format!("{MARK}-{name}");
        self.env.users.create_user(&self.env.pool, &username).await?;
        let metadata = format!("clientMetadata: {{key: {MARK}-value}}\n{spec}");
        Ok(self.env.request(name, &username, &metadata))
    }

    /// Lets a suspended request go on. Its record is read, because it has waited.
    async fn go_on(&self, name: &str) -> Result<()> {
        let on = json!({ "spec": { "suspend": false } }).to_string();
        self.env.kubectl(&["patch", "prr", name, "--type=merge", "-p", &on]).await?;
        Ok(())
    }

    /// Creates a request, and waits for the expected state.
    async fn becomes(&self, name: &str, spec: &str, wanted: &str) -> Result<()> {
        self.ask(name, spec).await?;
        self.reaches(name, wanted).await
    }

    async fn reaches(&self, name: &str, wanted: &str) -> Result<()> {
        self.env.becomes(name, wanted).await?;
        self.saw(wanted);
        Ok(())
    }

    async fn grant_becomes(&self, name: &str, spec: &str, wanted: &str) -> Result<()> {
        self.env.grant(name, spec).await?;
        self.grant_says(name, "Ready", wanted).await
    }

    async fn grant_says(&self, name: &str, condition: &str, wanted: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} to become {wanted}"), async || {
            let grant = self.env.get("poolgrant", name).await?;
            let reason = testbed::environment::condition(&grant, condition)["reason"].clone();
            ensure!(reason == wanted, "{reason}");
            anyhow::Ok(())
        })
        .await?;
        self.saw(wanted);
        Ok(())
    }

    async fn keep(&mut self, operator: &Operator) -> Result<()> {
        let (_, metrics) = operator.page("/metrics").await?;
        self.metrics.push(metrics);
        self.logs.push(operator.logs());
        Ok(())
    }

    /// Creates a request for a new marked user of a pool of its own.
    async fn ask_elsewhere(&self, name: &str) -> Result<String> {
        let pool = self.env.another_pool("eu-west-1", name).await?;
        self.ask_in(&pool, name).await?;
        Ok(pool)
    }

    async fn ask_in(&self, pool: &str, name: &str) -> Result<()> {
        let username = format!("{MARK}-{name}");
        self.env.users.create_user(pool, &username).await?;
        self.env.apply(&self.env.request(name, &username, "").replace(&self.env.pool, pool)).await?;
        Ok(())
    }

    /// Goes through the responses of Cognito and AWS.
    async fn exceptions(&self) -> Result<()> {
        let Environment { cognito, .. } = &self.env;
        self.becomes("accepted", "", "Succeeded/ResetAccepted").await?;
        for exception in Exception::ALL {
            let name = format!("exception-{}", exception.code().to_lowercase());
            let rule = cognito.once(Matcher::reset_of(&format!("{MARK}-{name}")), quoting(400, exception.code()));
            let pool = self.ask_elsewhere(&name).await?;
            self.ended(&name).await?;
            ensure!(rule.hits() == 1, "{name}");
            self.saw(exception.code());
            if *exception == Exception::LimitExceeded {
                self.ask_in(&pool, "after-a-failed-delivery").await?;
                self.reaches("after-a-failed-delivery", "Pending/DeliveryFailing").await?;
            }
        }
        for (name, fault) in [
            ("brand-new", quoting(400, "BrandNewException")),
            ("as-code", quoting(400, &format!("{MARK}-as-code"))),
            ("in-code", quoting(400, &format!("No.{MARK}-in-code.Exception"))),
            ("as-id", accepted_as(&format!("{MARK}-as-id"))),
            ("lost-after", Fault::ForwardThenLose),
            ("lost", Fault::LoseBefore),
            ("garbage", Fault::Garbage(format!("{MARK} {MARK}").into())),
            ("foreign", Fault::Respond(Reply::new(200, format!("<html>{MARK}</html>")))),
            ("redirected", Fault::Respond(Reply::new(302, MARK).header("location", &format!("http://{MARK}.example")))),
        ] {
            cognito.once(Matcher::reset_of(&format!("{MARK}-{name}")), fault);
            self.ask_elsewhere(name).await?;
            self.ended(name).await?;
        }
        let named = cognito.once(Matcher::operation("AdminGetUser"), quoting(400, &format!("{MARK}-read-as-code")));
        self.becomes("read-as-code", "", "Succeeded/ResetAccepted").await?;
        met(&named, 1).await?;
        self.becomes("already", "", "Succeeded/ResetAccepted").await?;
        let again = self.env.request("already-reset", &format!("{MARK}-already"), "ifResetRequired: Skip");
        self.env.apply(&again).await?;
        self.reaches("already-reset", "Succeeded/AlreadyResetRequired").await?;
        let unreadable = cognito.always(Matcher::operation("AdminGetUser"), quoting(400, "AccessDeniedException"));
        self.ask("unread", "ifResetRequired: Skip").await?;
        met(&unreadable, 2).await?;
        unreadable.remove();
        self.ended("unread").await?;
        Ok(())
    }

    /// Lets nobody read the user, and then finds the user by lists that fail.
    async fn sources(&self) -> Result<()> {
        let by = async |source: &str| {
            self.env.grant("everyone", &format!("namespaces: [\"*\"]\nuserStateSource: {source}")).await
        };
        by("None").await?;
        self.becomes("not-read", "ifResetRequired: Skip", "Pending/UserStateNotRead").await?;
        let refusal = quoting(400, "AccessDeniedException");
        let refused = self.env.cognito.always(Matcher::operation("ListUsers"), refusal);
        by("ListUsers").await?;
        self.reaches("not-read", "Pending/UserStateUnreadable").await?;
        refused.remove();
        self.ended("not-read").await?;
        by("AdminGetUser").await
    }

    /// Asks and approves as a service account of the namespace, which names itself.
    async fn accounts(&self) -> Result<()> {
        const ACCOUNT: &str = "system:serviceaccount:default:runner";
        let as_account = [&format!("--as={ACCOUNT}")[..], "--as-group=system:masters"];
        let manifest = self.made("by-account", &format!("requestedBy: {{username: {ACCOUNT}}}")).await?;
        let create = [&["create", "-f", "-"], &as_account[..]].concat();
        self.env.cluster.as_admin().run_with_input(&create, &manifest).await?.success()?;
        self.reaches("by-account", "Pending/RequesterNotIndependent").await?;
        self.ask("for-account", "requestedBy: {username: admin, uid: admin}").await?;
        let approve = json!({ "spec": { "approved": true, "approvedBy": { "username": ACCOUNT } } }).to_string();
        let patch = ["patch", "prr", "for-account", "--type=merge", "-p", &approve];
        self.env.kubectl(&[&patch[..], &as_account].concat()).await?;
        self.reaches("for-account", "Pending/ApproverNotIndependent").await
    }

    /// Lets the name in a request mean another user before its approval.
    async fn moved(&self) -> Result<()> {
        self.becomes("moved", "requestedBy: {username: admin, uid: admin}", "Pending/AwaitingApproval").await?;
        let read = user_of_alias(&format!("{MARK}-other"), "sub-2");
        let rule = self.env.cognito.always(Matcher::operation("AdminGetUser"), read);
        let approve = json!({ "spec": { "approved": true, "approvedBy": { "username": "bob" } } }).to_string();
        let patch = ["patch", "prr", "moved", "--type=merge", "-p", &approve, "--as=bob", "--as-group=system:masters"];
        self.env.kubectl(&patch).await?;
        self.reaches("moved", "Failed/UserChanged").await?;
        rule.remove();
        Ok(())
    }

    /// Goes through the gates that keep a request waiting, or end it without a call.
    async fn gates(&self) -> Result<()> {
        self.becomes("suspended", "suspend: true", "Pending/Suspended").await?;
        self.becomes("expired", "notAfter: \"2020-01-01T00:00:00Z\"", "Failed/Expired").await?;
        self.env.hold_in_force("stop", &format!("usernames: [{MARK}-hold]")).await?;
        self.saw("InForce");
        self.becomes("hold", "", "Pending/UserPoolHeld").await?;
        self.env.kubectl(&["delete", "poolhold", "stop"]).await?;
        self.ended("hold").await?;
        self.becomes("late", "suspend: true\ndeadlineSeconds: 1", "Failed/DeadlineExceeded").await?;
        self.undated().await?;
        self.env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        self.env.grant("others", "namespaces: [default]\nusernamePattern: \"other-.*\"").await?;
        self.becomes("no-pattern", "", "Pending/NoMatchingGrant").await?;
        self.env.grant("by-two", "namespaces: [default]\nrequireApproval: true").await?;
        self.becomes("by-one", "", "Pending/RequesterUnverified").await?;
        // A requester who writes their own name is proven, too.
        self.becomes("by-name", "requestedBy: {username: admin, uid: admin}", "Pending/AwaitingApproval").await?;
        let approve = r#"{"spec":{"approved":true}}"#;
        let as_bob = ["--as=bob", "--as-group=system:masters"];
        self.env.kubectl(&[&["patch", "prr", "by-name", "--type=merge", "-p", approve], &as_bob[..]].concat()).await?;
        self.reaches("by-name", "Pending/ApproverUnverified").await?;
        self.accounts().await?;
        self.moved().await?;
        // The suspended one is the oldest, and the only one that may go on.
        self.env.grant("one-by-one", "namespaces: [default]\nmaxPendingPerNamespace: 1").await?;
        self.reaches("by-one", "Pending/PendingLimitReached").await?;
        self.env.kubectl(&["delete", "poolgrant", "by-two", "one-by-one"]).await?;
        let sts = Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
        let rule = self.env.cognito.always(sts, quoting(403, "AccessDenied"));
        self.env.grant("by-role", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/reset").await?;
        self.ask("no-role", "").await?;
        met(&rule, 2).await?;
        self.grant_says("by-role", "RoleAssumable", "RoleNotAssumable").await?;
        rule.remove();
        self.grant_says("by-role", "RoleAssumable", "RoleAssumed").await?;
        self.env.kubectl(&["delete", "poolgrant", "by-role", "others"]).await?;
        self.env.grant("everyone", "namespaces: [\"*\"]").await?;
        for name in ["no-pattern", "by-one", "by-name", "no-role"] {
            self.ended(name).await?;
        }
        self.env.kubectl(&["delete", "prr", "accepted"]).await?;
        self.env.apply(&self.env.request("accepted", &format!("{MARK}-accepted"), "")).await?;
        self.reaches("accepted", "Succeeded/AlreadyPerformed").await
    }

    /// Lets a cache return the request, so that the API server's time is unknown.
    async fn undated(&self) -> Result<()> {
        self.becomes("undated", "suspend: true\ndeadlineSeconds: 10", "Pending/Suspended").await?;
        let rule = self.env.cache("undated").await?;
        self.reaches("undated", "Pending/ClockSkew").await?;
        rule.remove();
        self.reaches("undated", "Failed/DeadlineExceeded").await
    }

    /// Fails the lists that confirm the grants, until the last confirmation is too old.
    async fn unconfirmed(&self) -> Result<()> {
        let lists = Matcher::path(Method::GET, "/userpoolgrants?").and(|seen| !seen.path.contains("watch=true"));
        let rule = self.env.api.always(lists, refusal(500, "InternalError"));
        met(&rule, 3).await?;
        self.becomes("unconfirmed", "", "Pending/GrantsNotConfirmed").await?;
        rule.remove();
        self.ended("unconfirmed").await
    }

    /// Goes through the statuses of grants, and what grants add to those of requests. Their
    /// patterns hold the name as well.
    async fn grants(&self) -> Result<()> {
        let pattern = format!("usernamePattern: \"{MARK}.*\"");
        let everyone = format!("namespaces: [\"*\"]\n{pattern}");
        self.grant_becomes("everyone", &everyone, "Valid").await?;
        self.grant_becomes(
            "broken",
            &format!("namespaces: [default]\nusernamePattern: \"({MARK}\""),
            "InvalidUsernamePattern",
        )
        .await?;
        self.grant_becomes("nowhere", &format!("namespaces: [nowhere]\n{pattern}"), "NoNamespaceMatches").await?;
        let role = format!("namespaces: [default]\n{pattern}\nroleARN: arn:aws:iam::123456789012:role/reset");
        self.env.grant("by-role", &role).await?;
        self.becomes("ambiguous", "", "Pending/ConflictingGrants").await?;
        self.env.kubectl(&["delete", "poolgrant", "by-role", "broken", "nowhere"]).await?;
        self.ended("ambiguous").await?;
        self.grant_becomes("everyone", &format!("{everyone}\nsuspend: true"), "GrantSuspended").await?;
        self.becomes("held", "", "Pending/GrantSuspended").await?;
        self.env.grant("everyone", &format!("{everyone}\nrequireNotAfter: true\nsuspend: false")).await?;
        self.reaches("held", "Pending/NotAfterRequired").await?;
        self.env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        self.env.grant("everyone", &everyone).await?;
        self.ended("held").await
    }

    /// Goes through the waits that are long enough to be in a status, with long pauses.
    async fn waits(&mut self) -> Result<()> {
        let slow = ["--retry-initial=30s", "--retry-max=30s", "--log-format=text"];
        let operator = self.run(&slow).await?;
        let claims = self.env.api.always(Matcher::path(Method::POST, "/passwordresetrecords"), Fault::HoldReply);
        self.ask("claim-late", "").await?;
        let held = claims.held(LIMIT).await?;
        self.reaches("claim-late", "Pending/ClaimTimedOut").await?;
        drop(held);
        claims.remove();
        // A grant with a pattern would wait for the user to be read.
        self.env.grant("without-pattern", "namespaces: [default]").await?;
        self.env.cognito.close().await;
        self.becomes("unreachable", "", "Pending/CognitoUnreachable").await?;
        self.env.cognito.open().await?;
        let sts = Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
        let rule = self.env.cognito.always(sts, quoting(403, "AccessDenied"));
        self.env.kubectl(&["delete", "poolgrant", "everyone", "without-pattern"]).await?;
        self.env.grant("by-role", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/reset").await?;
        self.becomes("no-credentials", "", "Pending/AwsCredentialsUnavailable").await?;
        rule.remove();
        self.env.kubectl(&["delete", "poolgrant", "by-role"]).await?;
        self.env.grant("everyone", "namespaces: [\"*\"]").await?;
        let unreadable =
            self.env.cognito.always(Matcher::operation("AdminGetUser"), quoting(400, "AccessDeniedException"));
        self.becomes("unreadable-user", "ifResetRequired: Skip", "Pending/UserStateUnreadable").await?;
        unreadable.remove();
        self.sources().await?;
        let create = ["create", "-f", "-"];
        self.env.cluster.as_admin().run_with_input(&create, &self.large("large")).await?.success()?;
        self.reaches("large", "Pending/ObjectTooLarge").await?;
        self.unconfirmed().await?;
        let resets = Matcher::operation("AdminResetUserPassword");
        let throttling = self.env.cognito.always(resets, quoting(400, "TooManyRequestsException"));
        self.becomes("throttled", "", "Pending/Throttled").await?;
        throttling.remove();
        self.keep(&operator).await?;
        drop(operator);
        let operator = self.run(&["--rate=0.01"]).await?;
        for name in ["paced-1", "paced-2"] {
            self.ask(name, "").await?;
        }
        eventually(LIMIT, "one to wait for its turn", async || {
            let (one, two) = (self.env.state("paced-1").await?, self.env.state("paced-2").await?);
            ensure!(one.ends_with("/RateLimited") || two.ends_with("/RateLimited"), "{one} {two}");
            anyhow::Ok(())
        })
        .await?;
        self.saw("RateLimited");
        self.keep(&operator).await?;
        drop(operator);
        // An endpoint of another Region than the pool's.
        let elsewhere = "https://cognito-idp.us-east-1.amazonaws.com";
        let operator = self.env.operator().cognito(elsewhere).args([LOUD]).args(slow);
        let operator = self.env.run_with(operator).await?;
        self.becomes("elsewhere", "", "Pending/RegionNotServed").await?;
        self.keep(&operator).await
    }

    /// A request with labels of more than 1 MiB.
    fn large(&self, name: &str) -> String {
        let mut object: Value = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "userPoolID": self.env.pool, "username": format!("{MARK}-{name}") },
        });
        let label = |number| (format!("{}{number:05}/{}", "a".repeat(240), "b".repeat(63)), json!("c".repeat(63)));
        object["metadata"]["labels"] = (0..1700).map(label).collect::<serde_json::Map<_, _>>().into();
        object.to_string()
    }

    /// Goes through starts that fail because of the API server's response.
    async fn starts(&mut self) -> Result<()> {
        for (method, path, output) in [
            (Method::GET, "/version", "failed to reach"),
            (Method::POST, "/selfsubjectaccessreviews", "failed to reach"),
            (Method::GET, "/passwordresetrequests?", "failed to list"),
            (Method::GET, "/passwordresetrecords?", "failed to list"),
        ] {
            self.env.api.once(Matcher::path(method, path), refusal(422, "Invalid"));
            let mut operator = self.env.operator().args([LOUD]).start()?;
            ensure!(!operator.wait_exit(LIMIT).await?.success(), "it starts all the same");
            ensure!(operator.logs().contains(output), "{path}: {}", operator.logs());
            self.logs.push(operator.logs());
        }
        Ok(())
    }

    /// Goes through the refusals of the API server.
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
                let name = format!("refused-{index}-{status}");
                self.becomes(&name, "suspend: true", "Pending/Suspended").await?;
                let rule = self.env.api.once(Matcher::path(method.clone(), path), refusal(status, reason));
                self.go_on(&name).await?;
                self.env.ended(&name).await?;
                met(&rule, 1).await?;
            }
        }
        for (name, method) in [("claim-refused", Method::POST), ("effect-refused", Method::PUT)] {
            let refused = Matcher::path(method, "/passwordresetrecords");
            let rule = self.env.api.always(refused, refusal(422, "Invalid"));
            self.becomes(name, "", "Pending/WriteRefused").await?;
            rule.remove();
            self.env.ended(name).await?;
        }
        Ok(())
    }

    /// Goes through the responses of the API server to the deletion of a finished request.
    async fn deletions(&self) -> Result<()> {
        let api = &self.env.api;
        let looks = api.once(Matcher::path(Method::GET, "labelSelector="), refusal(500, "InternalError"));
        let deletion =
            api.once(Matcher::path(Method::DELETE, "/passwordresetrequests/undeleted"), refusal(422, "Invalid"));
        self.ask("undeleted", "ttlSecondsAfterFinished: 0").await?;
        for rule in [looks, deletion] {
            met(&rule, 1).await?;
        }
        eventually(LIMIT, "the request to be deleted", async || {
            let left = self.env.kubectl(&["get", "prr", "undeleted", "--ignore-not-found"]).await?;
            ensure!(left.is_empty(), "it is there");
            anyhow::Ok(())
        })
        .await
    }

    /// Goes through invalid objects: a request with a name in place of one of two words, whose
    /// status the API server refuses at first, and a record with a name in place of a list of
    /// attempts.
    async fn unreadable(&self) -> Result<()> {
        let words = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ifResetRequired/enum";
        let patch = json!([{ "op": "remove", "path": words }]).to_string();
        let crd = "passwordresetrequests.cognito-reset.dev";
        self.env.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch]).await?;
        let refused = self
            .env
            .api
            .once(Matcher::path(Method::PATCH, "/passwordresetrequests/invalid/status"), refusal(422, "Invalid"));
        let invalid = self.env.request("invalid", MARK, &format!("ifResetRequired: {MARK}"));
        eventually(LIMIT, "the looser definition", async || self.env.apply(&invalid).await).await?;
        self.reaches("invalid", "Pending/InvalidObject").await?;
        ensure!(refused.hits() == 1, "its status was not refused");
        let broken = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": "r2-broken" },
            "schema": 1, "action": "PasswordReset", "attempts": MARK, "username": [MARK],
        });
        let reply = Reply::new(200, broken.to_string()).header("content-type", "application/json");
        self.becomes("unreadable", "suspend: true", "Pending/Suspended").await?;
        // Until the status is seen: a single response would be followed by a record that can be
        // parsed.
        let rule = self.env.api.always(Matcher::path(Method::GET, "/passwordresetrecords/"), Fault::Respond(reply));
        self.go_on("unreadable").await?;
        self.reaches("unreadable", "Pending/RecordNotUsable").await?;
        rule.remove();
        let list = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecordList", "metadata": {}, "items": [broken],
        });
        let reply = Reply::new(200, list.to_string()).header("content-type", "application/json");
        let rule = self.env.api.once(Matcher::path(Method::GET, "/passwordresetrecords?"), Fault::Respond(reply));
        met(&rule, 1).await
    }
}

/// Returns the closed list of reasons, as `docs/reasons.md` has it.
fn reasons() -> BTreeSet<String> {
    let list = include_str!("../../src/api/src/conditions.rs");
    let names = list.split("impl WaitReason {").nth(1).and_then(|rest| rest.split("impl fmt::Display").next());
    let names = names.unwrap_or_default().split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    names.chain(Exception::ALL.iter().map(|exception| exception.code())).map(str::to_owned).collect()
}

/// Reasons that this test cannot bring about: a selector that the CRD accepts and the operator does
/// not, and an approval by the requester, which a policy of the base rejects.
const NEVER: [&str; 2] = ["InvalidNamespaceSelector", "SelfApproval"];

#[tokio::test]
async fn a_marked_user_name_is_nowhere_but_in_the_resources() -> Result<()> {
    let env = Environment::start().await?;
    let mut marked = Marked { env, logs: Vec::new(), metrics: Vec::new(), seen: RefCell::default() };
    marked.starts().await?;
    // The first lists are refused, before anything else works.
    marked.env.api.once(
        Matcher::path(Method::GET, "/passwordresetrequests?&fieldSelector=status.outcome%3DPending"),
        refusal(422, "Invalid"),
    );
    marked.env.api.once(Matcher::path(Method::GET, "/namespaces?"), refusal(500, "InternalError"));
    let mut operator = marked.run(&[]).await?;
    marked.exceptions().await?;
    marked.gates().await?;
    marked.grants().await?;
    marked.refusals().await?;
    marked.deletions().await?;
    marked.unreadable().await?;
    // The operator is killed during a call, and started again.
    let call = marked.env.cognito.once(Matcher::reset_of(&format!("{MARK}-killed")), Fault::HoldReply);
    marked.ask("killed", "").await?;
    let held = call.held(LIMIT).await?;
    marked.keep(&operator).await?;
    operator.sigkill().await?;
    held.lose();
    let operator = marked.run(&[]).await?;
    marked.reaches("killed", "Pending/AwaitingPriorAttempt").await?;
    marked.ended("killed").await?;
    marked.keep(&operator).await?;
    drop(operator);
    marked.waits().await?;

    let never = NEVER.map(str::to_owned).into();
    let unseen = &(&reasons() - &marked.seen.borrow()) - &never;
    assert!(unseen.is_empty(), "no scenario for {unseen:?}");
    shown_nowhere(marked).await
}

/// Looks for the mark in everything except the fields of resources that are made for it.
async fn shown_nowhere(marked: Marked) -> Result<()> {
    let Marked { env, logs, metrics, .. } = marked;
    let parsed = async |kind: &str| -> Result<Value> {
        Ok(serde_json::from_str(&env.kubectl(&["get", kind, "-A", "-o", "json"]).await?)?)
    };
    let (mut requests, mut records, mut grants) =
        (parsed("prr").await?, parsed("prrec").await?, parsed("poolgrant").await?);
    // The search would find the name: it is in the fields that are made for it.
    assert!(requests.to_string().contains(MARK) && records.to_string().contains(MARK));
    for record in records["items"].as_array_mut().into_iter().flatten() {
        record["username"] = Value::Null;
    }
    for grant in grants["items"].as_array_mut().into_iter().flatten() {
        grant["spec"]["usernamePattern"] = Value::Null;
        grant["metadata"]["annotations"] = Value::Null;
    }
    for request in requests["items"].as_array_mut().into_iter().flatten() {
        request["status"]["userName"] = Value::Null;
    }
    let statuses: Vec<&Value> =
        requests["items"].as_array().into_iter().flatten().map(|request| &request["status"]).collect();
    let events = [parsed("events").await?, parsed("events.v1.events.k8s.io").await?];
    let paths: Vec<_> = env.api.requests().into_iter().map(|request| request.seen.path).collect();
    for (place, text) in [
        ("logs", logs.concat()),
        ("metrics", metrics.concat()),
        ("events", json!(events).to_string()),
        ("statuses", json!(statuses).to_string()),
        ("records", records.to_string()),
        ("grants", grants.to_string()),
        ("paths", paths.concat()),
    ] {
        let found = found(&text);
        assert!(text.len() > 100 && found.is_none(), "{place}: {found:?}");
    }
    assert!(logs.concat().contains("422 Invalid for spec.username"), "refusals are reported all the same");
    Ok(())
}
