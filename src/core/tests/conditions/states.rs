//! The file of all states, with which `make gitops` asks Argo CD's Lua and the kstatus libraries.
//! `make generate-gitops` writes it.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{TABLE, every_status, grants, kstatus, tools::conditions, unseen};

const FILE: &str = "tests/conditions/states.jsonl";

/// Returns a line for each pair of a state and a reason: the state, the kstatus that this program
/// expects, and the object.
fn lines() -> Result<String> {
    let mut states = Vec::from([("unseen".to_owned(), unseen()?)]);
    for shown in every_status()? {
        let mut object = shown.object;
        let mut state = shown.state;
        let reason = shown.update.reason.as_str();
        if reason == "Suspended" {
            object["spec"]["suspend"] = json!(true);
            state = "waiting: suspended";
        }
        if reason == "DeadlineExceeded" {
            // A suspended request has a deadline, too.
            object["spec"]["suspend"] = json!(true);
        }
        states.push((state.to_owned(), object));
    }
    let mut more = Vec::new();
    for (state, object) in &states {
        let mut changed = object.clone();
        if state == "waiting" {
            changed["metadata"]["generation"] = json!(3);
            more.push(("waiting: change not seen".to_owned(), changed.clone()));
            changed["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
            more.push(("waiting: deleted".to_owned(), changed));
        } else if state == "reset" {
            changed["metadata"]["generation"] = json!(1);
            more.push(("reset: restored with its status".to_owned(), changed));
        }
    }
    states.append(&mut more);
    for object in grants::objects()? {
        let kind = object["kind"].as_str().context("no kind")?;
        let reason = conditions(&object).first().map_or("unseen", |ready| ready["reason"].as_str().unwrap_or("-"));
        states.push((format!("{kind}: {reason}"), object));
    }
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for (state, object) in states {
        let reason = conditions(&object).first().map(|first| first["reason"].to_string());
        // A change is seen in the same way regardless of the reason before it.
        let reason = reason.filter(|_| !["not seen", "deleted", "its status"].iter().any(|end| state.ends_with(end)));
        if seen.insert((state.clone(), reason)) {
            text += &json!({ "state": state, "kstatus": kstatus(&object), "object": object }).to_string();
            text.push('\n');
        }
    }
    Ok(text)
}

#[test]
fn the_file_of_all_states_is_up_to_date() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let lines = lines()?;
    if std::env::var_os("GENERATE_STATES").is_some() {
        std::fs::write(&path, &lines)?;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(stored == lines, "src/core/{FILE} differs from what the code says: run make generate-gitops");
    let states: Vec<Value> = stored.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for (state, ..) in TABLE {
        ensure!(states.iter().any(|line| line["state"] == state), "{state} is missing");
    }
    Ok(())
}
