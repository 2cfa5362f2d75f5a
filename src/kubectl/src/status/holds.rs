//! The holds that concern a selection of requests. Pure.

use cognito_reset_api::UserPoolHold;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    manage::hold::wanted::State,
    parsed::Parsed,
    terminal::{counted, shown, wrapped},
};

/// The holds that concern a pool and a namespace, and the number of the others.
#[derive(Clone, Debug)]
pub struct Holds<'a> {
    here: Vec<&'a UserPoolHold>,
    elsewhere: usize,
    /// The names of those that this plugin cannot parse: they may concern the selection.
    pub unparsable: &'a [String],
}

impl<'a> Holds<'a> {
    /// Selects those that concern a pool and a namespace. Without a pool or a namespace, every one
    /// counts.
    #[must_use]
    pub fn of(all: &'a Parsed<UserPoolHold>, pool: Option<&str>, namespace: Option<&str>) -> Self {
        let of_pool = |hold: &UserPoolHold| match (&hold.spec.user_pool_id, pool) {
            (Some(held), Some(wanted)) => held == wanted,
            (None, _) | (_, None) => true,
        };
        let of_namespace = |hold: &UserPoolHold| match (&hold.spec.namespaces, namespace) {
            (Some(held), Some(wanted)) => held.iter().any(|held| held == wanted),
            (None, _) | (_, None) => true,
        };
        let concerns = |hold: &&UserPoolHold| of_pool(hold) && of_namespace(hold);
        let (here, elsewhere): (Vec<_>, Vec<_>) = all.objects.iter().partition(concerns);
        Self { here, elsewhere: elsewhere.len(), unparsable: &all.unreadable }
    }

    /// Returns the holds as text, each a paragraph.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let mut lines: Vec<String> = self.here.iter().map(|hold| wrapped("Hold: ", &line(hold), width)).collect();
        if self.elsewhere > 0 {
            lines.push(format!("{} in other pools or namespaces", counted(self.elsewhere, "hold")));
        }
        if lines.is_empty() { "No holds\n".to_owned() } else { lines.join("\n") + "\n" }
    }

    /// Returns the holds that concern the pool and the namespace as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let one = |hold: &&UserPoolHold| {
            json!({
                "name": hold.name_any(),
                "userPoolID": hold.spec.user_pool_id,
                "namespaces": hold.spec.namespaces,
                "users": hold.spec.usernames.as_ref().map(Vec::len),
                "reason": hold.spec.reason,
                "inForce": is_in_force(hold),
                "heldRequests": held_requests(hold),
            })
        };
        self.here.iter().map(one).collect()
    }
}

fn line(hold: &UserPoolHold) -> String {
    let spec = &hold.spec;
    let pool = spec.user_pool_id.as_ref().map_or("every pool".to_owned(), |pool| format!("pool {}", shown(pool)));
    let namespaces = match spec.namespaces.as_deref() {
        None => "every namespace".to_owned(),
        Some(names) => format!("namespaces {}", shown(&names.join(", "))),
    };
    let users = spec.usernames.as_ref().map_or("every user".to_owned(), |users| counted(users.len(), "user"));
    let state = match State::of(hold) {
        State::InForce(_) => "in force",
        State::NotApplied => "not confirmed by the operator yet",
        State::Ineffective => "not ready, its status says why",
    };
    let held = held_requests(hold).map(|held| format!(", holds {}", counted(held, "pending request")));
    format!(
        "{} ({pool}, {namespaces}, {users}), {state}{}: {}",
        hold.name_any(),
        held.unwrap_or_default(),
        shown(&spec.reason)
    )
}

/// Returns true if the operator has confirmed that the hold is in force.
fn is_in_force(hold: &UserPoolHold) -> bool {
    matches!(State::of(hold), State::InForce(_))
}

/// Returns the number of pending requests that it holds back, if the operator has counted them.
fn held_requests(hold: &UserPoolHold) -> Option<i64> {
    hold.status.as_ref()?.held_requests
}

#[cfg(test)]
mod tests {
    use cognito_reset_api::HoldReason;

    use super::*;
    use crate::snapshot::snapshot;

    fn hold(name: &str, spec: Value) -> UserPoolHold {
        UserPoolHold::new(name, serde_json::from_value(spec).expect("a hold"))
    }

    fn parsed(objects: Vec<UserPoolHold>) -> Parsed<UserPoolHold> {
        Parsed { objects, unreadable: Vec::new() }
    }

    #[test]
    fn holds_look_like_their_snapshots() {
        let reason =
            "the mail provider of the pool is down, and codes that are sent now are lost; see the incident channel";
        let all = parsed(vec![
            hold("incident", json!({"reason": reason, "userPoolID": "eu-west-1_Example01"})),
            hold(
                "users",
                json!({"reason": "asked by legal\u{202e}", "namespaces": ["support"], "usernames": ["a", "b"]}),
            ),
            hold("elsewhere", json!({"reason": "x", "namespaces": ["other"]})),
        ]);
        let holds = Holds::of(&all, None, Some("support"));
        for (file, width) in [("holds-80.txt", Some(80)), ("holds-140.txt", Some(140)), ("holds-piped.txt", None)] {
            snapshot(&format!("status/snapshots/{file}"), &holds.text(width));
        }
    }

    #[test]
    fn only_holds_that_concern_the_selection_are_named() {
        let all = parsed(vec![
            hold("all", json!({ "reason": "incident 7" })),
            hold("pool", json!({ "reason": "incident 7", "userPoolID": "eu-west-1_b" })),
            hold("ns", json!({ "reason": "incident 7", "namespaces": ["ops"], "usernames": ["a", "b"] })),
        ]);
        let holds = Holds::of(&all, Some("eu-west-1_a"), Some("support"));
        assert_eq!(
            holds.text(None),
            "Hold: all (every pool, every namespace, every user), not confirmed by the operator yet: incident 7\n2 holds in other pools or namespaces\n"
        );
        assert_eq!(holds.json().as_array().map(Vec::len), Some(1));
        assert_eq!(Holds::of(&all, None, None).text(None).lines().count(), 3);
        let none = parsed(Vec::new());
        assert_eq!(Holds::of(&none, None, None).text(None), "No holds\n");
        assert_eq!(Holds::of(&none, None, None).json(), json!([]));
    }

    #[test]
    fn a_hold_is_in_force_once_the_operator_has_confirmed_it() {
        let condition = |status: &str, reason: HoldReason| {
            json!({"type": "Ready", "status": status, "reason": reason.as_str(), "message": "",
                "lastTransitionTime": "2030-01-01T00:00:00Z"})
        };
        for (status, in_force, says) in [
            (json!(null), false, "not confirmed by the operator yet"),
            (json!({"heldRequests": 3}), false, "not confirmed by the operator yet"),
            (
                json!({"heldRequests": 0, "conditions": [condition("False", HoldReason::NoNamespaceMatches)]}),
                false,
                "not ready, its status says why, holds 0 pending requests",
            ),
            // One that an operator cannot parse holds every request that it may match.
            (
                json!({"heldRequests": 3, "conditions": [condition("False", HoldReason::InvalidObject)]}),
                false,
                "not ready, its status says why, holds 3 pending requests",
            ),
            (json!({"heldRequests": 3, "conditions": [condition("True", HoldReason::InForce)]}), true, "in force"),
        ] {
            let mut held = hold("pool", json!({"reason": "incident 7", "usernames": ["a"]}));
            held.status = serde_json::from_value(status.clone()).expect("a status");
            let all = parsed(vec![held]);
            let holds = Holds::of(&all, None, None);
            assert_eq!(
                holds.json(),
                json!([{"name": "pool", "userPoolID": null, "namespaces": null, "users": 1, "reason": "incident 7",
                    "inForce": in_force, "heldRequests": status["heldRequests"]}]),
                "{status}"
            );
            assert!(holds.text(None).contains(&format!("1 user), {says}")), "{status}");
        }
    }
}
