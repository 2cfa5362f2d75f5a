use cognito_reset_api::Outcome;
use serde_json::json;

use super::*;
use crate::{create::found::Earlier, snapshot::snapshot};

fn wanted(name: &str) -> Wanted {
    Wanted { name: format!("inc-7-{name}"), username: name.to_owned() }
}

fn existing(name: &str, outcome: Outcome, reason: &str, ended: Option<&str>) -> (Wanted, Existing) {
    let existing = Existing {
        pool: "eu-west-1_Example01".into(),
        username: name.into(),
        outcome,
        reason: reason.into(),
        ended: ended.map(|time| time.parse().unwrap()),
        is_invalidated: false,
        differs: Vec::new(),
    };
    (wanted(name), existing)
}

fn plan(new: usize, unchanged: usize) -> Plan {
    let ended = Some("2026-01-02T03:04:05Z");
    let mut all = vec![
        existing("ali\u{1b}ce", Outcome::Succeeded, "ResetAccepted", ended),
        existing("bob", Outcome::Pending, "RateLimited", None),
    ];
    all.extend((2..unchanged).map(|number| existing(&format!("u{number}"), Outcome::Failed, "Expired", ended)));
    Plan { new: (0..new).map(|number| wanted(&format!("new-{number}"))).collect(), unchanged: all }
}

fn earlier() -> Earlier {
    let mut earlier = Earlier::default();
    for (number, (user, outcome, reason)) in [
        ("new-1", "Succeeded", "ResetAccepted"),
        ("new-1", "Succeeded", "ResetAccepted"),
        ("new-2", "Succeeded", "AlreadyPerformed"),
        ("new-0", "Pending", "RateLimited"),
        ("new-1", "Unknown", "NoResponse"),
        ("new-3", "Failed", "Expired"),
    ]
    .into_iter()
    .enumerate()
    {
        earlier.add(
            &serde_json::from_value(json!({
                "metadata": {"name": format!("other-{number}")},
                "spec": {"username": user},
                "status": {"outcome": outcome, "completionTime": "2026-01-01T00:00:00Z", "conditions": [
                    {"type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ]},
            }))
            .unwrap(),
        );
    }
    earlier
}

fn terms() -> Terms {
    Terms {
        allowed: 46,
        grants: ["everyone".to_owned(), "support".to_owned()].into(),
        compared: 4,
        waiting: [("AwaitingApproval", 3)].into(),
        held: 1,
        holds: [("incident".to_owned(), (1, "mail provider\u{202e} is down".to_owned()))].into(),
        limits: [("everyone".into(), (46, 30))].into(),
        ..Terms::default()
    }
}

const STOP: &str = "kubectl cognito-reset suspend --ticket INC-7 --context a-long-name-of-a-cluster -n support";

fn found() -> Found {
    Found { earlier: earlier(), ..Found::default() }
}

fn text(
    plan: &Plan,
    found: &Found,
    terms: &Terms,
    mail_quota: Option<u32>,
    stop: Option<&str>,
    width: Option<usize>,
) -> String {
    let budget = Budget { per_second: 10.0, source: "--rate of the operator's Deployment system/operator".into() };
    let (pool, sending) = ("eu-west-1_Example01", &found.sending(&plan.new));
    let namespace = "support";
    Preview { pool, namespace, plan, sending, found, terms, budget: &budget, mail_quota, skips: false, stop }
        .text(width)
}

fn shown(plan: &Plan, terms: &Terms, mail_quota: Option<u32>, stop: Option<&str>, width: Option<usize>) -> String {
    text(plan, &found(), terms, mail_quota, stop, width)
}

#[test]
fn the_screen_fits_80_columns() {
    let text = shown(&plan(50, 7), &terms(), Some(40), Some(STOP), Some(80));
    snapshot("create/preview/80.txt", &format!("{text}\n"));
}

#[test]
fn the_screen_fits_140_columns() {
    let text = shown(&plan(50, 7), &terms(), None, Some(STOP), Some(140));
    snapshot("create/preview/140.txt", &format!("{text}\n"));
}

#[test]
fn what_is_not_known_is_said() {
    let terms = Terms {
        grants_unknown: Some("you lack the permission".into()),
        holds_unknown: Some("you lack the permission".into()),
        notes: vec!["a note".into()],
        ..Terms::default()
    };
    let found = Found {
        is_partial: true,
        records_unknown: Some("you may not list the records, as an auditor may".into()),
        ..found()
    };
    let text = text(&plan(1, 2), &found, &terms, Some(1), None, None);
    snapshot("create/preview/not-known.txt", &format!("{text}\n"));
    // The records are those of all namespaces.
    let found = Found { records_unknown: None, ..found };
    let text = self::text(&plan(1, 2), &found, &terms, Some(1), None, None);
    let note = "note        requests for these users that wait are searched in this namespace alone, because";
    assert!(text.contains(note) && !text.contains("only requests that exist"), "{text}");
}

#[test]
fn a_list_that_exists_shows_only_that() {
    let text = shown(&plan(0, 2), &Terms::default(), None, Some(STOP), Some(80));
    snapshot("create/preview/unchanged.txt", &format!("{text}\n"));
}

#[test]
fn names_that_ended_before_send_nothing() {
    let ended = |users: &[&str]| Found {
        ended: users.iter().map(|&user| (user.to_owned(), "Performed")).collect(),
        ..Found::default()
    };
    let one = text(&plan(3, 0), &ended(&["new-1"]), &terms(), None, Some(STOP), Some(80));
    let all = text(&plan(2, 0), &ended(&["new-0", "new-1"]), &Terms::default(), None, Some(STOP), Some(80));
    snapshot("create/preview/ended.txt", &format!("{one}\n\n{all}\n"));
}

#[test]
fn holds_of_the_same_requests_do_not_release_them_alone() {
    let hold = |name: &str, count| (name.to_owned(), (count, format!("why {name}")));
    let of = |held, holds: &[(String, (usize, String))]| {
        let terms = Terms { held, holds: holds.iter().cloned().collect(), ..Terms::default() };
        text(&plan(30, 0), &Found::default(), &terms, None, Some(STOP), None)
    };
    let shared = of(30, &[hold("stop", 30), hold("vip", 1)]);
    let lines = [
        "30 held by stop: why stop\n",
        "1 held by vip: why vip\n",
        "each request is held until all of its holds are deleted\n",
    ];
    assert!(lines.iter().all(|line| shared.contains(line)) && shared.contains("30 held\n"), "{shared}");
    let apart = of(30, &[hold("stop", 29), hold("vip", 1)]);
    assert!(apart.contains("29 held by stop until it is deleted: why stop\n") && !apart.contains("all of"), "{apart}");
}

#[test]
fn a_pool_without_a_grant_is_hinted_at() {
    let terms = Terms { waiting: [("NoMatchingGrant", 2), ("GrantSuspended", 1)].into(), ..Terms::default() };
    let text = text(&plan(3, 0), &Found::default(), &terms, None, Some(STOP), None);
    let hint = "2 would wait as NoMatchingGrant (no grant allows the pool in this namespace: check --pool and -n)\n";
    assert!(text.contains(&format!(" 1 would wait as GrantSuspended; {hint}")), "{text}");
}
