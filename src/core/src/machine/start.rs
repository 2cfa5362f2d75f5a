//! The beginning of a reconcile: with a turn or without one.

use std::{mem, sync::Arc};

use cognito_reset_api::UserStateSource;
use jiff::Timestamp;

use crate::{
    action::port::{Role, region},
    dispatch::{
        lane::{Account, Lane, QuotaCategory},
        turns::GrantLimits,
    },
    machine::state::{Pace, PaceReason},
};

/// The beginning of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// A turn of this lane: one call may be made by a role of the lane's account in its Region.
    Turn {
        /// The lane.
        lane: Lane,
        /// The grant by whose limits the turn counts, if it has any.
        grant: Option<Arc<str>>,
        /// The account of the operator's own credentials, if it is known.
        own_account: Option<Arc<str>>,
        /// The call for which the turn was handed out. One that was handed out for another call
        /// than ListUsers is none for ListUsers.
        source: UserStateSource,
        /// True if the request probably has no record. Then only the request is read before the
        /// claim, and the API server rejects the claim if there is a record. Nothing but a claim
        /// follows this assumption: before anything else, both are read.
        assume_unclaimed: bool,
    },
    /// No turn: what is known is reported, open claims are resolved, nothing is claimed. A request
    /// that lacks only a turn waits for this reason, until this moment.
    Look {
        /// The reason.
        reason: PaceReason,
        /// The moment.
        until: Timestamp,
    },
}

impl Start {
    /// Takes the assumption that the request has no record. It is good for one read: a record may
    /// be created meanwhile.
    pub(super) const fn take_assumption(&mut self) -> bool {
        match self {
            Self::Turn { assume_unclaimed, .. } => mem::replace(assume_unclaimed, false),
            Self::Look { .. } => false,
        }
    }

    /// Returns the pace of calls by this role and these limits for a user of this pool who is read
    /// by this source: a turn of another lane, or by the limits of another grant, is none for them.
    pub(super) fn pace(
        &self,
        role: Option<&Role>,
        limits: Option<&GrantLimits>,
        user_pool_id: &str,
        wanted: UserStateSource,
        now: Timestamp,
    ) -> Pace {
        match self {
            Self::Turn { lane, grant, own_account, source, .. } => {
                let account = Account::of_role(role.and_then(Role::account), own_account.as_deref());
                let (region, category) = (region(user_pool_id).into(), QuotaCategory::UserAccountRecovery);
                let is_of_grant = *grant == limits.map(|limits| Arc::clone(&limits.grant));
                let is_spaced = wanted != UserStateSource::ListUsers || *source == UserStateSource::ListUsers;
                if is_of_grant && is_spaced && *lane == (Lane::Cognito { account, region, category }) {
                    Pace::Now
                } else {
                    Pace::Later { until: now, reason: PaceReason::RateLimited }
                }
            }
            Self::Look { reason, until } => Pace::Later { until: *until, reason: *reason },
        }
    }
}
