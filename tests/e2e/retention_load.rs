//! Many records on the real API server. Those that qualify are deleted, and no other one. The
//! operator's memory stays as it is without a scan, and resets go on meanwhile.
//!
//! A sample of 2,000 records is a part of `make test`; `make load-retention` has 20,000. The
//! records that qualify are chosen at random each time, and `RETENTION_SEED` repeats what an
//! earlier run has printed.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use cognito_reset_api::{Action, PasswordResetRecord, RequestRef, record::SCHEMA};
use cognito_reset_core::ledger::Identity;
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testbed::environment::Environment;
use testbed::eventually;

/// The number of records unless `RETENTION_RECORDS` gives another.
const SAMPLE: usize = 2_000;
/// The memory that a page of 500 records may take, parsed, with what the allocator keeps. A sample
/// has no more metadata than that.
const PAGE: usize = 8 << 20;
/// The number of records that are created at the same time.
const ABREAST: usize = 48;
const LIMIT: Duration = Duration::from_secs(1200);
const ARGUMENTS: [&str; 3] =
    ["--retention-scan-interval=1h", "--claim-timeout=1h", "--log=info,cognito_reset_operator=info"];

/// The number of records, and the choice of those that qualify.
#[derive(Clone, Copy)]
struct Load {
    records: usize,
    seed: u64,
}

/// The reason why a record is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    /// The record is not kept.
    No,
    ByExpiry,
    ByRequest,
    ByOpenClaim,
    ByNewerSchema,
}

impl Load {
    fn from_environment() -> Result<Self> {
        let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().context(name)).transpose();
        let load = Self {
            records: number("RETENTION_RECORDS")?.map_or(Ok(SAMPLE), usize::try_from)?,
            seed: number("RETENTION_SEED")?.unwrap_or_else(|| RandomState::new().hash_one("a fresh seed")),
        };
        println!("{} records; RETENTION_SEED={} repeats this run", load.records, load.seed);
        Ok(load)
    }

    fn kept(self, number: usize) -> Kept {
        match number {
            0..10 => Kept::ByRequest,
            10..20 => Kept::ByOpenClaim,
            20..30 => Kept::ByNewerSchema,
            // One in ten, by the finalizer of SplitMix64.
            _ => {
                let mut mixed = self.seed.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                if (mixed ^ (mixed >> 31)).is_multiple_of(10) { Kept::No } else { Kept::ByExpiry }
            }
        }
    }
}

fn record(load: Load, pool: &str, number: usize) -> Result<PasswordResetRecord> {
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
    match load.kept(number) {
        Kept::No | Kept::ByRequest => {}
        Kept::ByExpiry => fields["notAfter"] = "2100-01-01T00:00:00Z".into(),
        Kept::ByOpenClaim => {
            fields["effect"] = serde_json::Value::Null;
        }
        Kept::ByNewerSchema => fields["schema"] = (SCHEMA + 1).into(),
    }
    Ok(serde_json::from_value(fields)?)
}

async fn admin(env: &Environment) -> Result<Client> {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(env.cluster.kubeconfig())?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

/// Returns the names of all records, and the size of their metadata in bytes.
async fn stored(records: &Api<PasswordResetRecord>) -> Result<(BTreeSet<String>, usize)> {
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

/// Returns the memory of an operator that made a reset and keeps every record forever.
///
/// Pages of the program are not a part of it: how many of them are present depends on the machine's
/// other load.
async fn memory_without_scan(env: &Environment) -> Result<usize> {
    let operator = env.run_with(env.operator().args(ARGUMENTS).args(["--record-retention=0"])).await?;
    env.ask("before").await?;
    ensure!(env.ended("before").await? == "Succeeded/ResetAccepted");
    operator.anonymous_memory()
}

#[tokio::test]
async fn old_records_are_deleted_in_flat_memory_while_resets_go_on() -> Result<()> {
    let load = Load::from_environment()?;
    let env = Environment::start().await?;
    let records: Api<PasswordResetRecord> = Api::all(admin(&env).await?);
    let create = async |number| {
        let created = records.create(&PostParams::default(), &record(load, &env.pool, number)?).await?;
        anyhow::Ok((number, created.name_any()))
    };
    let created: Vec<(usize, String)> =
        futures::stream::iter((0..load.records).map(create)).buffer_unordered(ABREAST).try_collect().await?;
    let requests: Vec<String> = (0..10)
        .map(|number| env.request(&format!("reset-{number}"), &format!("reset-{number}"), "suspend: true"))
        .collect();
    env.apply(&requests.join("\n---\n")).await?;
    let (all, bytes) = stored(&records).await?;
    assert_eq!(all.len(), load.records);
    let before = memory_without_scan(&env).await?;

    let scanning = env.operator().args(ARGUMENTS).args([
        "--record-retention=1s".to_owned(),
        // So that all that qualify take two seconds, and a reset less.
        format!("--retention-rate={}", load.records.div_ceil(20)),
    ]);
    let operator = env.run_with(scanning).await?;
    env.ask("meanwhile").await?;
    assert_eq!(env.ended("meanwhile").await?, "Succeeded/ResetAccepted");
    assert!(!operator.has_scanned("record").await?, "the scan was over before the reset: too few records");
    let peak = AtomicUsize::new(0);
    eventually(LIMIT, "the whole scan", async || {
        peak.fetch_max(operator.anonymous_memory()?, Ordering::Relaxed);
        ensure!(operator.has_scanned("record").await?, "not yet");
        anyhow::Ok(())
    })
    .await?;
    let during = peak.into_inner().max(operator.anonymous_memory()?);

    let (left, _) = stored(&records).await?;
    let wanted: BTreeSet<String> =
        created.into_iter().filter(|(number, _)| load.kept(*number) != Kept::No).map(|(_, name)| name).collect();
    let mine: BTreeSet<String> = left.intersection(&all).cloned().collect();
    let surplus: Vec<_> = mine.difference(&wanted).take(5).collect();
    let missing: Vec<_> = wanted.difference(&mine).take(5).collect();
    assert!(surplus.is_empty() && missing.is_empty(), "not forgotten: {surplus:?}; forgotten, and needed: {missing:?}");
    let grown = during.saturating_sub(before);
    println!("{bytes} bytes of metadata; {before} bytes of memory without a scan, at most {during} with it");
    // Held as text alone, the metadata of all would be this much, and parsed a multiple of it.
    assert!(grown < bytes.max(PAGE), "grown by {grown} bytes, with {bytes} bytes of metadata to look through");
    Ok(())
}
