//! The CRDs on a real API server: what they accept, what they refuse and what their messages say.

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::environment::{binary, root, with_definitions};
use testbed::{Lease, Pool};

const CRDS: [&str; 4] = ["passwordresetrequests", "passwordresetrecords", "userpoolgrants", "userpoolholds"];
const OUTCOMES_AT_THE_END: [&str; 3] = ["Succeeded", "Failed", "Unknown"];

/// An API server with the CRDs, and without an operator.
struct Definitions {
    cluster: Lease,
}

impl Definitions {
    async fn served() -> Result<Self> {
        Ok(Self { cluster: Pool::of_this_process().lease(with_definitions()).await? })
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.as_admin().run(arguments).await?.success()
    }

    async fn create(&self, object: &Value) -> Result<String> {
        let kubectl = self.cluster.as_admin();
        kubectl.run_with_input(&["create", "-f", "-"], &object.to_string()).await?.success()
    }

    /// Tries to create each object; accepted objects are not kept. A refusal has to contain the
    /// words.
    async fn judges(&self, cases: &[(&str, Value, Verdict)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, object, verdict) in cases {
            let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object["kind"])?);
            let (status, shown) = self.cluster.request(Method::POST, &path, Some(object)).await?;
            wrong.extend(verdict.complaint(status, &shown).map(|complaint| format!("{name}: {complaint}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Tries to change an object; an accepted change is kept only if `keep` is true.
    async fn patch(&self, kind: &str, name: &str, patch: &Value, verdict: Verdict) -> Result<Option<String>> {
        let path = format!("{}/{name}?dryRun=All", collection(&kind.into())?);
        let (status, shown) = self.cluster.request(Method::PATCH, &path, Some(patch)).await?;
        Ok(verdict.complaint(status, &shown).map(|complaint| format!("{name} {patch}: {complaint}")))
    }

    /// Writes a status as the operator would.
    async fn status(&self, name: &str, status: &Value) -> Result<()> {
        let patch = json!([{ "op": "add", "path": "/status", "value": status }]).to_string();
        self.kubectl(&["patch", "prr", name, "--subresource=status", "--type=json", "-p", &patch]).await?;
        Ok(())
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"]).await?).context("not JSON")
    }

    /// Returns the names that a field selector selects.
    async fn selected(&self, kind: &str, selector: &str) -> Result<Vec<String>> {
        let names = "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}";
        let text = self.kubectl(&["get", kind, "--field-selector", selector, "-o", names]).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn definition(&self, plural: &str) -> Result<Value> {
        self.get("crd", &format!("{plural}.cognito-reset.dev")).await
    }
}

/// Returns the path at which objects of a kind are created. The kind has its own name or the one
/// that kubectl accepts.
fn collection(kind: &Value) -> Result<&'static str> {
    Ok(match kind.as_str().unwrap_or_default() {
        "PasswordResetRequest" | "prr" => "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests",
        "PasswordResetRecord" | "prrec" => "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords",
        "UserPoolGrant" | "poolgrant" => "/apis/cognito-reset.dev/v1alpha1/userpoolgrants",
        "UserPoolHold" | "poolhold" => "/apis/cognito-reset.dev/v1alpha1/userpoolholds",
        other => bail!("where are objects of the kind {other}?"),
    })
}

/// The expected response of the API server.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Accepts,
    /// Refuses with a message that has these words.
    Refuses(&'static [&'static str]),
}
use Verdict::{Accepts, Refuses};

impl Verdict {
    fn complaint(self, status: StatusCode, shown: &Value) -> Option<String> {
        let (accepted, shown) = (status.is_success(), shown["message"].as_str().unwrap_or_default());
        match self {
            Accepts if accepted => None,
            Accepts => Some(format!("should be accepted, but: {shown}")),
            Refuses(words) if accepted => Some(format!("should be refused ({words:?})")),
            Refuses(words) => {
                let unsaid: Vec<_> = words.iter().filter(|word| !shown.contains(**word)).collect();
                (!unsaid.is_empty()).then(|| format!("the refusal does not say {unsaid:?}: {shown}"))
            }
        }
    }
}

/// Returns an object with a minimal spec, and these fields besides; null removes a field.
fn object(kind: &str, name: &str, mut spec: Value, fields: &Value) -> Value {
    merge(&mut spec, fields);
    json!({ "apiVersion": "cognito-reset.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn request(name: &str, fields: &Value) -> Value {
    let spec = json!({ "userPoolID": "eu-west-1_Example01", "username": "alice" });
    object("PasswordResetRequest", name, spec, fields)
}

fn grant(name: &str, fields: &Value) -> Value {
    object("UserPoolGrant", name, json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["support"] }), fields)
}

fn hold(name: &str, fields: &Value) -> Value {
    object("UserPoolHold", name, json!({ "reason": "incident 1042" }), fields)
}

fn record(name: &str, fields: &Value) -> Value {
    let mut record = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": name },
        "schema": 1, "action": "PasswordReset", "request": { "namespace": "support", "name": name },
        "userPoolID": "eu-west-1_Example01", "username": "alice", "attempts": [attempt("first")],
    });
    merge(&mut record, fields);
    record
}

fn attempt(id: &str) -> Value {
    json!({
        "id": id, "operatorInstance": "me", "requestUID": "7", "requestedBy": { "username": "unverified" },
        "claimedAt": "2026-11-24T00:00:00Z",
    })
}

fn merge(into: &mut Value, fields: &Value) {
    let (Some(into), Some(fields)) = (into.as_object_mut(), fields.as_object()) else { return };
    for (name, value) in fields {
        if value.is_null() {
            into.remove(name);
        } else {
            into.insert(name.clone(), value.clone());
        }
    }
}

/// Returns a map of that many entries.
fn entries(count: usize) -> Value {
    (0..count).map(|number| (format!("key-{number}"), json!("value"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn requests_are_accepted_and_refused_field_by_field() -> Result<()> {
    let served = Definitions::served().await?;
    let long = |length: usize| "é".repeat(length);
    let key = |length: usize| json!({ "clientMetadata": { long(length): "value" } });
    let pool = &["spec.userPoolID"][..];
    let username = &["spec.username"][..];
    let metadata = &["spec.clientMetadata"][..];
    let expiration = &["spec.notAfter"][..];
    let written = &["spec.notAfter", "write the time as 2036-01-01T00:00:00Z", "for no limit, leave it out"][..];
    let deadline = &["spec.deadlineSeconds"][..];
    let lifetime = &["spec.ttlSecondsAfterFinished"][..];
    let extra = |key: &str, text: &str| json!({ "requestedBy": { "username": "u", "extra": { key: text } } });
    let requester = &["spec.requestedBy"][..];
    let cases = [
        ("the least", json!({}), Accepts),
        ("a pool with hyphens", json!({ "userPoolID": "us-gov-west-1_aB3" }), Accepts),
        ("a pool of 55", json!({ "userPoolID": format!("eu-west-1_{}", "a".repeat(45)) }), Accepts),
        ("a pool of 56", json!({ "userPoolID": format!("eu-west-1_{}", "a".repeat(46)) }), Refuses(pool)),
        ("no pool", json!({ "userPoolID": null }), Refuses(pool)),
        ("an empty pool", json!({ "userPoolID": "" }), Refuses(pool)),
        ("a pool without Region", json!({ "userPoolID": "_Example01" }), Refuses(pool)),
        ("a Region without pool", json!({ "userPoolID": "eu-west-1_" }), Refuses(pool)),
        ("a pool without underscore", json!({ "userPoolID": "eu-west-1" }), Refuses(pool)),
        ("a pool's ARN", json!({ "userPoolID": "arn:aws:cognito-idp:eu-west-1:1:userpool/e_1" }), Refuses(pool)),
        ("a pool with a space", json!({ "userPoolID": "eu-west-1 _Example01" }), Refuses(pool)),
        ("a pool with a newline", json!({ "userPoolID": "eu-west-1_Example01\n" }), Refuses(pool)),
        ("a pool as number", json!({ "userPoolID": 7 }), Refuses(pool)),
        ("an address", json!({ "username": "alice+reset@example.com" }), Accepts),
        ("accents", json!({ "username": "josé" }), Accepts),
        ("a combining accent", json!({ "username": "jose\u{301}" }), Accepts),
        ("Han", json!({ "username": "用户" }), Accepts),
        ("an emoji", json!({ "username": "alice🦀" }), Accepts),
        ("signs", json!({ "username": "a<b>&\"'\\`$€" }), Accepts),
        ("128 characters of two bytes", json!({ "username": long(128) }), Accepts),
        ("128 emoji", json!({ "username": "🦀".repeat(128) }), Accepts),
        ("129 characters", json!({ "username": long(129) }), Refuses(username)),
        ("no user", json!({ "username": null }), Refuses(username)),
        ("an empty user", json!({ "username": "" }), Refuses(username)),
        ("a space", json!({ "username": "alice smith" }), Refuses(username)),
        ("a space at the end", json!({ "username": "alice " }), Refuses(username)),
        ("a no-break space", json!({ "username": "alice\u{a0}smith" }), Refuses(username)),
        ("a tab", json!({ "username": "alice\tsmith" }), Refuses(username)),
        ("a newline at the end", json!({ "username": "alice\n" }), Refuses(username)),
        ("a newline within", json!({ "username": "alice\nbob" }), Refuses(username)),
        ("a zero-width joiner", json!({ "username": "alice\u{200d}" }), Refuses(username)),
        ("a user as number", json!({ "username": 7 }), Refuses(username)),
        ("20 entries", json!({ "clientMetadata": entries(20) }), Accepts),
        ("21 entries", json!({ "clientMetadata": entries(21) }), Refuses(metadata)),
        ("no entries", json!({ "clientMetadata": {} }), Accepts),
        ("a key of 128", key(128), Accepts),
        ("a key of 129", key(129), Refuses(&["spec.clientMetadata", "keys have 1 to 128 characters"])),
        ("an empty key", key(0), Refuses(metadata)),
        ("a value of 2048", json!({ "clientMetadata": { "key": long(2048) } }), Accepts),
        ("a value of 2049", json!({ "clientMetadata": { "key": long(2049) } }), Refuses(&["spec.clientMetadata.key"])),
        ("8192 bytes", json!({ "clientMetadata": { "ab": "🔑".repeat(2047), "c": "d" } }), Accepts),
        (
            "a byte more",
            json!({ "clientMetadata": { "ab": "🔑".repeat(2047), "c": "de" } }),
            Refuses(&["spec.clientMetadata", "at most 8192 bytes"]),
        ),
        (
            "a value of 8192 bytes, with its key",
            json!({ "clientMetadata": { "key": "🔑".repeat(2048) } }),
            Refuses(metadata),
        ),
        ("a value as number", json!({ "clientMetadata": { "key": 7 } }), Refuses(&["spec.clientMetadata.key"])),
        ("a reason of 1024", json!({ "reason": long(1024) }), Accepts),
        ("a reason of 1025", json!({ "reason": long(1025) }), Refuses(&["spec.reason"])),
        ("a ticket of 256", json!({ "ticket": long(256) }), Accepts),
        ("a ticket of 257", json!({ "ticket": long(257) }), Refuses(&["spec.ticket"])),
        ("a beneficiary of 256", json!({ "onBehalfOf": long(256) }), Accepts),
        ("a beneficiary of 257", json!({ "onBehalfOf": long(257) }), Refuses(&["spec.onBehalfOf"])),
        ("a requester", json!({ "requestedBy": { "username": "u", "uid": "1" } }), Accepts),
        ("a requester with a session", extra("sessionName", &"a".repeat(64)), Accepts),
        ("a requester with a session of 65", extra("sessionName", &"a".repeat(65)), Refuses(requester)),
        ("a requester with an empty session", extra("sessionName", ""), Refuses(requester)),
        ("a requester with an ARN of 640", extra("arn", &"a".repeat(640)), Accepts),
        ("a requester with an ARN of 641", extra("arn", &"a".repeat(641)), Refuses(requester)),
        ("a requester with an id of 128", extra("principalId", &"a".repeat(128)), Accepts),
        ("a requester with an id of 129", extra("principalId", &"a".repeat(129)), Refuses(requester)),
        ("a requester with a session of two words", extra("sessionName", "a b"), Refuses(requester)),
        ("a requester with an access key", extra("accessKeyId", "ASIAEXAMPLE"), Refuses(&["accessKeyId"])),
        ("a requester without name", json!({ "requestedBy": { "uid": "1" } }), Refuses(requester)),
        ("a requester of 1025", json!({ "requestedBy": { "username": long(1025) } }), Refuses(requester)),
        (
            "a requester's uid of 257",
            json!({ "requestedBy": { "username": "u", "uid": long(257) } }),
            Refuses(requester),
        ),
        ("Resend", json!({ "ifResetRequired": "Resend" }), Accepts),
        ("Skip", json!({ "ifResetRequired": "Skip" }), Accepts),
        ("skip", json!({ "ifResetRequired": "skip" }), Refuses(&["spec.ifResetRequired", "Resend", "Skip"])),
        ("a time", json!({ "notAfter": "2026-11-30T00:00:00Z" }), Accepts),
        ("a time with offset", json!({ "notAfter": "2026-11-30T00:00:00.5+01:00" }), Accepts),
        ("a leap day", json!({ "notAfter": "2028-02-29T00:00:00Z" }), Accepts),
        ("no time at all", json!({ "notAfter": "tomorrow" }), Refuses(written)),
        ("an empty time", json!({ "notAfter": "" }), Refuses(written)),
        ("a date alone", json!({ "notAfter": "2026-11-30" }), Refuses(written)),
        ("a time without zone", json!({ "notAfter": "2026-11-30T00:00:00" }), Refuses(written)),
        ("a 13th month", json!({ "notAfter": "2026-13-01T00:00:00Z" }), Refuses(written)),
        (
            "a 30th of February",
            json!({ "notAfter": "2026-02-30T00:00:00Z" }),
            Refuses(&["spec.notAfter", "the month has no such day"]),
        ),
        ("the end of all times", json!({ "notAfter": "9999-12-31T23:59:59Z" }), Refuses(written)),
        ("a 25th hour", json!({ "notAfter": "2026-11-30T25:00:00Z" }), Refuses(written)),
        ("a time as number", json!({ "notAfter": 1_700_000_000 }), Refuses(expiration)),
        ("one second", json!({ "deadlineSeconds": 1 }), Accepts),
        ("30 days", json!({ "deadlineSeconds": 2_592_000 }), Accepts),
        ("no seconds", json!({ "deadlineSeconds": 0 }), Refuses(deadline)),
        ("seconds before now", json!({ "deadlineSeconds": -1 }), Refuses(deadline)),
        ("a second too many", json!({ "deadlineSeconds": 2_592_001 }), Refuses(deadline)),
        ("a duration", json!({ "deadlineSeconds": "10s" }), Refuses(deadline)),
        ("a part of a second", json!({ "deadlineSeconds": 1.5 }), Refuses(deadline)),
        ("nothing to live", json!({ "ttlSecondsAfterFinished": 0 }), Accepts),
        ("a year to live", json!({ "ttlSecondsAfterFinished": 31_536_000 }), Accepts),
        ("less than nothing to live", json!({ "ttlSecondsAfterFinished": -1 }), Refuses(lifetime)),
        ("a second too many to live", json!({ "ttlSecondsAfterFinished": 31_536_001 }), Refuses(lifetime)),
        ("a duration to live", json!({ "ttlSecondsAfterFinished": "1h" }), Refuses(lifetime)),
        ("suspended", json!({ "suspend": true }), Accepts),
        ("a word for suspended", json!({ "suspend": "yes" }), Refuses(&["spec.suspend"])),
        ("not approved", json!({ "approved": false }), Accepts),
        ("approved", json!({ "approved": true }), Refuses(&["spec.approved", "never approved on creation"])),
        (
            "approved by somebody",
            json!({ "approvedBy": { "username": "bob" } }),
            Refuses(&["spec.approved", "never approved on creation"]),
        ),
        ("a word for approved", json!({ "approved": "yes" }), Refuses(&["spec.approved"])),
        ("a field that is not one", json!({ "userPoolId": "eu-west-1_Example01" }), Refuses(&["userPoolId"])),
    ];
    let cases: Vec<_> =
        cases.into_iter().map(|(name, spec, verdict)| (name, request("tried", &spec), verdict)).collect();
    served.judges(&cases).await
}

#[tokio::test]
async fn only_suspend_may_change_and_only_while_a_request_is_pending() -> Result<()> {
    let served = Definitions::served().await?;
    // The field, its value, another value, and true if it may be absent.
    let fields = [
        ("userPoolID", json!("eu-west-1_Example01"), json!("eu-west-1_Example02"), false),
        ("username", json!("alice"), json!("Alice"), false),
        ("clientMetadata", json!({ "a": "1" }), json!({ "a": "1", "b": "2" }), true),
        ("clientMetadata", json!({ "a": "1" }), json!({ "a": "2" }), true),
        ("clientMetadata", json!({ "a": "1" }), json!({ "a": null }), true),
        ("reason", json!("phishing"), json!("Phishing"), true),
        ("ticket", json!("HELP-1"), json!("HELP-2"), true),
        ("onBehalfOf", json!("alice"), json!("bob"), true),
        ("requestedBy", json!({ "username": "u", "uid": "1" }), json!({ "username": "v" }), true),
        ("requestedBy", json!({ "username": "u", "uid": "1" }), json!({ "uid": "2" }), true),
        ("requestedBy", json!({ "username": "u", "uid": "1" }), json!({ "uid": null }), true),
        ("ifResetRequired", json!("Skip"), json!("Resend"), true),
        ("notAfter", json!("2026-11-30T00:00:00Z"), json!("2026-12-01T00:00:00Z"), true),
        ("deadlineSeconds", json!(600), json!(601), true),
        ("ttlSecondsAfterFinished", json!(60), json!(61), true),
    ];
    let mut full = json!({});
    for (field, value, _, _) in &fields {
        merge(&mut full, &json!({ *field: value }));
    }
    served.create(&request("full", &full)).await?;
    served.create(&request("bare", &json!({}))).await?;
    let mut wrong = Vec::new();
    for (field, value, other, optional) in &fields {
        let words: &'static [String] =
            vec![format!("spec.{field}"), format!("{field} is immutable: create a new request under a new name")]
                .leak();
        let words: &'static [&'static str] = words.iter().map(String::as_str).collect::<Vec<_>>().leak();
        let change = |value: &Value| json!({ "spec": { *field: value } });
        wrong.extend(served.patch("prr", "full", &change(other), Refuses(words)).await?);
        wrong.extend(served.patch("prr", "full", &change(value), Accepts).await?);
        if *optional {
            wrong.extend(served.patch("prr", "full", &change(&Value::Null), Refuses(words)).await?);
            wrong.extend(served.patch("prr", "bare", &change(value), Refuses(words)).await?);
            wrong.extend(served.patch("prr", "bare", &change(&Value::Null), Accepts).await?);
        }
    }
    let (held, on) = (json!({ "spec": { "suspend": true } }), json!({ "spec": { "suspend": false } }));
    wrong.extend(served.patch("prr", "bare", &held, Accepts).await?);
    served.kubectl(&["patch", "prr", "bare", "--type=merge", "-p", &held.to_string()]).await?;
    wrong.extend(served.patch("prr", "bare", &on, Accepts).await?);
    let words = &["spec.suspend", "suspend may change only while the outcome is Pending"];
    for outcome in OUTCOMES_AT_THE_END {
        served.status("bare", &json!({ "outcome": outcome })).await?;
        wrong.extend(served.patch("prr", "bare", &on, Refuses(words)).await?);
        wrong.extend(served.patch("prr", "bare", &held, Accepts).await?);
        wrong.extend(served.patch("prr", "bare", &json!({ "metadata": { "labels": { "a": "b" } } }), Accepts).await?);
    }
    served.status("bare", &json!({ "outcome": "Pending" })).await?;
    wrong.extend(served.patch("prr", "bare", &on, Accepts).await?);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_request_is_approved_once_while_pending_and_stays_approved() -> Result<()> {
    let served = Definitions::served().await?;
    let approve = |by: Value| json!({ "spec": { "approved": true, "approvedBy": by } });
    let by = |name: &str| json!({ "spec": { "approvedBy": { "username": name } } });
    let bob = || json!({ "username": "bob", "uid": "1" });
    let withdraw = json!({ "spec": { "approved": false } });
    let once: &[&str] = &["spec.approvedBy", "approvedBy is written once, with the approval"];
    for name in ["open", "approved", "unnamed", "ended"] {
        served.create(&request(name, &json!({}))).await?;
    }
    served.kubectl(&["patch", "prr", "approved", "--type=merge", "-p", &approve(bob()).to_string()]).await?;
    served.kubectl(&["patch", "prr", "unnamed", "--type=merge", "-p", &approve(Value::Null).to_string()]).await?;
    served.status("ended", &json!({ "outcome": "Failed" })).await?;
    let only_pending: &[&str] = &["spec.approved", "can be approved only while the outcome is Pending"];
    let withdrawn: &[&str] = &["spec.approved", "an approval cannot be withdrawn: set suspend"];
    let long = |length: usize| json!({ "username": "é".repeat(length) });
    let mut wrong = Vec::new();
    for (name, patch, verdict) in [
        ("open", approve(bob()), Accepts),
        ("open", approve(Value::Null), Accepts),
        ("open", approve(long(1024)), Accepts),
        ("open", approve(long(1025)), Refuses(&["spec.approvedBy.username"])),
        ("open", approve(json!({ "uid": "1" })), Refuses(&["spec.approvedBy.username"])),
        ("open", approve(json!({ "username": "bob\u{202e}" })), Refuses(&["spec.approvedBy.username", "one line"])),
        ("open", approve(json!({ "username": "bob", "uid": "1\n2" })), Refuses(&["spec.approvedBy.uid", "one line"])),
        ("open", by("bob"), Refuses(once)),
        ("open", withdraw.clone(), Accepts),
        ("approved", withdraw.clone(), Refuses(withdrawn)),
        ("approved", json!({ "spec": { "approved": null } }), Refuses(withdrawn)),
        ("approved", by("carol"), Refuses(once)),
        ("approved", json!({ "spec": { "approvedBy": { "uid": null } } }), Refuses(once)),
        ("approved", json!({ "spec": { "approvedBy": null } }), Refuses(once)),
        ("approved", approve(bob()), Accepts),
        ("approved", json!({ "spec": { "suspend": true } }), Accepts),
        ("unnamed", by("bob"), Refuses(once)),
        ("unnamed", withdraw.clone(), Refuses(withdrawn)),
        ("ended", approve(bob()), Refuses(only_pending)),
        ("ended", approve(Value::Null), Refuses(only_pending)),
        ("ended", withdraw, Accepts),
    ] {
        wrong.extend(served.patch("prr", name, &patch, verdict).await?);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_request_without_status_is_pending_and_found_so() -> Result<()> {
    let served = Definitions::served().await?;
    for (name, user) in [("new", "alice"), ("nulled", "bob"), ("emptied", "bob"), ("ended", "bob")] {
        served.create(&request(name, &json!({ "username": user }))).await?;
    }
    let unseen = served.get("prr", "new").await?["status"].clone();
    assert_eq!(
        (&unseen["outcome"], &unseen["observedGeneration"], &unseen["conditions"][0]["status"]),
        (&json!("Pending"), &json!(-1), &json!("Unknown"))
    );
    assert_eq!(unseen["conditions"][0]["type"], "Ready");
    for name in ["nulled", "emptied", "ended"] {
        served.status(name, &json!({ "outcome": "Succeeded", "attempts": 1 })).await?;
    }
    assert_eq!(served.selected("prr", "status.outcome=Pending").await?, ["new"]);
    let nulled = r#"{"status":null}"#;
    served.kubectl(&["patch", "prr", "nulled", "--subresource=status", "--type=merge", "-p", nulled]).await?;
    served.status("emptied", &json!({})).await?;
    assert_eq!(served.get("prr", "nulled").await?["status"], unseen);
    assert_eq!(served.get("prr", "emptied").await?["status"]["outcome"], "Pending");
    assert_eq!(served.selected("prr", "status.outcome=Pending").await?, ["emptied", "new", "nulled"]);
    assert_eq!(served.selected("prr", "status.outcome=Succeeded").await?, ["ended"]);
    assert_eq!(served.selected("prr", "spec.username=alice").await?, ["new"]);
    assert_eq!(served.selected("prr", "spec.userPoolID=eu-west-1_Example01").await?.len(), 4);

    let kubectl = served.cluster.as_admin();
    let wrong = r#"[{"op":"add","path":"/status","value":{"outcome":"Done"}}]"#;
    let refusal = kubectl.run(&["patch", "prr", "new", "--subresource=status", "--type=json", "-p", wrong]).await?;
    assert!(refusal.refusal()?.contains("status.outcome"));
    Ok(())
}

#[tokio::test]
async fn requests_are_selected_by_time_to_live_even_zero_or_absent() -> Result<()> {
    let served = Definitions::served().await?;
    for (name, lifetime) in [("none", json!(null)), ("zero", json!(0)), ("week", json!(604_800)), ("pending", json!(0))]
    {
        served.create(&request(name, &json!({ "ttlSecondsAfterFinished": lifetime }))).await?;
    }
    for name in ["none", "zero", "week"] {
        served.status(name, &json!({ "outcome": "Succeeded" })).await?;
    }
    let finished = "status.outcome!=Pending,spec.ttlSecondsAfterFinished!=";
    assert_eq!(served.selected("prr", finished).await?, ["week", "zero"]);
    assert_eq!(served.selected("prr", "spec.ttlSecondsAfterFinished=").await?, ["none"]);
    assert_eq!(served.selected("prr", "spec.ttlSecondsAfterFinished=604800").await?, ["week"]);
    Ok(())
}

#[tokio::test]
async fn what_a_record_knows_only_grows() -> Result<()> {
    let served = Definitions::served().await?;
    let effects = [("absent", Value::Null), ("notperformed", json!("NotPerformed")), ("unknown", json!("Unknown"))];
    let effects = effects.into_iter().chain([("performed", json!("Performed"))]).collect::<Vec<_>>();
    // The allowed changes, from each outcome to each, in this order.
    let may = [
        ("absent", [true, true, true, true]),
        ("notperformed", [true, true, false, false]),
        ("unknown", [false, false, true, true]),
        ("performed", [false, false, false, true]),
    ];
    let mut wrong = Vec::new();
    for ((from, allowed), (_, effect)) in may.iter().zip(&effects) {
        served.create(&record(from, &json!({ "effect": effect }))).await?;
        for ((_, to), allowed) in effects.iter().zip(allowed) {
            let verdict = if *allowed { Accepts } else { Refuses(&["effect"]) };
            let change = json!({ "effect": to, "omittedAttempts": 1 });
            wrong.extend(served.patch("prrec", from, &change, verdict).await?);
        }
    }
    let again = json!([attempt("first"), attempt("second")]);
    let timed = |id: &str, state: Option<&str>, time: Option<&str>| {
        let mut timed = attempt(id);
        merge(&mut timed, &json!({ "userStatusBefore": state, "stateReadAfter": time }));
        timed
    };
    let (confirmed, time) = (Some("CONFIRMED"), Some("2026-11-24T00:00:00Z"));
    let fixed = &["attempts", "stateReadAfter is written with the claim and never changes"][..];
    let stateless = &["attempts", "stateReadAfter requires userStatusBefore"][..];
    let identity = &["request, userPoolID and username are immutable"][..];
    let closing = |cause: &str| {
        let mut closing = attempt("none");
        merge(
            &mut closing,
            &json!({ "id": null, "claimedAt": null, "cause": cause, "closedAt": "2026-11-24T00:00:01Z" }),
        );
        closing
    };
    let by_whom = |instance: &str| {
        let mut closing = closing("Expired");
        closing["operatorInstance"] = instance.into();
        closing
    };
    let closed = &["attempts", "a closed record is never claimed again"][..];
    let kept = &["closed", "closed is final"][..];
    let without = &["closed", "a closed record has the effect NotPerformed"][..];
    let removed = &["attempts", "attempts are never removed"][..];
    let settled = &["closed", "an open claim is settled, never closed"][..];
    let open = &["attempts", "an open claim is settled, never taken over"][..];
    let expiry = &["notAfter", "notAfter may only grow"][..];
    let cases = [
        ("absent", json!({ "username": "bob" }), Refuses(identity)),
        ("absent", json!({ "userPoolID": "eu-west-1_Other" }), Refuses(identity)),
        ("absent", json!({ "request": { "name": "other" } }), Refuses(identity)),
        ("absent", json!({ "request": { "namespace": "other" } }), Refuses(identity)),
        ("performed", json!({ "username": "bob" }), Refuses(identity)),
        ("absent", json!({ "attempts": again }), Refuses(open)),
        ("absent", json!({ "attempts": [attempt("second")] }), Refuses(open)),
        ("absent", json!({ "attempts": again, "effect": "NotPerformed" }), Refuses(open)),
        ("absent", json!({ "attempts": [attempt("zeroth"), attempt("first")] }), Accepts),
        ("notperformed", json!({ "attempts": again, "effect": null }), Accepts),
        ("absent", json!({ "attempts": [timed("first", confirmed, time)] }), Refuses(fixed)),
        ("absent", json!({ "attempts": [timed("first", confirmed, None)] }), Accepts),
        ("timed", json!({ "attempts": [timed("first", confirmed, time)], "effect": null }), Accepts),
        ("timed", json!({ "attempts": [timed("first", confirmed, Some("2026-11-24T00:00:01Z"))] }), Refuses(fixed)),
        ("timed", json!({ "attempts": [timed("first", confirmed, None)] }), Refuses(fixed)),
        ("timed", json!({ "attempts": [timed("first", None, time)] }), Refuses(stateless)),
        (
            "timed",
            json!({ "attempts": [timed("first", confirmed, time), timed("second", confirmed, None)], "effect": null }),
            Accepts,
        ),
        ("absent", json!({ "schema": 2 }), Accepts),
        ("absent", json!({ "attempts": null }), Refuses(removed)),
        ("absent", json!({ "closed": closing("Expired"), "effect": "NotPerformed" }), Refuses(settled)),
        ("absent", json!({ "closed": closing("Expired") }), Refuses(without)),
        ("performed", json!({ "closed": closing("Expired") }), Refuses(without)),
        ("performed", json!({ "attempts": null }), Refuses(removed)),
        ("unknown", json!({ "closed": closing("Expired") }), Refuses(without)),
        ("notperformed", json!({ "attempts": null, "closed": closing("Expired") }), Refuses(removed)),
        ("notperformed", json!({ "attempts": null }), Refuses(&["attempts", "a record has an attempt or is closed"])),
        ("notperformed", json!({ "closed": closing("DeadlineExceeded") }), Accepts),
        ("over", json!({ "attempts": again, "effect": null }), Refuses(closed)),
        ("over", json!({ "attempts": again }), Refuses(closed)),
        ("over", json!({ "attempts": [attempt("second")] }), Refuses(closed)),
        ("over", json!({ "attempts": [attempt("zeroth"), attempt("first")] }), Refuses(closed)),
        ("over", json!({ "closed": null }), Refuses(kept)),
        ("over", json!({ "closed": null, "attempts": again, "effect": null }), Refuses(kept)),
        ("closed", json!({ "attempts": [attempt("first")], "effect": null }), Refuses(closed)),
        ("closed", json!({ "attempts": [attempt("first")] }), Refuses(closed)),
        ("closed", json!({ "effect": null }), Refuses(without)),
        ("closed", json!({ "effect": "Performed" }), Refuses(without)),
        ("closed", json!({ "closed": null }), Refuses(kept)),
        ("closed", json!({ "closed": closing("DeadlineExceeded") }), Refuses(kept)),
        ("closed", json!({ "closed": by_whom("you") }), Refuses(kept)),
        ("closed", json!({ "closed": by_whom("me") }), Accepts),
        ("closed", json!({ "omittedAttempts": 1 }), Accepts),
        ("closed", json!({ "notAfter": "2026-11-30T00:00:00Z" }), Accepts),
        ("absent", json!({ "notAfter": "2026-11-30T00:00:00Z" }), Accepts),
        ("expiring", json!({ "notAfter": "2026-11-30T00:00:00Z" }), Accepts),
        ("expiring", json!({ "notAfter": "2026-11-30T00:00:01Z" }), Accepts),
        // The same moment in the time zone one hour to the east, and one second less.
        ("expiring", json!({ "notAfter": "2026-11-30T01:00:00+01:00" }), Accepts),
        ("expiring", json!({ "notAfter": "2026-11-30T00:59:59+01:00" }), Refuses(expiry)),
        ("expiring", json!({ "notAfter": null }), Refuses(expiry)),
    ];
    let expiring = json!({ "effect": "Performed", "notAfter": "2026-11-30T00:00:00Z" });
    served.create(&record("expiring", &expiring)).await?;
    let tried_before = json!({ "closed": closing("DeadlineExceeded"), "effect": "NotPerformed" });
    served.create(&record("over", &tried_before)).await?;
    let never_claimed = json!({ "attempts": null, "closed": closing("Expired"), "effect": "NotPerformed" });
    served.create(&record("closed", &never_claimed)).await?;
    let read_before = json!({
        "attempts": [timed("first", confirmed, time)], "effect": "NotPerformed", "userSub": "sub-1",
    });
    served.create(&record("timed", &read_before)).await?;
    for (name, change, verdict) in cases {
        wrong.extend(served.patch("prrec", name, &change, verdict).await?);
    }
    served.create(&record("newer", &json!({ "schema": 2 }))).await?;
    wrong.extend(served.patch("prrec", "newer", &json!({ "schema": 1 }), Refuses(&["schema may only grow"])).await?);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let attempts = |count: usize| (0..count).map(|number| attempt(&number.to_string())).collect::<Vec<_>>();
    let tried = |fields: Value| record("tried", &fields);
    let mut null = tried(json!({ "attempts": null }));
    null["closed"] = Value::Null;
    let mut caused = attempt("first");
    caused["evidence"] = "Expired".into();
    let cases = [
        ("16 attempts", tried(json!({ "attempts": attempts(16) })), Accepts),
        (
            "17 attempts",
            tried(json!({ "attempts": attempts(17) })),
            Refuses(&["attempts", "must have at most 16 items"]),
        ),
        ("a time of the state", tried(json!({ "attempts": [timed("first", confirmed, time)] })), Accepts),
        (
            "a time that is none",
            tried(json!({ "attempts": [timed("first", confirmed, Some("yesterday"))] })),
            Refuses(&["stateReadAfter"]),
        ),
        ("a time of no state", tried(json!({ "attempts": [timed("first", None, time)] })), Refuses(stateless)),
        (
            "a time of no state in an earlier attempt",
            tried(json!({ "attempts": [timed("first", None, time), attempt("second")] })),
            Refuses(stateless),
        ),
        ("an empty list of attempts", tried(json!({ "attempts": [] })), Refuses(&["attempts"])),
        ("neither attempts nor closed", tried(json!({ "attempts": null })), Refuses(&["attempt or is closed"])),
        ("attempts, and closed", tried(json!({ "effect": "NotPerformed", "closed": closing("Expired") })), Accepts),
        ("closed, and no attempts", tried(never_claimed), Accepts),
        ("null in place of closed", null, Refuses(&["closed"])),
        ("closed without an effect", tried(json!({ "closed": closing("Expired") })), Refuses(without)),
        ("another cause", tried(json!({ "effect": "NotPerformed", "closed": closing("Bored") })), Refuses(&["cause"])),
        ("a cause for an attempt", tried(json!({ "attempts": [caused] })), Refuses(&["attempts", "evidence"])),
        ("schema 0", tried(json!({ "schema": 0 })), Refuses(&["schema"])),
        ("no user", tried(json!({ "username": null })), Refuses(&["username"])),
        ("a user of 129", tried(json!({ "username": "a".repeat(129) })), Refuses(&["username"])),
        ("another effect", tried(json!({ "effect": "Perhaps" })), Refuses(&["effect"])),
        ("a spec", tried(json!({ "spec": {} })), Refuses(&["spec"])),
    ];
    served.judges(&cases).await?;
    assert_eq!(served.selected("prrec", "effect=").await?, ["absent", "newer"]);
    assert_eq!(served.selected("prrec", "effect=Performed").await?, ["expiring", "performed"]);
    assert_eq!(served.selected("prrec", "username=alice,userPoolID=eu-west-1_Example01").await?.len(), 9);
    assert_eq!(served.selected("prrec", "userSub=sub-1").await?, ["timed"]);
    assert_eq!(served.selected("prrec", "userSub=,effect!=NotPerformed").await?.len(), 5);
    Ok(())
}

#[tokio::test]
async fn grants_that_say_too_much_or_nothing_are_refused() -> Result<()> {
    let served = Definitions::served().await?;
    let role = "arn:aws:iam::444455556666:role/cognito-reset";
    let by = |selector: Value| json!({ "namespaces": null, "namespaceSelector": selector });
    let expression = |operator: &str, values: Value| {
        let mut one = json!({ "key": "team", "operator": operator });
        merge(&mut one, &json!({ "values": values }));
        by(json!({ "matchExpressions": [one] }))
    };
    let either = &["spec", "give either namespaces"][..];
    let empty = &["spec.namespaceSelector", "an empty selector would select every namespace"][..];
    let values = &["spec.namespaceSelector.matchExpressions[0]", "In and NotIn need values"][..];
    let names = &["spec.namespaces"][..];
    let arn = &["spec.roleARN"][..];
    let id = &["spec.externalID"][..];
    let limit = &["spec.maxPendingPerNamespace"][..];
    let accounts = &["spec.approvalServiceAccounts"][..];
    let unused = &["only apply to an approval"][..];
    let approval = |field: &str, value: Value| json!({ "requireApproval": true, field: value });
    let with_uids = |mut spec: Value| {
        spec["namespaceUIDs"] = json!(["2b1cf0f2-0a3c-4a4e-9d0f-0c8c7f3c1a11"]);
        spec
    };
    let many: Vec<_> = (0..257).map(|number| format!("team-{number}")).collect();
    let cases = [
        ("names", json!({}), Accepts),
        ("all", json!({ "namespaces": ["*"] }), Accepts),
        ("a selector", by(json!({ "matchLabels": { "team": "shops" } })), Accepts),
        ("both", json!({ "namespaceSelector": { "matchLabels": { "team": "shops" } } }), Refuses(either)),
        ("neither", json!({ "namespaces": null }), Refuses(either)),
        ("all and others", json!({ "namespaces": ["*", "support"] }), Refuses(&["spec.namespaces", "list it alone"])),
        ("no names", json!({ "namespaces": [] }), Refuses(names)),
        ("257 names", json!({ "namespaces": many }), Refuses(names)),
        ("a name that is none", json!({ "namespaces": ["Support"] }), Refuses(names)),
        ("a name with a star", json!({ "namespaces": ["team-*"] }), Refuses(names)),
        ("a name of 64", json!({ "namespaces": ["a".repeat(64)] }), Refuses(names)),
        ("an empty selector", by(json!({})), Refuses(empty)),
        ("empty labels", by(json!({ "matchLabels": {} })), Refuses(empty)),
        ("empty expressions", by(json!({ "matchExpressions": [] })), Refuses(empty)),
        ("In", expression("In", json!(["shops"])), Accepts),
        ("NotIn", expression("NotIn", json!(["shops"])), Accepts),
        ("Exists", expression("Exists", Value::Null), Accepts),
        ("DoesNotExist", expression("DoesNotExist", json!([])), Accepts),
        ("In without values", expression("In", Value::Null), Refuses(values)),
        ("In with no values", expression("In", json!([])), Refuses(values)),
        ("NotIn without values", expression("NotIn", Value::Null), Refuses(values)),
        ("Exists with values", expression("Exists", json!(["shops"])), Refuses(values)),
        ("DoesNotExist with values", expression("DoesNotExist", json!(["shops"])), Refuses(values)),
        ("another operator", expression("Gt", json!(["1"])), Refuses(&["operator"])),
        ("a value of 64", expression("In", json!(["a".repeat(64)])), Refuses(&["values"])),
        ("a role", json!({ "roleARN": role }), Accepts),
        ("a role with path in China", json!({ "roleARN": "arn:aws-cn:iam::444455556666:role/a/b" }), Accepts),
        ("a role with external id", json!({ "roleARN": role, "externalID": "shops-7d1f2c" }), Accepts),
        ("a role's name", json!({ "roleARN": "a-role-by-its-mere-name" }), Refuses(arn)),
        ("a user's ARN", json!({ "roleARN": "arn:aws:iam::444455556666:user/alice" }), Refuses(arn)),
        ("an account too short", json!({ "roleARN": "arn:aws:iam::44445555666:role/cognito-reset" }), Refuses(arn)),
        ("a role with a newline", json!({ "roleARN": format!("{role}\n") }), Refuses(arn)),
        ("a role too long", json!({ "roleARN": format!("{role}{}", "a".repeat(2048)) }), Refuses(arn)),
        ("an external id alone", json!({ "externalID": "shops" }), Refuses(&["spec.externalID", "give roleARN too"])),
        ("an external id of 1", json!({ "roleARN": role, "externalID": "s" }), Refuses(id)),
        ("an external id of 1225", json!({ "roleARN": role, "externalID": "s".repeat(1225) }), Refuses(id)),
        ("an external id with a space", json!({ "roleARN": role, "externalID": "s h" }), Refuses(id)),
        ("a pattern of 256", json!({ "usernamePattern": "a".repeat(256) }), Accepts),
        ("an empty pattern", json!({ "usernamePattern": "" }), Refuses(&["spec.usernamePattern"])),
        ("a pattern of 257", json!({ "usernamePattern": "a".repeat(257) }), Refuses(&["spec.usernamePattern"])),
        ("no pool", json!({ "userPoolID": null }), Refuses(&["spec.userPoolID"])),
        ("a pool without Region", json!({ "userPoolID": "_Example01" }), Refuses(&["spec.userPoolID"])),
        ("switches", json!({ "requireNotAfter": true, "requireApproval": true, "suspend": true }), Accepts),
        ("uids", json!({ "namespaceUIDs": ["2b1cf0f2-0a3c-4a4e-9d0f-0c8c7f3c1a11"] }), Accepts),
        ("uids with a selector", with_uids(by(json!({ "matchLabels": { "team": "shops" } }))), Accepts),
        ("uids alone", with_uids(json!({ "namespaces": null })), Refuses(either)),
        ("no uids", json!({ "namespaceUIDs": [] }), Refuses(&["spec.namespaceUIDs"])),
        ("a uid that is none", json!({ "namespaceUIDs": ["*"] }), Refuses(&["spec.namespaceUIDs"])),
        ("an identity", approval("approvalIdentity", json!(["Username", "UID", "SessionName"])), Accepts),
        ("an empty identity", approval("approvalIdentity", json!([])), Refuses(&["spec.approvalIdentity"])),
        ("another identity", approval("approvalIdentity", json!(["Groups"])), Refuses(&["spec.approvalIdentity"])),
        ("an identity without approval", json!({ "approvalIdentity": ["UID"] }), Refuses(unused)),
        ("an account", approval("approvalServiceAccounts", json!(["system:serviceaccount:a:b.c"])), Accepts),
        ("no accounts", approval("approvalServiceAccounts", json!([])), Refuses(accounts)),
        ("an account's name", approval("approvalServiceAccounts", json!(["flux"])), Refuses(accounts)),
        (
            "the accounts of a namespace",
            approval("approvalServiceAccounts", json!(["system:serviceaccount:a:*"])),
            Refuses(accounts),
        ),
        (
            "an account without approval",
            json!({ "approvalServiceAccounts": ["system:serviceaccount:a:b"] }),
            Refuses(unused),
        ),
        ("a limit of 1", json!({ "maxPendingPerNamespace": 1 }), Accepts),
        ("a limit of 1000", json!({ "maxPendingPerNamespace": 1000 }), Accepts),
        ("a limit of 0", json!({ "maxPendingPerNamespace": 0 }), Refuses(limit)),
        ("a limit of 1001", json!({ "maxPendingPerNamespace": 1001 }), Refuses(limit)),
        ("a limit in words", json!({ "maxPendingPerNamespace": "few" }), Refuses(limit)),
        ("a rate of 1", json!({ "maxResetsPerMinute": 1 }), Accepts),
        ("a rate of 1800", json!({ "maxResetsPerMinute": 1800 }), Accepts),
        ("a rate of 0", json!({ "maxResetsPerMinute": 0 }), Refuses(&["spec.maxResetsPerMinute"])),
        ("a rate of 1801", json!({ "maxResetsPerMinute": 1801 }), Refuses(&["spec.maxResetsPerMinute"])),
        ("a rate of 0.5", json!({ "maxResetsPerMinute": 0.5 }), Refuses(&["spec.maxResetsPerMinute"])),
        ("a share of 1", json!({ "maxSharePercent": 1 }), Accepts),
        ("a share of all", json!({ "maxSharePercent": 100 }), Accepts),
        ("a share of nothing", json!({ "maxSharePercent": 0 }), Refuses(&["spec.maxSharePercent"])),
        ("a share of more", json!({ "maxSharePercent": 101 }), Refuses(&["spec.maxSharePercent"])),
        ("a word for a switch", json!({ "suspend": "yes" }), Refuses(&["spec.suspend"])),
        ("a field that is not one", json!({ "roleArn": role }), Refuses(&["roleArn"])),
    ];
    let cases: Vec<_> = cases.into_iter().map(|(name, spec, verdict)| (name, grant("tried", &spec), verdict)).collect();
    served.judges(&cases).await
}

#[tokio::test]
async fn a_hold_names_what_exists_and_never_changes() -> Result<()> {
    let served = Definitions::served().await?;
    let (pool, namespaces, usernames) = (&["spec.userPoolID"], &["spec.namespaces"], &["spec.usernames"]);
    let one_line = &["spec.reason", "one line of visible characters"];
    let many = |number: usize, length: usize| (0..number).map(|at| format!("{at:0length$}")).collect::<Vec<_>>();
    let cases: Vec<(&str, Value, Verdict)> = vec![
        ("a reason alone", json!({}), Accepts),
        (
            "everything",
            json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["a"], "usernames": ["b"] }),
            Accepts,
        ),
        ("the largest", json!({ "namespaces": many(256, 63), "usernames": many(256, 128) }), Accepts),
        ("no reason", json!({ "reason": null }), Refuses(&["spec.reason"])),
        ("an empty reason", json!({ "reason": "" }), Refuses(&["spec.reason"])),
        ("a reason of 257", json!({ "reason": "a".repeat(257) }), Refuses(&["spec.reason"])),
        ("a reason of two lines", json!({ "reason": "a\nb" }), Refuses(one_line)),
        ("a reason that hides", json!({ "reason": "a\u{202e}b" }), Refuses(one_line)),
        ("an empty pool", json!({ "userPoolID": "" }), Refuses(pool)),
        ("a pool without Region", json!({ "userPoolID": "Example01" }), Refuses(pool)),
        ("no namespace", json!({ "namespaces": [] }), Refuses(namespaces)),
        ("all namespaces", json!({ "namespaces": ["*"] }), Refuses(namespaces)),
        ("an upper case namespace", json!({ "namespaces": ["Support"] }), Refuses(namespaces)),
        ("257 namespaces", json!({ "namespaces": many(257, 63) }), Refuses(namespaces)),
        ("no user", json!({ "usernames": [] }), Refuses(usernames)),
        ("a user with a space", json!({ "usernames": ["alice "] }), Refuses(usernames)),
        ("a user of 129", json!({ "usernames": ["a".repeat(129)] }), Refuses(usernames)),
        ("257 users", json!({ "usernames": many(257, 3) }), Refuses(usernames)),
        ("a field that is not one", json!({ "userPoolId": "eu-west-1_Example01" }), Refuses(&["userPoolId"])),
    ];
    let cases: Vec<_> = cases.into_iter().map(|(name, spec, verdict)| (name, hold("tried", &spec), verdict)).collect();
    served.judges(&cases).await?;
    let all = json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["a"], "usernames": ["b"] });
    served.create(&hold("all", &all)).await?;
    served.create(&hold("bare", &json!({}))).await?;
    for (name, field, value) in [
        ("all", "userPoolID", json!("eu-west-1_Example02")),
        ("all", "userPoolID", Value::Null),
        ("all", "namespaces", json!(["a", "c"])),
        ("all", "namespaces", Value::Null),
        ("all", "usernames", json!(["c"])),
        ("bare", "usernames", json!(["c"])),
        ("bare", "userPoolID", json!("eu-west-1_Example02")),
        ("bare", "namespaces", json!(["c"])),
    ] {
        let patch = json!({ "spec": { field: value } }).to_string();
        let patched = ["patch", "poolhold", name, "--type=merge", "-p", &patch];
        let refused = served.cluster.as_admin().run(&patched).await?.refusal()?;
        assert!(refused.contains(&format!("{field} is immutable")), "{name} {patch}: {refused}");
    }
    served.kubectl(&["patch", "poolhold", "all", "--type=merge", "-p", r#"{"spec":{"reason":"another"}}"#]).await?;
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_and_explains_them() -> Result<()> {
    let served = Definitions::served().await?;
    for plural in CRDS {
        let definition = served.definition(plural).await?;
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut wrong = Vec::new();
        examine(schema, plural, &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    served.create(&request("reset-alice", &json!({}))).await?;
    served.create(&grant("support", &json!({}))).await?;
    served.create(&hold("stop", &json!({}))).await?;
    served.create(&record("r2-1", &json!({}))).await?;
    let headers = [
        ("prr", "default", "NAME USER POOL OUTCOME REASON PASSWORD REQUESTER AGE"),
        (
            "prr",
            "wide",
            "NAME USER POOL OUTCOME REASON PASSWORD REQUESTER MESSAGE USER NAME SUB ATTEMPTS AWS REQUEST AGE",
        ),
        ("prrec", "default", "NAME NAMESPACE REQUEST USER POOL EFFECT AGE"),
        ("poolgrant", "default", "NAME POOL SUSPENDED NAMESPACES READY REASON AGE"),
        ("poolhold", "default", "NAME POOL HELD READY REASON AGE"),
        ("poolhold", "wide", "NAME POOL NAMESPACES HELD READY REASON MESSAGE AGE"),
        ("poolgrant", "wide", "NAME POOL ROLE SUSPENDED NAMESPACES ASSUMABLE READY REASON MESSAGE AGE"),
    ];
    for (kind, output, expected) in headers {
        let arguments = if output == "wide" { vec!["get", kind, "-o", "wide"] } else { vec!["get", kind] };
        let table = served.kubectl(&arguments).await?;
        let header = table.lines().next().unwrap_or_default();
        assert_eq!(header.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{kind} {output}");
    }
    let row = served.kubectl(&["get", "prr", "--no-headers"]).await?;
    let cells: Vec<_> = row.split_whitespace().collect();
    let shown = ["reset-alice", "alice", "eu-west-1_Example01", "Pending", "Pending", "Unknown", "unverified"];
    assert_eq!(cells[..7], shown);
    let everything = served.kubectl(&["get", "cognito", "-o", "name"]).await?;
    for plural in CRDS {
        assert!(everything.contains(plural.trim_end_matches('s')), "{plural}: {everything}");
    }
    for (path, word) in [
        ("prr", "at most once"),
        ("prr.spec.suspend", "changed only while the outcome is Pending"),
        ("prr.spec.approved", "cannot be withdrawn"),
        ("prr.spec.notAfter", "written as `2036-01-01T00:00:00Z` or `2036-01-01T02:00:00+02:00`"),
        ("poolgrant.status.conflictsWith", "differ in role, external id or session tags"),
        ("prr.status.conditions.reason", "exception of Cognito"),
        ("prrec.attempts.exceptionCode", "exact code"),
        ("poolhold", "regardless of grants and approvals, until it is deleted"),
        ("poolhold.spec.usernames", "A request whose user cannot be read is held as well"),
        ("prr.spec.requestedBy.extra.sessionName", "Anyone else who may assume the role chooses it freely"),
        ("poolgrant.spec.approvalServiceAccounts", "can act as a second person"),
        ("poolgrant.spec.namespaceUIDs", "does not inherit the grant"),
        ("poolgrant.spec.namespaceSelector.matchLabels", "Labels that a namespace must have"),
    ] {
        let explained = served.kubectl(&["explain", path]).await?;
        let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(word), "{path}: {explained}");
    }
    Ok(())
}

/// Every field of a schema has a description; every string, list and map has a bound.
fn examine(schema: &Value, path: &str, wrong: &mut Vec<String>) {
    let has = |keyword: &str| !schema[keyword].is_null();
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum") || has("format"),
        Some("array") => has("maxItems") && has("items"),
        Some("object") => has("properties") || has("maxProperties") && has("additionalProperties"),
        Some("integer" | "boolean") => true,
        _ => false,
    };
    if !bounded || has("x-kubernetes-preserve-unknown-fields") {
        wrong.push(format!("{path} has no bound: {schema}"));
    }
    let root = !path.contains('.');
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        // The API server itself defines these fields.
        if root && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            wrong.push(format!("{path} has no description"));
        }
        examine(field, &path, wrong);
    }
    for (keyword, mark) in [("items", ".[]"), ("additionalProperties", ".{}")] {
        if has(keyword) {
            examine(&schema[keyword], &format!("{path}{mark}"), wrong);
        }
    }
}

#[tokio::test]
async fn every_sample_can_be_used_and_what_the_pages_show() -> Result<()> {
    let served = Definitions::served().await?;
    served.kubectl(&["create", "namespace", "support"]).await?;
    let samples = std::fs::read_dir(root("deploy/samples"))?.map(|entry| std::fs::read_to_string(entry?.path()));
    let samples = samples.collect::<Result<Vec<_>, _>>()?;
    let mut shown = shown(&std::fs::read_to_string(root("README.md"))?);
    // The other blocks of the chart's page are values.
    let chart = std::fs::read_to_string(root("deploy/helm/cognito-reset-operator/README.md"))?;
    let first = self::shown(&chart).into_iter().next().context("the chart's page shows no manifest")?;
    assert!(first.contains("kind: PasswordResetRequest"), "{first}");
    shown.push(first);
    assert!(samples.len() > 2 && shown.len() > 2, "{} samples, {} shown", samples.len(), shown.len());
    for text in samples.into_iter().chain(shown) {
        let verb = if text.contains("\n  generateName:") { "create" } else { "apply" };
        let arguments = [verb, "--validate=strict", "--dry-run=server", "-f", "-"];
        let judged = served.cluster.as_admin().run_with_input(&arguments, &text).await?;
        judged.success().with_context(|| format!("cannot be used:\n{text}"))?;
    }
    Ok(())
}

/// Returns the YAML that a page shows.
fn shown(page: &str) -> Vec<String> {
    let fences = page.split("\n```yaml\n").skip(1);
    fences.filter_map(|rest| rest.split("\n```").next()).map(|text| format!("{text}\n")).collect()
}

#[test]
fn the_files_are_what_the_operator_prints() -> Result<()> {
    let output = std::process::Command::new(binary()).arg("crds").output()?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?)?;
    assert_eq!(printed.len(), CRDS.len());
    for (plural, printed) in CRDS.iter().zip(printed) {
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(root(&format!("crds/{plural}.yaml")))?)?;
        assert_eq!(file, printed, "{plural}: run make generate");
    }
    Ok(())
}
