//! The statuses that an operator of some namespaces leaves to others.

use cognito_reset_api::UserPoolHold;

use super::*;

const ROLE: &str = "arn:aws:iam::111122223333:role/one";

fn watching(namespaces: WatchedNamespaces) -> GrantIndex {
    let grants = [
        all("everywhere", json!({ "roleARN": ROLE })),
        grant("support", json!({ "roleARN": ROLE, "namespaces": ["support"] })),
        grant("web", json!({ "roleARN": ROLE, "namespaceSelector": { "matchLabels": { "team": "web" } } })),
    ];
    index_of(&grants).with_watched_namespaces(namespaces)
}

#[test]
fn role_is_checked_where_its_grant_selects_a_watched_namespace() {
    for (watched, wanted) in [
        (WatchedNamespaces::All, vec!["everywhere", "support", "web"]),
        (["support"].into(), vec!["everywhere", "support"]),
        (["web", "absent"].into(), vec!["everywhere", "web"]),
        (["absent"].into(), vec!["everywhere"]),
    ] {
        let roles = watching(watched.clone()).roles();
        let checked: Vec<_> = roles.iter().map(|role| role.grant.as_str()).collect();
        assert_eq!(checked, wanted, "{watched:?}");
    }
}

#[test]
fn hold_of_unwatched_namespaces_keeps_the_number_that_it_shows() {
    let hold = |namespaces: Value| -> UserPoolHold {
        let spec = json!({ "reason": "incident 1042", "namespaces": namespaces });
        let hold = json!({ "metadata": { "name": "stop" }, "spec": spec, "status": { "heldRequests": 7 } });
        serde_json::from_value(hold).unwrap()
    };
    let unreadable = |namespaces: Value| UnreadableHold {
        name: "broken".into(),
        uid: None,
        spec: json!({ "namespaces": namespaces }),
        held_requests: Some(7),
    };
    for (watched, namespaces, shown, unreadable_changes) in [
        (WatchedNamespaces::All, json!(["web"]), 0, true),
        (["support"].into(), json!(["web", "support"]), 0, true),
        (["support"].into(), json!([]), 0, true),
        (["support"].into(), json!(["web"]), 7, false),
    ] {
        let mut index = watching(watched.clone());
        index.put_hold(hold(namespaces.clone()));
        index.put_unreadable_hold(unreadable(namespaces.clone()));
        let status = index.stale_hold_statuses(NOW).remove(0).object.status.unwrap();
        assert_eq!(status.held_requests, Some(shown), "{watched:?} {namespaces}");
        assert_eq!(!index.stale_held_counts().is_empty(), unreadable_changes, "{watched:?} {namespaces}");
    }
}
