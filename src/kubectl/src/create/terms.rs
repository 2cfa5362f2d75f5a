//! The grants and holds that apply to requests which do not exist yet. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cognito_reset_api::PasswordResetRequest;
use cognito_reset_core::{
    action::user_names::KnownUser,
    grants::{GrantIndex, HoldCause},
};

use super::plan::Wanted;

/// The terms of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The number of requests that grants allow.
    pub allowed: usize,
    /// The names of these grants.
    pub grants: BTreeSet<String>,
    /// The number of allowed requests whose user is compared with a pattern once it was read.
    pub compared: usize,
    /// The number of requests that wait, by the reason.
    pub waiting: BTreeMap<&'static str, usize>,
    /// The number of requests that one or more holds hold.
    pub held: usize,
    /// The number of requests that a hold holds, and its reason, by the name of the hold.
    pub holds: BTreeMap<String, (usize, String)>,
    /// The number of requests that share a limit, and the resets a minute, by the grant.
    pub limits: BTreeMap<Arc<str>, (usize, u32)>,
    /// The cause for which the grants are not known.
    pub grants_unknown: Option<String>,
    /// The cause for which the holds are not known.
    pub holds_unknown: Option<String>,
    /// Further remarks.
    pub notes: Vec<String>,
}

impl Terms {
    /// Evaluates grants and holds for each of these requests. `sample` is one of them, as the API
    /// server would store it.
    #[must_use]
    pub fn new(index: &GrantIndex, wanted: &[Wanted], sample: &PasswordResetRequest) -> Self {
        let mut terms = Self::default();
        let mut request = sample.clone();
        for wanted in wanted {
            request.metadata.name = Some(wanted.name.clone());
            request.spec.username.clone_from(&wanted.username);
            terms.add(index, &request);
        }
        terms
    }

    fn add(&mut self, index: &GrantIndex, request: &PasswordResetRequest) {
        // The user is read only in a turn of the request.
        let evaluation = index.evaluate(request, &KnownUser::NotRead);
        if evaluation.held_by.is_some() {
            self.held += 1;
            for (hold, cause) in index.all_holding(request, &KnownUser::NotRead) {
                self.holds.entry(hold).or_insert((0, text(cause))).0 += 1;
            }
            return;
        }
        match evaluation.authorization {
            Err(reason) => *self.waiting.entry(reason.as_str()).or_default() += 1,
            Ok(authorization) => {
                self.allowed += 1;
                self.compared += usize::from(evaluation.user_required);
                self.grants.extend(authorization.grants);
                if let Some(limits) = authorization.limits
                    && let Some(per_minute) = limits.per_minute
                {
                    self.limits.entry(Arc::clone(&limits.grant)).or_insert((0, per_minute)).0 += 1;
                }
            }
        }
    }
}

fn text(cause: HoldCause) -> String {
    match cause {
        HoldCause::Matches(reason) => reason,
        HoldCause::HoldUnreadable => "this version cannot read the hold".to_owned(),
        HoldCause::UserUnreadable | HoldCause::UserNotRead => "the user is not read".to_owned(),
    }
}

#[cfg(test)]
mod tests;
