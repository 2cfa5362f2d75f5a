//! The lanes: calls that share one quota of Cognito wait in one lane.
//!
//! Cognito counts calls by account, Region and category, over all pools. So two pools of one
//! account and Region share a lane, and a reset does not wait for a read of another category.
//! Requests that need only the API server have a lane of their own, so that they are as fair and
//! as bounded as the others.

use std::{sync::Arc, time::Duration};

use cognito_reset_api::UserStateSource;

use crate::dispatch::pace::Rate;

/// A category of Cognito's quotas. Quotas are per account and Region, over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaCategory {
    /// AdminResetUserPassword, and the recovery of users who do it themselves: ForgotPassword,
    /// ConfirmForgotPassword, ChangePassword.
    UserAccountRecovery,
    /// AdminUserGlobalSignOut and AdminDisableUser.
    UserUpdate,
    /// ListUsers.
    UserList,
    /// AdminGetUser.
    UserRead,
    /// DescribeUserPool.
    UserPoolRead,
}

impl QuotaCategory {
    /// All categories.
    pub const ALL: [Self; 5] =
        [Self::UserAccountRecovery, Self::UserUpdate, Self::UserList, Self::UserRead, Self::UserPoolRead];

    /// Returns the calls per second that Cognito allows by default. Only the quotas of reads can be
    /// raised.
    #[must_use]
    pub const fn quota(self) -> f64 {
        match self {
            Self::UserAccountRecovery | Self::UserList => 30.0,
            Self::UserUpdate => 25.0,
            Self::UserRead => 120.0,
            Self::UserPoolRead => 15.0,
        }
    }

    /// Returns the calls per second that the operator makes by default. At most half of each quota
    /// is used, because applications share it. Of that for recovery it is a third: each user who is
    /// reset comes back in the same category at least once.
    #[must_use]
    pub const fn default_budget(self) -> Rate {
        Rate::per_second(match self {
            Self::UserAccountRecovery => 10.0,
            Self::UserUpdate => 12.0,
            Self::UserList => 15.0,
            Self::UserRead => 60.0,
            Self::UserPoolRead => 5.0,
        })
    }
}

/// The number of calls of ListUsers that one read of a user may take.
pub const LIST_CALLS: u32 = 2;

/// Returns the shortest time from a turn whose user is read by this source to the next turn of the
/// lane.
///
/// A turn of a reset reads the user, which counts in another category. A turn with ListUsers takes
/// as long as its calls do at the budget of UserList, so the turns of a lane keep that budget at
/// any rate of resets. AdminGetUser needs no such time: the quota of UserRead is four times that
/// of resets.
#[must_use]
pub fn spacing(source: UserStateSource) -> Duration {
    match source {
        UserStateSource::ListUsers => QuotaCategory::UserList.default_budget().period() * LIST_CALLS,
        UserStateSource::AdminGetUser | UserStateSource::None => Duration::ZERO,
    }
}

/// The account whose quota a call uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// The account of the operator's own credentials.
    Own,
    /// The account with this id.
    Id(Arc<str>),
}

impl Account {
    /// Returns the account of a call: that of the role, if there is one. A role of the operator's
    /// own account, if that is known, uses the same quota as no role.
    #[must_use]
    pub fn of_role(role: Option<&str>, own: Option<&str>) -> Self {
        match role {
            None => Self::Own,
            Some(account) if own == Some(account) => Self::Own,
            Some(account) => Self::Id(account.into()),
        }
    }
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Reads and writes of the API server, without a call of Cognito: the first look at a request,
    /// the end of one whose deadline has passed, the resolution of an open claim.
    Api,
    /// Calls of Cognito that share one quota.
    Cognito {
        /// The account.
        account: Account,
        /// The Region.
        region: Arc<str>,
        /// The category of the quota.
        category: QuotaCategory,
    },
}

/// The limits of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneLimits {
    /// The turns per second.
    pub budget: Rate,
    /// The number of turns at a time.
    pub slots: usize,
}

/// The limits of all lanes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The limits of [`Lane::Api`].
    pub api: LaneLimits,
    /// The turns per second of the categories whose budget is not the default one.
    pub budgets: Vec<(QuotaCategory, Rate)>,
    /// The number of turns at a time in each lane of Cognito.
    pub slots: usize,
    /// The number of turns at a time in all lanes of Cognito. A lane without a turn may exceed it
    /// by one, so that lanes that hang do not stop the others.
    pub slots_of_all: usize,
    /// The time for which a request waits for its turn before its status says so; `None` if no
    /// status does.
    pub shown_after: Option<Duration>,
}

impl Limits {
    /// Returns the limits of a lane.
    #[must_use]
    pub fn of(&self, lane: &Lane) -> LaneLimits {
        match lane {
            Lane::Api => self.api,
            Lane::Cognito { category, .. } => {
                let configured = self.budgets.iter().find(|(configured, _)| configured == category);
                let budget = configured.map_or_else(|| category.default_budget(), |(_, budget)| *budget);
                LaneLimits { budget, slots: self.slots }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(account: Account, category: QuotaCategory) -> Lane {
        Lane::Cognito { account, region: "eu-west-1".into(), category }
    }

    #[test]
    fn role_of_the_own_account_shares_the_quota_of_no_role() {
        for (role, own, account) in [
            (None, None, Account::Own),
            (None, Some("111122223333"), Account::Own),
            (Some("111122223333"), Some("111122223333"), Account::Own),
            (Some("111122223333"), None, Account::Id("111122223333".into())),
            (Some("444455556666"), Some("111122223333"), Account::Id("444455556666".into())),
        ] {
            assert_eq!(Account::of_role(role, own), account, "{role:?} {own:?}");
        }
    }

    #[test]
    fn default_budget_leaves_half_of_each_quota_to_others() {
        for category in QuotaCategory::ALL {
            let budget = category.default_budget().as_per_second();
            assert!(budget > 0.0 && budget <= category.quota() / 2.0, "{category:?}");
        }
        let recovery = QuotaCategory::UserAccountRecovery;
        assert!(recovery.default_budget().as_per_second() + 10.0 < recovery.quota(), "ForgotPassword at 10/s fits in");
    }

    #[test]
    fn limits_of_a_lane_depend_on_its_category() {
        let configured = Rate::per_second(3.0);
        let limits = Limits {
            api: LaneLimits { budget: Rate::per_second(100.0), slots: 8 },
            budgets: vec![(QuotaCategory::UserRead, configured)],
            slots: 16,
            slots_of_all: 64,
            shown_after: None,
        };
        assert_eq!(limits.of(&Lane::Api), limits.api);
        for category in QuotaCategory::ALL {
            let budget = if category == QuotaCategory::UserRead { configured } else { category.default_budget() };
            assert_eq!(limits.of(&lane(Account::Own, category)), LaneLimits { budget, slots: 16 }, "{category:?}");
        }
    }
}
