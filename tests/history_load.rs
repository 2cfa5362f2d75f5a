//! 20,000 records on the real API server: those that qualify are forgotten and no other one, the operator's memory stays
//! as it is without any sweep, and resets go on meanwhile.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use cognito_reset_api::{Action, PasswordResetRecord, RequestRef, record::SCHEMA};
use cognito_reset_core::ledger::Identity;
use common::Bench;
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testbed::eventually;

const RECORDS: usize = 20_000;
/// Created side by side.
const ABREAST: usize = 48;
const LIMIT: Duration = Duration::from_secs(1200);
const ARGUMENTS: [&str; 4] = [
    "--retention-scan-interval=1h",
    "--collect-rate=1000",
    "--claim-timeout=1h",
    "--log=info,cognito_reset_operator=info",
];

/// What keeps a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    /// Nothing.
    No,
    ByExpiry,
    ByRequest,
    ByOpenClaim,
    ByNewerSchema,
}

fn kept(number: usize) -> Kept {
    match number {
        0..10 => Kept::ByRequest,
        10..20 => Kept::ByOpenClaim,
        20..30 => Kept::ByNewerSchema,
        _ if number.is_multiple_of(10) => Kept::No,
        _ => Kept::ByExpiry,
    }
}

fn record(pool: &str, number: usize) -> Result<PasswordResetRecord> {
    let name = format!("reset-{number}");
    let request = RequestRef { namespace: "default".into(), name: name.clone() };
    let identity =
        Identity { action: Action::PasswordReset, request, user_pool_id: pool.into(), username: name.clone() };
    let mut fields = json!({
        "metadata": { "name": identity.record_name() }, "schema": SCHEMA, "action": "PasswordReset", "userPoolID": pool, "username": name,
        "request": { "namespace": "default", "name": name }, "effect": "Performed",
        "attempts": [{ "id": "8f0a", "operatorInstance": "gone", "requestUID": "gone", "requestedBy": { "username": "unverified" },
            "claimedAt": "2026-01-01T00:00:00Z", "evidence": "CognitoResponse", "settledAt": "2026-01-01T00:00:01Z" }],
    });
    match kept(number) {
        Kept::No | Kept::ByRequest => {}
        Kept::ByExpiry => fields["notAfter"] = "2100-01-01T00:00:00Z".into(),
        Kept::ByOpenClaim => {
            fields["effect"] = serde_json::Value::Null;
        }
        Kept::ByNewerSchema => fields["schema"] = (SCHEMA + 1).into(),
    }
    Ok(serde_json::from_value(fields)?)
}

async fn admin(bench: &Bench) -> Result<Client> {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(bench.cluster.kubeconfig())?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

/// The names of all records, and how many bytes of metadata they have.
async fn standing(records: &Api<PasswordResetRecord>) -> Result<(BTreeSet<String>, usize)> {
    let (mut names, mut bytes, mut params) = (BTreeSet::new(), 0, ListParams::default().limit(500));
    loop {
        let page = records.list_metadata(&params).await?;
        for item in &page.items {
            names.insert(item.name_any());
            bytes += serde_json::to_vec(&item.metadata)?.len();
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok((names, bytes));
        }
    }
}

/// The most memory of an operator that makes a reset and keeps everything for ever.
async fn peak_without_sweep(bench: &Bench) -> Result<usize> {
    let operator = bench.run_with(bench.operator().args(ARGUMENTS).args(["--record-retention=0"])).await?;
    bench.ask("before").await?;
    ensure!(bench.ended("before").await? == "Succeeded/ResetAccepted");
    common::peak(&operator)
}

#[tokio::test]
async fn of_20_000_records_those_that_qualify_are_forgotten_in_flat_memory_while_resets_go_on() -> Result<()> {
    let bench = Bench::start().await?;
    let records: Api<PasswordResetRecord> = Api::all(admin(&bench).await?);
    let create = async |number| {
        let created = records.create(&PostParams::default(), &record(&bench.pool, number)?).await?;
        anyhow::Ok((number, created.name_any()))
    };
    let created: Vec<(usize, String)> =
        futures::stream::iter((0..RECORDS).map(create)).buffer_unordered(ABREAST).try_collect().await?;
    let requests: Vec<String> = (0..10)
        .map(|number| bench.request(&format!("reset-{number}"), &format!("reset-{number}"), "suspend: true"))
        .collect();
    bench.apply(&requests.join("\n---\n")).await?;
    let (all, bytes) = standing(&records).await?;
    assert_eq!(all.len(), RECORDS);
    let before = peak_without_sweep(&bench).await?;

    let sweeping = bench.operator().args(ARGUMENTS).args(["--record-retention=1s"]);
    let operator = bench.run_with(sweeping).await?;
    bench.ask("meanwhile").await?;
    assert_eq!(bench.ended("meanwhile").await?, "Succeeded/ResetAccepted");
    assert!(
        !common::has_looked_through(&operator, "record").await?,
        "the sweep was over before the reset: too few records"
    );
    eventually(LIMIT, "the whole look", async || {
        ensure!(common::has_looked_through(&operator, "record").await?, "not yet");
        anyhow::Ok(())
    })
    .await?;
    let after = common::peak(&operator)?;

    let (left, _) = standing(&records).await?;
    let wanted: BTreeSet<String> =
        created.into_iter().filter(|(number, _)| kept(*number) != Kept::No).map(|(_, name)| name).collect();
    let mine: BTreeSet<String> = left.intersection(&all).cloned().collect();
    let surplus: Vec<_> = mine.difference(&wanted).take(5).collect();
    let missing: Vec<_> = wanted.difference(&mine).take(5).collect();
    assert!(surplus.is_empty() && missing.is_empty(), "not forgotten: {surplus:?}; forgotten, and needed: {missing:?}");
    let grown = after.saturating_sub(before);
    println!("{bytes} bytes of metadata; at most {before} bytes of memory without a sweep, {after} with it");
    // Held as text alone, the metadata of all would be this much, and parsed a multiple of it. A page is a fortieth.
    assert!(grown < bytes, "grown by {grown} bytes, with {bytes} bytes of metadata to look through");
    Ok(())
}
