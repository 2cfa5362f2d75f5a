//! Text and objects that are made to mislead or to exhaust. Each gets a bounded and clear response.
//! Status, Events, logs, tables and records stay sound with everything that is accepted.

mod objects;
mod pending;
mod ungranted;

use std::collections::BTreeMap;

use crate::logs;
use anyhow::{Context, Result, ensure};
use cognito_reset_core::escape::is_hidden;
use http::Method;
use serde_json::{Map, Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Operator, eventually};

/// Texts that an attacker may try, many with characters that people do not see.
const TEXTS: &[(&str, &str)] = &[
    ("newline", "all\nwell"),
    ("return", "all\r\nwell"),
    ("nul", "all\0well"),
    ("tab", "all\twell"),
    ("escape", "\u{1b}[2J\u{1b}[31mall well"),
    ("c1", "\u{9b}31mall well"),
    ("delete", "all\u{7f}well"),
    ("line-separator", "all\u{2028}well"),
    ("paragraph-separator", "all\u{2029}well"),
    ("turned-around", "all \u{202e}llew"),
    ("isolated", "\u{2066}all well\u{2069}"),
    ("marked", "all\u{200f}well"),
    ("zero-width", "all\u{200b}well"),
    ("byte-order", "\u{feff}all well"),
    ("soft-hyphen", "all\u{ad}well"),
    ("tags", "all\u{e0041}\u{e0042}well"),
];

/// A field that holds a text.
struct Field {
    kind: &'static str,
    path: &'static str,
    /// Returns a spec with this text in it.
    spec: fn(&str) -> Value,
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// One visible line, up to this many characters; the refusal says so.
    OneLine(usize),
    /// Less than that: the definition has a pattern, or a list of values.
    Less,
    /// Anything, up to this many characters.
    Anything(usize),
}
use Takes::{Anything, Less, OneLine};

const FIELDS: &[Field] = &[
    request("reason", OneLine(1024), |text| json!({ "reason": text })),
    request("ticket", OneLine(256), |text| json!({ "ticket": text })),
    request("onBehalfOf", OneLine(256), |text| json!({ "onBehalfOf": text })),
    request("requestedBy.username", OneLine(1024), |text| json!({ "requestedBy": { "username": text } })),
    request("requestedBy.uid", OneLine(256), |text| json!({ "requestedBy": { "username": "u", "uid": text } })),
    request("requestedBy.extra.arn", Less, |text| extra("arn", text)),
    request("requestedBy.extra.principalId", Less, |text| extra("principalId", text)),
    request("requestedBy.extra.sessionName", Less, |text| extra("sessionName", text)),
    request("username", Less, |text| json!({ "username": text })),
    request("userPoolID", Less, |text| json!({ "userPoolID": text })),
    request("ifResetRequired", Less, |text| json!({ "ifResetRequired": text })),
    request("notAfter", Less, |text| json!({ "notAfter": text })),
    request("clientMetadata", Anything(128), |text| json!({ "clientMetadata": { text: "value" } })),
    // The texts have four bytes a character, and the key takes three of the 8192 bytes.
    request("clientMetadata", Anything(2047), |text| json!({ "clientMetadata": { "key": text } })),
    grant("usernamePattern", OneLine(256), |text| json!({ "usernamePattern": text })),
    grant("userPoolID", Less, |text| json!({ "userPoolID": text })),
    grant("namespaces", Less, |text| json!({ "namespaces": [text] })),
    grant("namespaceUIDs", Less, |text| json!({ "namespaceUIDs": [text] })),
    grant("approvalIdentity", Less, |text| json!({ "requireApproval": true, "approvalIdentity": [text] })),
    grant(
        "approvalServiceAccounts",
        Less,
        |text| json!({ "requireApproval": true, "approvalServiceAccounts": [text] }),
    ),
    grant("roleARN", Less, |text| json!({ "roleARN": format!("arn:aws:iam::123456789012:role/{text}") })),
    grant("externalID", Less, |text| json!({ "roleARN": "arn:aws:iam::123456789012:role/r", "externalID": text })),
    grant("namespaceSelector.matchLabels", Less, |text| selector(json!({ "matchLabels": { text: "a" } }))),
    grant("namespaceSelector.matchLabels", Less, |text| selector(json!({ "matchLabels": { "a": text } }))),
    grant("namespaceSelector.matchExpressions", Less, |text| {
        selector(json!({ "matchExpressions": [{ "key": text, "operator": "Exists" }] }))
    }),
    grant("namespaceSelector.matchExpressions", Less, |text| {
        selector(json!({ "matchExpressions": [{ "key": "a", "operator": text }] }))
    }),
    grant("namespaceSelector.matchExpressions", Less, |text| {
        selector(json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": [text] }] }))
    }),
    hold("reason", OneLine(256), |text| json!({ "reason": text })),
    hold("userPoolID", Less, |text| json!({ "userPoolID": text })),
    hold("namespaces", Less, |text| json!({ "namespaces": [text] })),
    hold("usernames", Less, |text| json!({ "usernames": [text] })),
];

const fn hold(path: &'static str, takes: Takes, spec: fn(&str) -> Value) -> Field {
    Field { kind: "UserPoolHold", path, spec, takes }
}

const fn request(path: &'static str, takes: Takes, spec: fn(&str) -> Value) -> Field {
    Field { kind: "PasswordResetRequest", path, spec, takes }
}

const fn grant(path: &'static str, takes: Takes, spec: fn(&str) -> Value) -> Field {
    Field { kind: "UserPoolGrant", path, spec, takes }
}

fn selector(selector: Value) -> Value {
    json!({ "namespaces": null, "namespaceSelector": selector })
}

fn extra(key: &str, text: &str) -> Value {
    json!({ "requestedBy": { "username": "u", "extra": { key: text } } })
}

impl Field {
    fn object(&self, name: &str, text: &str) -> Value {
        let mut spec = match self.kind {
            "UserPoolGrant" => json!({ "userPoolID": "eu-west-1_Example01", "namespaces": ["support"] }),
            "UserPoolHold" => json!({ "reason": "incident 1042" }),
            _ => json!({ "userPoolID": "eu-west-1_Example01", "username": "alice" }),
        };
        let fields = (self.spec)(text);
        for (field, value) in fields.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let spec: Map<_, _> = spec
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        json!({ "apiVersion": "cognito-reset.dev/v1alpha1", "kind": self.kind, "metadata": { "name": name, "namespace": "default" }, "spec": spec })
    }

    /// Returns the text for each name, and true if it is accepted.
    fn cases(&self) -> BTreeMap<String, (String, bool)> {
        let hidden = TEXTS
            .iter()
            .map(|(name, text)| ((*name).to_owned(), ((*text).to_owned(), matches!(self.takes, Anything(_)))));
        let visible = !matches!(self.takes, Less);
        let wide = |length: usize| "\u{1F600}".repeat(length);
        let (OneLine(most) | Anything(most)) = self.takes else {
            return hidden.chain([("megabyte".into(), (wide(1 << 18), false))]).collect();
        };
        let lengths = [
            ("longest".into(), (wide(most), true)),
            ("too-long".into(), (wide(most + 1), false)),
            ("megabyte".into(), (wide(1 << 18), false)),
        ];
        let languages = [
            ("joined".into(), ("می\u{200c}خواهم \u{1F469}\u{200d}\u{1F4BB}".into(), visible)),
            ("from-the-right".into(), ("איפוס סיסמה".into(), visible)),
            ("markup".into(), ("<script>'\"\\{{.}}$(x)`%s%n".into(), visible)),
        ];
        hidden.chain(lengths).chain(languages).collect()
    }
}

/// Tries to create all objects, and returns the message about each that is refused.
async fn tried(env: &Environment, objects: &[Value]) -> Result<BTreeMap<String, String>> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let arguments = ["create", "--validate=strict", "--dry-run=server", "-f", "-"];
    let output = env.cluster.as_admin().run_with_input(&arguments, &list).await?;
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for line in output.stderr.lines() {
        if let Some((before, _)) = line.split_once("\" is invalid: ") {
            current = before.rsplit('"').next().unwrap_or_default().to_owned();
        }
        let text = refused.entry(current.clone()).or_default();
        text.push_str(line);
        text.push('\n');
    }
    ensure!(output.stdout.lines().count() + refused.len() == objects.len(), "{output}");
    Ok(refused)
}

#[tokio::test]
async fn every_field_takes_or_refuses_every_text_and_says_so() -> Result<()> {
    let env = Environment::start().await?;
    // Only the CRDs apply: a policy would refuse every requester but the administrator.
    env.kubectl(&["delete", "validatingadmissionpolicybinding", "cognito-reset-requester"]).await?;
    let other = env.request("other", "other", "requestedBy: {username: root}");
    let dry = ["create", "--dry-run=server", "-f", "-"];
    eventually(LIMIT, "the policy to be gone", async || {
        env.cluster.as_admin().run_with_input(&dry, &other).await?.success()
    })
    .await?;
    let mut wrong = Vec::new();
    for (number, field) in FIELDS.iter().enumerate() {
        let cases = field.cases();
        let objects: Vec<_> = cases.iter().map(|(name, (text, _))| field.object(name, text)).collect();
        let refused = tried(&env, &objects).await?;
        for (name, (text, taken)) in &cases {
            let at = format!("{} {}, {name} ({number})", field.kind, field.path);
            match (refused.get(name), taken) {
                (None, true) => {}
                (None, false) => wrong.push(format!("{at}: taken")),
                (Some(output), true) => wrong.push(format!("{at}: {output}")),
                (Some(output), false) => {
                    let known = ["too-long", "megabyte"].contains(&name.as_str());
                    let clear = matches!(field.takes, OneLine(_)) && !known;
                    let path = format!("spec.{}", field.path);
                    if !output.contains(&path) || (clear && !output.contains("write one line of visible characters")) {
                        wrong.push(format!("{at}: not clear: {output}"));
                    }
                    // A refusal may quote the refused value, if the quote shows hidden characters.
                    // Only its author sees the refusal: the API server repeats a word that is not
                    // in a list once, and a time twice, in full.
                    let most = 16_384 + if field.takes == Less { 2 * text.len() } else { 0 };
                    if output.len() > most || output.chars().any(|it| it != '\n' && is_hidden(it)) {
                        wrong.push(format!(
                            "{at}: not sound: {} bytes, {:?}",
                            output.len(),
                            &output.chars().take(300).collect::<String>()
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A request as raw JSON, with escapes that no serializer writes.
async fn posted(env: &Environment, name: &str, fields: &str) -> Result<Value> {
    let pool = &env.pool;
    let json = format!(
        r#"{{"apiVersion":"cognito-reset.dev/v1alpha1","kind":"PasswordResetRequest","metadata":{{"name":"{name}"}},"spec":{{"userPoolID":"{pool}",{fields}}}}}"#
    );
    let path = "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests";
    let output = env.cluster.as_admin().run_with_input(&["create", "--raw", path, "-f", "-"], &json).await?;
    serde_json::from_str(&output.success()?).context("not JSON")
}

#[tokio::test]
async fn what_is_accepted_is_carried_soundly_to_the_end() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let all: String = TEXTS.iter().map(|(_, text)| *text).collect();
    let metadata: Map<_, _> = TEXTS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), json!(text)))
        .chain([(all.chars().take(128).collect(), json!(all))])
        .collect();
    let longest = "\u{1F600}".repeat(1024);
    let username = "%0a$(x)`'\"<b>\\é\u{301}\u{1F600}名前";
    env.users.create_user(&env.pool, username).await?;
    let mut object = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": { "name": "full", "namespace": "default", "annotations": { "a/b": format!("{all}{}", "a".repeat(200 << 10)) } },
        "spec": { "userPoolID": env.pool, "username": username, "reason": longest, "clientMetadata": metadata },
    });
    env.cluster.as_admin().run_with_input(&["create", "-f", "-"], &object.to_string()).await?.success()?;
    assert_eq!(env.ended("full").await?, "Succeeded/ResetAccepted");
    let calls = env.cognito.operation("AdminResetUserPassword");
    assert_eq!(
        calls[0].seen.json(),
        json!({ "UserPoolId": env.pool, "Username": username, "ClientMetadata": metadata })
    );
    let record = env.record("full").await?.context("no record")?;
    assert_eq!((&record["username"], &record["attempts"][0]["reason"]), (&json!(username), &json!(longest)));
    let kept = env.get("prr", "full").await?;
    assert_eq!(kept["metadata"]["annotations"], object["metadata"]["annotations"], "a write of the status leaves them");
    object["status"] = kept["status"].clone();
    assert!(!object["status"].to_string().chars().any(is_hidden));

    // A surrogate without its other half is no character; the API server puts U+FFFD in its place.
    let made = posted(
        &env,
        "surrogate",
        r#""username":"a\ud800b","reason":"\udc00","ticket":null,"clientMetadata":{"a":"\ud83d"}"#,
    )
    .await?;
    assert_eq!((&made["spec"]["username"], &made["spec"]["reason"]), (&json!("a\u{fffd}b"), &json!("\u{fffd}")));
    assert_eq!(env.ended("surrogate").await?, "Failed/UserNotFoundException");

    for arguments in [&["get", "prr,prrec,poolgrant,events", "-A", "-o", "wide"][..], &["get", "prr"]] {
        let table = env.kubectl(arguments).await?;
        assert!(table.lines().all(|line| line.len() < 4096 && !line.chars().any(is_hidden)), "{table}");
    }
    let (_, metrics) = operator.page("/metrics").await?;
    assert!(metrics.lines().all(|line| line.is_ascii() && line.len() < 512), "{metrics}");
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn a_request_older_than_these_rules_is_performed_and_recorded() -> Result<()> {
    let env = Environment::start().await?;
    let crd = env.get("crd", "passwordresetrequests.cognito-reset.dev").await?;
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/reason/x-kubernetes-validations";
    let rule = crd.pointer(path).context("no rule")?;
    let changed = async |patch: Value| -> Result<String> {
        let patch = json!([patch]).to_string();
        env.kubectl(&["patch", "crd", "passwordresetrequests.cognito-reset.dev", "--type=json", "-p", &patch]).await
    };
    let manifest = env.request("older", "older", "reason: \"all\\nwell\"");
    env.users.create_user(&env.pool, "older").await?;
    changed(json!({ "op": "remove", "path": path })).await?;
    eventually(LIMIT, "the looser definition", async || env.apply(&manifest).await).await?;
    changed(json!({ "op": "add", "path": path, "value": rule })).await?;
    let probe = manifest.replace("name: older", "name: probe");
    let dry = ["apply", "--dry-run=server", "-f", "-"];
    eventually(LIMIT, "the rule", async || env.cluster.as_admin().run_with_input(&dry, &probe).await?.refusal())
        .await?;
    let _operator = env.run().await?;
    assert_eq!(env.ended("older").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.record("older").await?.context("no record")?["attempts"][0]["reason"], "all\nwell");
    Ok(())
}
