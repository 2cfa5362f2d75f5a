//! `export` and `verify`: each change of an export is found and named.

use std::fs;

use anyhow::{Context, Result};
use testbed::environment::Environment;

use super::report::some_resets;

#[tokio::test]
async fn a_changed_export_names_the_record() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    some_resets(&env).await?;
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (first, second) = (file("first.manifest.json"), file("second.manifest.json"));
    let exported = env.plugin(&["export", "--out", &file("first.ndjson")]).await?;
    assert!(
        exported.ok && exported.stderr.contains("3 records (of all times): 1 NotPerformed, 2 Performed"),
        "{exported}"
    );
    // The file has the records as the API server stores them.
    let ledger = fs::read_to_string(file("first.ndjson"))?;
    let lines = ledger.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
    assert_eq!(lines, env.list("prrec").await?);
    let again = env.plugin(&["export", "--out", &file("first.ndjson")]).await?;
    assert!(again.code == Some(2) && again.stderr.contains("exists already"), "{again}");
    let beside = env.plugin(&["export", "--out", &file("beside.ndjson")]).await?;
    assert!(beside.code == Some(2) && beside.stderr.contains("second chain"), "{beside}");

    env.ask("carol").await?;
    assert_eq!(env.ended("carol").await?, "Succeeded/ResetAccepted");
    env.plugin(&["export", "--out", &file("second.ndjson"), "--previous", &first]).await?.success()?;
    let verified = env.plugin(&["verify", &second, "--live"]).await?;
    assert!(verified.ok && verified.stderr.contains("2 exports with 7 records, 0 differences"), "{verified}");
    // The same hash as the export has printed.
    assert_eq!(verified.stdout.lines().last(), env.plugin(&["verify", &second]).await?.stdout.lines().last());
    let third = ["export", "--out", &file("third.ndjson"), "--previous", &second, "--since"];
    let gap = env.plugin(&[&third[..], &["0s"]].concat()).await?;
    assert!(gap.code == Some(2) && gap.stderr.contains("would be in no export of the chain"), "{gap}");
    let rest = env.plugin(&[&third[..], &["previous"]].concat()).await?;
    assert!(rest.ok && rest.stderr.contains("0 records (since "), "{rest}");
    let fork = env.plugin(&["export", "--out", &file("fork.ndjson"), "--previous", &second]).await?;
    assert!(fork.code == Some(2) && fork.stderr.contains("third.manifest.json continues"), "{fork}");
    let earlier = env.plugin(&["verify", &first, "--live"]).await?;
    assert!(earlier.ok && earlier.stderr.contains("that are new: 1;"), "{earlier}");

    let alice = env.record("alice").await?.context("no record")?;
    let alice = alice["metadata"]["name"].as_str().context("no name")?.to_owned();
    env.kubectl(&["delete", "prrec", &alice]).await?;
    let removed = env.plugin(&["verify", &first, "--live"]).await?;
    assert_eq!(removed.code, Some(1), "{removed}");
    assert!(removed.stdout.contains(&format!("the cluster: removed: record {alice}\n")), "{removed}");

    // Without the file the chain is not whole, unless it is said to be elsewhere.
    fs::remove_file(file("first.ndjson"))?;
    let gone = env.plugin(&["verify", &second]).await?;
    assert_eq!(gone.code, Some(1), "{gone}");
    assert!(gone.stdout.contains("first.ndjson: not compared: 3 records, since it cannot be read"), "{gone}");
    assert!(gone.stderr.contains("2 exports with 4 records, 1 difference"), "{gone}");
    let archived = env.plugin(&["verify", &second, "--archived"]).await?;
    assert!(archived.ok && archived.stderr.contains("not compared: 3 records\n"), "{archived}");

    let altered: String = ledger
        .lines()
        .map(|line| if line.contains(&alice) { line.replace("INC-1", "INC-9") } else { line.to_owned() } + "\n")
        .collect();
    fs::write(file("first.ndjson"), altered)?;
    let named = env.plugin(&["verify", &second]).await?;
    assert_eq!(named.code, Some(1), "{named}");
    assert!(named.stdout.contains(&format!("first.ndjson: altered: record {alice} ")), "{named}");
    assert!(named.stderr.contains("1 difference"), "{named}");
    fs::write(&first, fs::read_to_string(&first)?.replace("\"time\"", " \"time\""))?;
    let broken = env.plugin(&["verify", &second]).await?;
    assert!(broken.stdout.contains("first.manifest.json: the chain ends here: it was altered"), "{broken}");
    Ok(())
}
