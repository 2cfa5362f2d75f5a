//! A pending request as the controller knows it.

use std::{sync::Arc, time::Instant};

use cognito_reset_api::UserStateSource;
use cognito_reset_core::{
    dispatch::{plan::Content, turns::GrantLimits},
    grants::{Outlook, Watched},
};

/// A request.
pub(super) struct Known {
    pub(super) watched: Arc<Watched>,
    pub(super) outlook: Outlook,
    /// True once the dispatcher knows it, which for the requests of a list is when the list is
    /// complete.
    pub(super) is_placed: bool,
    /// The call that a reconcile has found, and the fingerprint of the outlook that says otherwise.
    pub(super) found: Option<Box<(u64, Found)>>,
    pub(super) deadline: Option<Instant>,
    pub(super) content: Content,
    /// True if the request probably has no record.
    pub(super) assume_unclaimed: bool,
    /// The number of turns in a row that ended with an error.
    pub(super) failures: usize,
    /// True if the last pause was cut short because grants were confirmed meanwhile.
    pub(super) is_hurried: bool,
}

/// The call that a reconcile would make, as it has found.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The account of the role; `None` without a role.
    pub(super) account: Option<Arc<str>>,
    /// The call by which it would read the user.
    pub(super) source: UserStateSource,
    /// The limits that its turns count for.
    pub(super) limits: Option<Arc<GrantLimits>>,
}

impl Found {
    /// Returns true if the outlook says the same.
    pub(super) fn agrees(&self, outlook: &Outlook) -> bool {
        let Self { account, source, limits } = self;
        outlook.blocked.is_none() && (&outlook.account, &outlook.source, &outlook.limits) == (account, source, limits)
    }
}

impl Known {
    /// Returns the outlook, corrected by what a reconcile has found beside the same grants and
    /// holds.
    pub(super) fn effective(&self, outlook: &Outlook) -> Outlook {
        match self.found.as_deref() {
            Some((fingerprint, found)) if *fingerprint == outlook.fingerprint => {
                let Found { account, source, limits } = found.clone();
                Outlook { blocked: None, account, source, limits, ..outlook.clone() }
            }
            Some(_) | None => outlook.clone(),
        }
    }
}
