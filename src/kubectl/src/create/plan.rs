//! Decides what a command creates: for each user a request, unless it exists already.

use std::collections::{BTreeSet, HashMap};

use cognito_reset_api::{Outcome, Password};
use jiff::Timestamp;

use crate::{
    failure::Failure,
    request::{Request, Spec},
};

/// The action of a request that names none, if the user has to reset the password already.
const RESEND: &str = "Resend";

/// A request that the command wants to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the request.
    pub name: String,
    /// The user.
    pub username: String,
}

/// A request of the cluster, as far as the plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The user pool.
    pub pool: String,
    /// The user.
    pub username: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, in one word.
    pub reason: String,
    /// The time when it ended.
    pub ended: Option<Timestamp>,
    /// True if the password does not work any more.
    pub is_invalidated: bool,
    /// The fields of its spec besides pool and user that differ from what the command wants.
    pub differs: Vec<&'static str>,
}

impl Existing {
    /// Returns what matters of a request to a command that wants this spec.
    #[must_use]
    pub fn new(request: &Request, wanted: &Spec) -> Self {
        Self {
            is_invalidated: request.status.password == Password::Invalidated,
            differs: differing(&request.spec, wanted),
            pool: request.spec.user_pool_id.clone(),
            username: request.spec.username.clone(),
            outcome: request.outcome(),
            reason: request.reason().to_owned(),
            ended: request.ended(),
        }
    }
}

/// Returns the fields that a command sets and that differ, besides pool and user.
fn differing(there: &Spec, wanted: &Spec) -> Vec<&'static str> {
    let if_required = |spec: &Spec| spec.if_reset_required.clone().unwrap_or_else(|| RESEND.to_owned());
    [
        ("ticket", there.ticket != wanted.ticket),
        ("reason", there.reason != wanted.reason),
        ("onBehalfOf", there.on_behalf_of != wanted.on_behalf_of),
        ("ifResetRequired", if_required(there) != if_required(wanted)),
        ("notAfter", there.not_after != wanted.not_after),
        ("ttlSecondsAfterFinished", there.ttl_seconds_after_finished != wanted.ttl_seconds_after_finished),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// The work of the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The requests to create.
    pub new: Vec<Wanted>,
    /// The requests that exist, with what is known of them.
    pub unchanged: Vec<(Wanted, Existing)>,
}

impl Plan {
    /// Compares what is wanted with what is there.
    ///
    /// # Errors
    /// When a name belongs to the request of another user or pool. Nothing is created then.
    pub fn new(wanted: Vec<Wanted>, pool: &str, existing: &HashMap<String, Existing>) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for wanted in wanted {
            match existing.get(&wanted.name) {
                None => plan.new.push(wanted),
                Some(there) if there.pool == pool && there.username == wanted.username => {
                    plan.unchanged.push((wanted, there.clone()));
                }
                Some(_) => return Err(belongs_to_another(&wanted.name)),
            }
        }
        Ok(plan)
    }

    /// Returns a remark about the fields that requests which have not ended keep, although the
    /// command wants others.
    #[must_use]
    pub fn kept_fields(&self) -> Option<String> {
        let open = self.unchanged.iter().map(|(_, existing)| existing).filter(|it| it.outcome == Outcome::Pending);
        let differing: Vec<&Existing> = open.filter(|existing| !existing.differs.is_empty()).collect();
        let fields: BTreeSet<&str> = differing.iter().flat_map(|existing| existing.differs.iter().copied()).collect();
        let fields: Vec<&str> = fields.into_iter().collect();
        (!fields.is_empty()).then(|| {
            format!(
                "{} of the unchanged requests, which have not ended, keep their own {}: a request cannot be changed",
                differing.len(),
                fields.join(", ")
            )
        })
    }
}

/// Returns the failure of a name whose request this plugin cannot parse.
pub(super) fn unparsed(name: &str) -> Failure {
    Failure::refused(format!(
        "the request {name} exists, and this plugin cannot parse it: update the plugin; nothing was created for it"
    ))
}

/// Returns the failure of a name that is taken. It does not name the other user.
pub(super) fn belongs_to_another(name: &str) -> Failure {
    Failure::refused(format!(
        "the request {name} exists for another user or pool, and a request cannot be changed: give another --name, --name-prefix or --ticket; nothing was created for it"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: serde_json::Value) -> Spec {
        serde_json::from_value(value).expect("a spec")
    }

    #[test]
    fn fields_that_stay_are_named_for_open_requests() {
        let wanted =
            spec(json!({"userPoolID": "p_1", "username": "alice", "notAfter": "2036-01-01T00:00:00Z", "reason": "r"}));
        for (there, outcome, differs, named) in [
            (
                json!({"notAfter": "2036-01-01T00:00:00Z", "reason": "r", "ifResetRequired": "Resend"}),
                "Pending",
                &[][..],
                false,
            ),
            (json!({"reason": "r"}), "Pending", &["notAfter"], true),
            (json!({"reason": "r"}), "Succeeded", &["notAfter"], false),
            (
                json!({"ifResetRequired": "Skip", "ticket": "T"}),
                "Pending",
                &["ticket", "reason", "ifResetRequired", "notAfter"],
                true,
            ),
        ] {
            let request = json!({"metadata": {"name": "a"}, "spec": there, "status": {"outcome": outcome}});
            let existing = Existing::new(&serde_json::from_value(request).expect("a request"), &wanted);
            assert_eq!(existing.differs, differs);
            let mut differs = differs.to_vec();
            differs.sort_unstable();
            let wanted = Wanted { name: "a".to_owned(), username: "alice".to_owned() };
            let remark = Plan { unchanged: vec![(wanted, existing)], ..Plan::default() }.kept_fields();
            assert_eq!(remark.as_ref().is_some_and(|remark| remark.contains(&differs.join(", "))), named, "{remark:?}");
        }
    }
}
