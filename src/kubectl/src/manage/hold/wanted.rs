//! Decides which hold a command wants, and what the status of a hold means for it.

use cognito_reset_api::{HoldReason, UserPoolHold, UserPoolHoldSpec, conditions::ConditionType};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// The number of bytes of the hash in a name.
const HASHED: usize = 4;

/// Returns a spec whose lists are in order and without repetitions.
#[must_use]
pub fn in_order(mut spec: UserPoolHoldSpec) -> UserPoolHoldSpec {
    for list in [&mut spec.namespaces, &mut spec.usernames] {
        if let Some(names) = list {
            names.sort();
            names.dedup();
        }
        *list = list.take().filter(|names| !names.is_empty());
    }
    spec
}

/// Returns the name of a hold. The same spec has the same name, and another reason another one: two
/// responders do not share a hold by accident.
///
/// # Errors
/// When the spec cannot be written, which is a fault of this program.
pub fn name(spec: &UserPoolHoldSpec) -> Result<String, Failure> {
    let written = serde_json::to_vec(spec)
        .map_err(|error| Failure::usage(format!("the hold cannot be written as JSON: {error}")))?;
    let hash = hex::encode(Sha256::digest(written).get(..HASHED).unwrap_or_default());
    let plain = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let pool: String = spec.user_pool_id.as_deref().unwrap_or("all-pools").chars().map(plain).collect();
    Ok(format!("hold-{pool}-{hash}"))
}

/// Returns an error if a hold that exists is not the wanted one.
///
/// # Errors
/// When it holds something else, or for another reason.
pub fn check(name: &str, existing: &UserPoolHold, wanted: &UserPoolHoldSpec) -> Result<(), Failure> {
    if existing.metadata.deletion_timestamp.is_some() {
        return Err(Failure::refused(format!("the hold {name} is being deleted: give another --name")));
    }
    if in_order(existing.spec.clone()) == *wanted {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the hold {name} exists and holds something else, or for another reason, and a hold never changes: give another --name; nothing was created"
    )))
}

/// The state of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No operator has applied the hold yet.
    NotApplied,
    /// The hold is in force, and holds so many requests if that is known.
    InForce(Option<i64>),
    /// The operator cannot read the hold or none of its namespaces exists.
    Ineffective,
}

impl State {
    /// Returns the state as the status shows it.
    #[must_use]
    pub fn of(hold: &UserPoolHold) -> Self {
        let Some(status) = &hold.status else { return Self::NotApplied };
        let ready = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
        match ready {
            Some(ready) if status.observed_generation != hold.metadata.generation || ready.reason.is_empty() => {
                Self::NotApplied
            }
            Some(ready) if ready.reason == HoldReason::InForce.as_str() => Self::InForce(status.held_requests),
            Some(_) => Self::Ineffective,
            None => Self::NotApplied,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(pool: Option<&str>, namespaces: Option<&[&str]>, reason: &str) -> UserPoolHoldSpec {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        UserPoolHoldSpec {
            user_pool_id: pool.map(str::to_owned),
            namespaces: namespaces.map(names),
            usernames: None,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_same_hold_has_the_same_name_and_another_another() {
        let name_of = |spec| name(&in_order(spec)).expect("a name");
        let first = name_of(spec(Some("eu-west-1_Example01"), Some(&["b", "a", "a"]), "r"));
        assert!(first.starts_with("hold-eu-west-1-example01-"), "{first}");
        assert_eq!(first, name_of(spec(Some("eu-west-1_Example01"), Some(&["a", "b"]), "r")));
        for other in [
            spec(Some("eu-west-1_Example01"), None, "r"),
            spec(Some("eu-west-1_Example01"), Some(&["a", "b"]), "s"),
            spec(Some("eu-west-1_Example02"), Some(&["a", "b"]), "r"),
        ] {
            assert_ne!(first, name_of(other));
        }
        assert!(name_of(spec(None, Some(&[]), "r")).starts_with("hold-all-pools-"));
        assert_eq!(name_of(spec(None, Some(&[]), "r")), name_of(spec(None, None, "r")));
    }

    #[test]
    fn an_existing_hold_is_the_same_or_refused() {
        let wanted = in_order(spec(Some("p_1"), Some(&["a", "b"]), "r"));
        let mut existing = UserPoolHold::new("h", spec(Some("p_1"), Some(&["b", "a"]), "r"));
        assert!(check("h", &existing, &wanted).is_ok());
        existing.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
        assert!(check("h", &existing, &wanted).is_err());
        for other in [spec(Some("p_1"), None, "r"), spec(Some("p_1"), Some(&["a", "b"]), "s"), spec(None, None, "r")] {
            assert!(check("h", &UserPoolHold::new("h", other), &wanted).is_err());
        }
    }

    #[test]
    fn a_hold_is_in_force_only_if_the_status_of_this_spec_says_so() {
        let hold = |generation: i64, reason: Option<&str>| -> UserPoolHold {
            let ready = reason.map(|reason| {
                json!({ "type": "Ready", "status": "True", "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" })
            });
            serde_json::from_value(json!({
                "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "UserPoolHold",
                "metadata": { "name": "h", "generation": 2 }, "spec": { "reason": "r" },
                "status": { "observedGeneration": generation, "heldRequests": 3,
                    "conditions": ready.into_iter().collect::<Vec<_>>() },
            }))
            .expect("a hold")
        };
        for (generation, reason, wanted) in [
            (2, Some("InForce"), State::InForce(Some(3))),
            (1, Some("InForce"), State::NotApplied),
            (2, Some("NoNamespaceMatches"), State::Ineffective),
            (2, Some("InvalidObject"), State::Ineffective),
            (2, None, State::NotApplied),
        ] {
            assert_eq!(State::of(&hold(generation, reason)), wanted, "{generation} {reason:?}");
        }
        assert_eq!(State::of(&UserPoolHold::new("h", spec(None, None, "r"))), State::NotApplied);
    }
}
