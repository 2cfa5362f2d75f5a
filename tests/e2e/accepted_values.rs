//! The three readers of a value that a user writes: the API server on creation, its rules on every
//! later write, and the operator. A value that the first accepts is accepted by the others, and
//! they read the same in it.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context, Result, ensure};
use cognito_reset_api::{PasswordResetRequest, UserPoolGrant};
use http::Method;
use jiff::Timestamp;
use kube::ResourceExt;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::environment::with_definitions;
use testbed::{Lease, Pool};

const REQUESTS: &str = "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests";
const GRANTS: &str = "/apis/cognito-reset.dev/v1alpha1/userpoolgrants";
/// The number of spellings that are generated in addition to those of the tables.
const MADE_UP: usize = 150;

/// An API server with the CRDs, and without an operator.
struct Served(Lease);

impl Served {
    async fn start() -> Result<Self> {
        Ok(Self(Pool::of_this_process().lease(with_definitions()).await?))
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.0.as_admin().run(arguments).await?.success()
    }

    /// Posts the text as it is and returns true if it is accepted. kubectl would write numbers and
    /// escapes in its own form.
    async fn posts(&self, path: &str, json: &str) -> Result<bool> {
        Ok(self.0.request_with_text(Method::POST, path, json.to_owned()).await?.0.is_success())
    }

    /// Reads all objects of the kind, as the operator reads them, from the very bytes that the API
    /// server sends.
    async fn read<K: DeserializeOwned + ResourceExt>(&self, path: &str) -> Result<Vec<K>> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", "--raw", path]).await?)?;
        let items = list["items"].as_array().context("no items")?;
        items.iter().map(|item| serde_json::from_value(item.clone()).with_context(|| item.to_string())).collect()
    }

    /// Checks every way in which an object is written later: its status, its metadata, and its
    /// spec.
    async fn takes_later_writes(&self, path: &str, status: &Value) -> Result<()> {
        let list = self.0.read(path).await?;
        let names: Vec<_> =
            list["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]["name"]).collect();
        ensure!(!names.is_empty(), "nothing was taken");
        for name in names.into_iter().filter_map(Value::as_str) {
            for (subresource, patch) in [
                ("/status", json!({ "status": status })),
                ("", json!({ "spec": { "suspend": true } })),
                ("", json!({ "metadata": { "labels": { "looked": "at" } } })),
            ] {
                let path = format!("{path}/{name}{subresource}");
                let (code, output) = self.0.request(Method::PATCH, &path, Some(&patch)).await?;
                ensure!(code.is_success(), "{path} {patch}: {output}");
            }
        }
        Ok(())
    }
}

/// Spellings, and true for those that are accepted. Most of the others do not pass the format
/// `date-time`, or another reader of times.
const SPELLINGS: &[(&str, bool)] = &[
    ("2036-01-01T00:00:00Z", true),
    ("1970-01-01T00:00:00Z", true),
    ("9998-12-31T23:59:59Z", true),
    ("1969-12-31T23:59:59Z", false),
    ("9999-01-01T00:00:00Z", false),
    ("9999-12-30T22:00:00Z", false),
    ("9999-12-31T23:59:59Z", false),
    ("0000-01-01T00:00:00Z", false),
    ("0001-01-01T00:00:00+01:00", false),
    ("12036-01-01T00:00:00Z", false),
    ("+2036-01-01T00:00:00Z", false),
    ("-2036-01-01T00:00:00Z", false),
    ("+012036-01-01T00:00:00Z", false),
    ("2036-01-01T00:00:00.1Z", true),
    ("2036-01-01T00:00:00.123456789Z", true),
    ("2036-01-01T00:00:00.1234567891Z", false),
    ("2036-01-01T00:00:00.12345678912345678901234567890Z", false),
    ("2036-01-01T00:00:00,5Z", false),
    ("2036-01-01T00:00:00x5Z", false),
    ("2036-01-01T00:00:00 5Z", false),
    ("2036-01-01T00:00:00.Z", false),
    ("2036-01-01T00:00:00+00:00", true),
    ("2036-01-01T00:00:00-00:00", true),
    ("2036-01-01T00:00:00+14:00", true),
    ("2036-01-01T00:00:00+23:59", true),
    ("2036-01-01T00:00:00-23:59", true),
    ("1970-01-01T00:00:00+23:59", true),
    ("9998-12-31T23:59:59.999999999-23:59", true),
    ("2036-01-01T00:00:00+24:00", false),
    ("2036-01-01T00:00:00+25:59", false),
    ("2036-01-01T00:00:00+99:99", false),
    ("2036-01-01T00:00:00+01:60", false),
    ("2036-01-01T00:00:00+0100", false),
    ("2036-01-01T00:00:00+01", false),
    ("2036-01-01T00:00:00+01:00:00", false),
    ("2036-01-01T00:00:00\u{2212}01:00", false),
    ("2036-12-31T23:59:60Z", false),
    ("2036-01-01T24:00:00Z", false),
    ("2036-01-01T00:60:00Z", false),
    ("2036-01-01t00:00:00Z", false),
    ("2036-01-01T00:00:00z", false),
    ("2036-01-01 00:00:00Z", false),
    (" 2036-01-01T00:00:00Z", false),
    ("2036-01-01T00:00:00Z ", false),
    ("2036-01-01T00:00:00Z\n", false),
    ("2036-01-01T00:00:00 Z", false),
    ("2036-01-01T00:00:00", false),
    ("2036-01-01T00:00Z", false),
    ("2036-01-01T0:00:00Z", false),
    ("2036-1-1T00:00:00Z", false),
    ("20360101T000000Z", false),
    ("2036-W01-2T00:00:00Z", false),
    ("2036-001T00:00:00Z", false),
    ("2036-01-01", false),
    ("2085978496", false),
    ("", false),
    ("never", false),
    ("2036-01-01T00:00:00Z[UTC]", false),
    ("2036-01-01T00:00:00Ztail", false),
    ("2036-01-01T00:00:00ZT00:00:00Z", false),
    ("\u{ff12}\u{ff10}\u{ff13}\u{ff16}-01-01T00:00:00Z", false),
    ("2036-02-29T00:00:00Z", true),
    ("2000-02-29T00:00:00Z", true),
    ("2035-02-29T00:00:00Z", false),
    ("2100-02-29T00:00:00Z", false),
    ("2036-02-30T00:00:00Z", false),
    ("2035-02-28T00:00:00Z", true),
    ("2036-04-30T00:00:00Z", true),
    ("2036-04-31T00:00:00Z", false),
    ("2036-06-31T00:00:00Z", false),
    ("2036-09-31T00:00:00Z", false),
    ("2036-11-31T00:00:00Z", false),
    ("2036-12-31T00:00:00Z", true),
    ("2036-00-01T00:00:00Z", false),
    ("2036-13-01T00:00:00Z", false),
    ("2036-01-00T00:00:00Z", false),
    ("2036-01-32T00:00:00Z", false),
];

/// Times near those that can be written: of good parts mostly, and with a character changed now and
/// then.
fn made_up() -> impl Strategy<Value = String> {
    // A text is a strategy: it generates the texts that it matches as a pattern.
    let part = |good: &'static str, odd: &'static str| prop_oneof![12 => good, 1 => odd];
    let date = (
        part("(19[7-9]|20[0-9]|99[0-8])[0-9]", "[+-]?[0-9]{2,6}"),
        part("0[1-9]|1[0-2]", "[0-9]{1,2}"),
        part("0[1-9]|[12][0-9]|30", "3[0-9]"),
    );
    let time = (part("[01][0-9]|2[0-3]", "[0-9]{1,2}"), part("[0-5][0-9]", "[0-9]{2}"), part("[0-5][0-9]", "[0-9]{2}"));
    let rest = (
        part("(\\.[0-9]{1,9})?", "[.,x][0-9]{0,12}"),
        part("Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]", "z|[+-][0-9]{2}:?[0-9]{2}"),
    );
    let edit = prop::option::weighted(0.2, (any::<prop::sample::Index>(), "[0-9TtZz:+. -]?"));
    (date, part("T", "[t ]"), time, rest, edit).prop_map(|((y, m, d), t, (h, min, s), (fraction, offset), edit)| {
        let mut text = format!("{y}-{m}-{d}{t}{h}:{min}:{s}{fraction}{offset}");
        if let Some((at, with)) = edit {
            let at = at.index(text.len());
            text.replace_range(at..=at, &with);
        }
        text
    })
}

#[tokio::test]
async fn every_accepted_time_is_read_as_the_same_moment_by_all() -> Result<()> {
    let served = Served::start().await?;
    // The run is deterministic, so that a failure can be seen again.
    let mut runner = TestRunner::deterministic();
    let made_up =
        (0..MADE_UP).map(|_| Ok(made_up().new_tree(&mut runner).map_err(|why| anyhow::anyhow!("{why}"))?.current()));
    let made_up = made_up.collect::<Result<Vec<_>>>()?;
    let spellings: Vec<_> = SPELLINGS.iter().map(|(text, _)| (*text).to_owned()).chain(made_up).collect();
    let object = |(number, text): (usize, &String)| {
        json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
            "metadata": { "name": format!("n{number}") },
            "spec": { "userPoolID": "eu-west-1_Example01", "username": "alice", "notAfter": text },
        })
    };
    let mut output = String::new();
    for numbered in spellings.iter().enumerate() {
        let (status, response) = served.0.request(Method::POST, REQUESTS, Some(&object(numbered))).await?;
        if !status.is_success() {
            output += &format!("{}\n", response["message"].as_str().unwrap_or_default());
        }
    }
    let read = served.read::<PasswordResetRequest>(REQUESTS).await?;
    let read: BTreeMap<_, _> = read.into_iter().map(|request| (request.name_any(), request)).collect();
    let mut wrong = Vec::new();
    for (number, (text, taken)) in SPELLINGS.iter().enumerate() {
        if read.contains_key(&format!("n{number}")) != *taken {
            wrong.push(format!("{text:?} should be {}", if *taken { "taken" } else { "refused" }));
        }
    }
    assert!(wrong.is_empty(), "{}\n{output}", wrong.join("\n"));
    let explained = ["write the time as 2036-01-01T00:00:00Z", "the month has no such day"];
    for line in output.lines().filter(|line| line.contains("is invalid")) {
        assert!(explained.iter().any(|words| line.contains(words)), "{line}");
        assert!(!line.contains("evaluating rule"), "a rule fails: {line}");
    }
    let taken = read.len();
    assert!(taken > 40 && spellings.len() - taken > 60, "{taken} of {} are taken", spellings.len());
    served.takes_later_writes(REQUESTS, &json!({ "attempts": 1 })).await?;
    // In the spelling of the operator the rules see the same moment; a nanosecond later they do
    // not.
    let years = Timestamp::UNIX_EPOCH.."9999-01-01T00:00:00Z".parse()?;
    for (name, request) in &read {
        let moment = request.spec.not_after.as_ref().context("no time")?.0;
        let later = moment.checked_add(jiff::SignedDuration::from_nanos(1))?;
        for (again, same) in [(moment, true), (later, false)] {
            if !years.contains(&again) {
                continue;
            }
            let patch = json!({ "spec": { "notAfter": again.to_string() } });
            let (status, output) =
                served.0.request(Method::PATCH, &format!("{REQUESTS}/{name}?dryRun=All"), Some(&patch)).await?;
            let number: usize = name.trim_start_matches('n').parse()?;
            assert_eq!(status.is_success(), same, "{:?} as {again}: {output}", spellings[number]);
            assert!(same || output.to_string().contains("notAfter is immutable"), "{output}");
        }
    }
    Ok(())
}

/// Values that may replace any value.
const ANYTHING: [&str; 9] = ["null", "{}", "[]", "\"\"", "0", "false", "true", "[null]", "{\"a\":null}"];
/// Values that may replace a number; many of them spell a whole number in another way.
const NUMBERS: [&str; 17] = [
    "20.0",
    "1e3",
    "1E2",
    "1.0e1",
    "2e-1",
    "20.5",
    "1e400",
    "1e18",
    "1e19",
    "9223372036854775807",
    "9223372036854775808",
    "-0",
    "-0.0",
    "0x10",
    "020",
    "\"20\"",
    "-9223372036854775809",
];

fn each(fields: &[&str], values: &[&str]) -> Vec<String> {
    fields.iter().flat_map(|field| values.iter().map(move |value| format!(r#""{field}":{value}"#))).collect()
}

/// Returns requests with odd values in fields beside a minimal spec.
fn odd_requests() -> Vec<String> {
    let fields = [
        "userPoolID",
        "username",
        "clientMetadata",
        "reason",
        "ticket",
        "onBehalfOf",
        "requestedBy",
        "ifResetRequired",
        "notAfter",
        "deadlineSeconds",
        "ttlSecondsAfterFinished",
        "suspend",
        "approved",
        "approvedBy",
    ];
    let more = [
        r#""clientMetadata":{"a\u0000b":"\u0000"}"#,
        r#""clientMetadata":{"\ud83d":"\udc00"}"#,
        r#""clientMetadata":{"\ud83d\ude00":"\u2028"}"#,
        r#""clientMetadata":{"a":1}"#,
        r#""clientMetadata":{"a":"1","a":"2"}"#,
        r#""clientMetadata":{"":"a"}"#,
        r#""requestedBy":{"username":"u","uid":null}"#,
        r#""requestedBy":{"username":null}"#,
        r#""requestedBy":{"username":"u","extra":null}"#,
        r#""requestedBy":{"username":"u","extra":{}}"#,
        r#""requestedBy":{"username":"u","extra":{"arn":null,"more":["1"]}}"#,
        r#""requestedBy":{"username":"u","extra":{"sessionName":["alice"]}}"#,
        r#""requestedBy":{"username":"u","more":1}"#,
        r#""reason":"a","reason":"b""#,
        r#""username":"a\ud800b""#,
        r#""username":"\u00e9""#,
        r#""ifResetRequired":"Ask""#,
        r#""ifResetRequired":"skip""#,
        r#""suspend":"true""#,
        r#""SUSPEND":true,"suspend":false"#,
        r#""unknown":{"a":1}"#,
        r#""notAfter":["2036-01-01T00:00:00Z"]"#,
    ];
    let numbers = each(&["deadlineSeconds", "ttlSecondsAfterFinished"], &NUMBERS);
    [each(&fields, &ANYTHING), numbers, more.map(str::to_owned).to_vec()].concat()
}

fn odd_grants() -> Vec<String> {
    let fields = [
        "userPoolID",
        "usernamePattern",
        "roleARN",
        "externalID",
        "sessionTags",
        "userStateSource",
        "requireNotAfter",
        "requireApproval",
        "approvalIdentity",
        "approvalServiceAccounts",
        "namespaceUIDs",
        "suspend",
        "maxPendingPerNamespace",
        "maxResetsPerMinute",
        "maxSharePercent",
    ];
    let role = r#""roleARN":"arn:aws:iam::123456789012:role/one""#;
    let tags = [r#""Full""#, r#""UID""#, r#""None""#, r#""Uid""#, r#""full""#, r#""none""#, r#"["UID"]"#];
    let named: Vec<_> = [
        each(&fields, &ANYTHING),
        each(&["maxPendingPerNamespace", "maxResetsPerMinute", "maxSharePercent"], &NUMBERS),
        each(&["namespaceSelector"], &ANYTHING),
        // These are taken beside a role alone.
        each(&["externalID", "sessionTags"], &ANYTHING).iter().map(|fields| format!("{role},{fields}")).collect(),
        each(&["approvalIdentity", "approvalServiceAccounts"], &ANYTHING)
            .iter()
            .map(|fields| format!(r#""requireApproval":true,{fields}"#))
            .collect(),
        each(
            &["userStateSource"],
            &[r#""AdminGetUser""#, r#""ListUsers""#, r#""None""#, r#""listusers""#, r#""Never""#],
        ),
        each(&["sessionTags"], &tags).iter().map(|fields| format!("{role},{fields}")).collect(),
        each(&["roleARN"], &[r#""arn:aws:iam::123456789012:role/one""#, r#""arn:aws:iam::123456789012:user/one""#]),
    ]
    .concat()
    .into_iter()
    .map(|fields| format!(r#""namespaces":["a"],{fields}"#))
    .collect();
    let selectors = [
        r#"{"matchLabels":null,"matchExpressions":[{"key":"a","operator":"Exists"}]}"#,
        r#"{"matchLabels":{"a":null}}"#,
        r#"{"matchLabels":{"a":""}}"#,
        r#"{"matchLabels":{"a":true}}"#,
        r#"{"matchLabels":{"a":"b","a":"c"}}"#,
        r#"{"matchLabels":{"a":"b"},"matchExpressions":null}"#,
        r#"{"matchLabels":{"a":"b"},"matchExpressions":[]}"#,
        r#"{"matchLabels":{"a":"b"},"more":1}"#,
        r#"{"matchExpressions":[null]}"#,
        r#"{"matchExpressions":[{"key":"a","operator":"exists"}]}"#,
        r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":null}]}"#,
        r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":[]}]}"#,
        r#"{"matchExpressions":[{"key":"a","operator":"In","values":[null]}]}"#,
        r#"{"matchExpressions":[{"key":"a","operator":"In","values":["b","b"]}]}"#,
    ];
    let namespaces = [r#""namespaces":["a","a"]"#, r#""namespaces":["a",null]"#].map(str::to_owned).to_vec();
    [named, each(&["namespaces", "namespaceSelector"], &ANYTHING), each(&["namespaceSelector"], &selectors), namespaces]
        .concat()
}

async fn whatever_is_taken_is_read<K>(
    served: &Served,
    name: &str,
    spec: &str,
    path: &str,
    cases: &[String],
) -> Result<()>
where
    K: DeserializeOwned + ResourceExt + Debug,
{
    let mut taken = 0;
    for (number, fields) in cases.iter().enumerate() {
        let json = format!(
            r#"{{"apiVersion":"cognito-reset.dev/v1alpha1","kind":"{name}","metadata":{{"name":"n{number}"}},"spec":{{{spec},{fields}}}}}"#
        );
        taken += usize::from(served.posts(path, &json).await?);
    }
    let refused = cases.len() - taken;
    assert!(taken > 20 && refused > 40, "{name}: {taken} taken, {refused} refused");
    assert_eq!(served.read::<K>(path).await?.len(), taken);
    served.takes_later_writes(path, &json!({ "observedGeneration": 1 })).await?;
    assert_eq!(served.read::<K>(path).await?.len(), taken);
    Ok(())
}

#[tokio::test]
async fn every_accepted_value_can_be_read_and_written_again() -> Result<()> {
    let served = Served::start().await?;
    let spec = r#""userPoolID":"eu-west-1_Example01","username":"alice""#;
    let request = "PasswordResetRequest";
    whatever_is_taken_is_read::<PasswordResetRequest>(&served, request, spec, REQUESTS, &odd_requests()).await?;
    let spec = r#""userPoolID":"eu-west-1_Example01""#;
    whatever_is_taken_is_read::<UserPoolGrant>(&served, "UserPoolGrant", spec, GRANTS, &odd_grants()).await
}
