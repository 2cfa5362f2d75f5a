//! A pending request as the controller knows it.

use std::{sync::Arc, time::Instant};

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
    pub(super) found: Option<Box<Found>>,
    pub(super) deadline: Option<Instant>,
    pub(super) content: Content,
    /// True if the request probably has no record.
    pub(super) assume_unclaimed: bool,
    /// The number of turns in a row that ended with an error.
    pub(super) failures: usize,
    /// True if the last pause was cut short because grants were confirmed meanwhile.
    pub(super) is_hurried: bool,
}

/// The account and the limits that a reconcile has found.
pub(super) struct Found {
    /// The fingerprint of the outlook that says otherwise.
    pub(super) fingerprint: u64,
    pub(super) account: Option<Arc<str>>,
    pub(super) limits: Option<Arc<GrantLimits>>,
}

impl Known {
    /// Returns the outlook, corrected by what a reconcile has found beside the same grants and
    /// holds.
    pub(super) fn effective(&self, outlook: &Outlook) -> Outlook {
        match &self.found {
            Some(found) if found.fingerprint == outlook.fingerprint => {
                let (account, limits) = (found.account.clone(), found.limits.clone());
                Outlook { blocked: None, account, limits, ..outlook.clone() }
            }
            Some(_) | None => outlook.clone(),
        }
    }
}
