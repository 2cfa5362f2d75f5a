//! The place among turns of a request that the watch shows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{
    PasswordResetRequest,
    conditions::{ConditionType, UNSEEN, WaitReason},
};
use jiff::Timestamp;

use crate::{
    action::port::region,
    dispatch::{
        key::UserKey,
        lane::{Account, Lane, QuotaCategory},
        turns::{Class, Place, Request},
    },
    grants::{Outlook, Watched},
    machine::facts::deadline,
};

/// The time by both clocks of the process.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub monotonic: Instant,
}

/// The time by which a request is looked at after its deadline. The API server's clock has passed
/// it by then too, unless the clocks differ by more.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// The parts of a request whose change leads to a look, besides those of its outlook.
///
/// A write of the status leads to none, except where somebody removes the status. Labels and other
/// metadata decide only about the size of the object, and about policies that refuse a write. So
/// any change of a request that waits because of these leads to a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    generation: Option<i64>,
    has_status: bool,
    /// Present where any change counts.
    version: Option<Box<str>>,
}

impl Content {
    /// Reads a request.
    #[must_use]
    pub fn of(request: &PasswordResetRequest) -> Self {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
        // The API server has set the first status.
        let ready = ready.filter(|ready| ready.observed_generation != Some(UNSEEN));
        let reason = ready.map(|ready| ready.reason.as_str());
        let counts = [WaitReason::ObjectTooLarge, WaitReason::WriteRefused].map(|reason| Some(reason.as_str()));
        let version = request.metadata.resource_version.as_deref();
        Self {
            generation: request.metadata.generation,
            has_status: reason.is_some(),
            version: version.filter(|_| reason.is_none() || counts.contains(&reason)).map(Into::into),
        }
    }

    /// Returns true if a reconcile has written a status.
    #[must_use]
    pub const fn has_status(&self) -> bool {
        self.has_status
    }

    /// Returns true if the change from `earlier` to this leads to a look.
    #[must_use]
    pub fn leads_to_a_look_after(&self, earlier: &Self) -> bool {
        let is_other_version = self.version.is_some() && earlier.version.is_some() && self.version != earlier.version;
        self.generation != earlier.generation || (earlier.has_status && !self.has_status) || is_other_version
    }
}

/// Returns the lane of the reset of a user of this pool with a role of this account.
#[must_use]
pub fn lane_of_reset(user_pool_id: &str, account: Option<&str>, own_account: Option<&str>) -> Lane {
    Lane::Cognito {
        account: Account::of_role(account, own_account),
        region: region(user_pool_id).into(),
        category: QuotaCategory::UserAccountRecovery,
    }
}

/// Returns a request and its place, for [`Dispatcher::put`](super::turns::Dispatcher::put).
///
/// The deadline is that of the wall clock at this moment. A clock that is set back or ahead
/// afterwards makes the look at the deadline later or earlier, and the look itself decides.
#[must_use]
pub fn plan(watched: &Watched, outlook: &Outlook, own_account: Option<&str>, now: Moment) -> (Request, Place) {
    let last = deadline(watched.created, watched.deadline_seconds, outlook.approval_required);
    let last = watched.not_after.map_or(last, |expires| expires.min(last));
    let left = Duration::try_from(last.duration_since(now.wall)).unwrap_or_default();
    let request = Request {
        key: watched.key,
        namespace: Arc::clone(&watched.namespace),
        created: watched.created,
        deadline: now.monotonic.checked_add(left + AFTER_DEADLINE),
        user: Some(UserKey::of(&watched.user_pool_id, &watched.username)),
    };
    let place = Place {
        lane: lane_of_reset(&watched.user_pool_id, outlook.account.as_deref(), own_account),
        pool: Arc::clone(&watched.user_pool_id),
        source: outlook.source,
        grant: outlook.limits.clone(),
        class: Class::Single,
    };
    (request, place)
}

#[cfg(test)]
mod tests {
    use cognito_reset_api::UserStateSource;
    use serde_json::json;

    use super::*;
    use crate::dispatch::{key::Key, turns::GrantLimits};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn now() -> Moment {
        Moment { wall: at(1000), monotonic: Instant::now() }
    }

    fn watched() -> Watched {
        Watched {
            key: Key::of_uid("7"),
            namespace: "support".into(),
            name: "reset".into(),
            created: at(900),
            user_pool_id: "eu-west-1_Example01".into(),
            username: "alice".into(),
            suspended: false,
            approved: false,
            skips: false,
            not_after: None,
            deadline_seconds: None,
        }
    }

    fn outlook(approval_required: bool) -> Outlook {
        let (account, source) = (Some("111122223333".into()), UserStateSource::AdminGetUser);
        Outlook { blocked: None, account, source, limits: None, approval_required, fingerprint: 0 }
    }

    #[test]
    fn request_is_looked_at_right_after_its_deadline() {
        let now = now();
        let day = 24 * 3600;
        for (not_after, deadline_seconds, approval_required, left) in [
            (None, None, false, day - 100),
            (None, None, true, 3 * day - 100),
            (None, Some(150), true, 50),
            (Some(at(1040)), None, false, 40),
            (Some(at(1040)), Some(120), false, 20),
            (Some(at(100)), None, false, 0),
        ] {
            let watched = Watched { not_after, deadline_seconds, ..watched() };
            let (request, _) = plan(&watched, &outlook(approval_required), None, now);
            let wanted = Duration::from_secs(u64::try_from(left).unwrap()) + AFTER_DEADLINE;
            assert_eq!(request.deadline, Some(now.monotonic + wanted), "{watched:?}");
        }
    }

    #[test]
    fn request_waits_in_the_lane_and_by_the_limits_of_its_grant() {
        let limits = GrantLimits { grant: "slow".into(), per_minute: Some(6), share_percent: None };
        let account = || Account::Id("111122223333".into());
        for (own, account, limits) in [
            (None, account(), None),
            (Some("444455556666"), account(), Some(Arc::new(limits))),
            (Some("111122223333"), Account::Own, None),
        ] {
            let source = UserStateSource::ListUsers;
            let outlook = Outlook { source, limits: limits.clone(), ..outlook(false) };
            let (_, place) = plan(&watched(), &outlook, own, now());
            let lane =
                Lane::Cognito { account, region: "eu-west-1".into(), category: QuotaCategory::UserAccountRecovery };
            assert_eq!((place.lane, place.source, place.grant), (lane, source, limits), "{own:?}");
        }
    }

    #[test]
    fn change_leads_to_a_look_only_where_something_depends_on_it() {
        let content = |generation: i64, version: &str, reason: Option<&str>| {
            let condition = |reason| {
                let observed = if reason == "Pending" { UNSEEN } else { generation };
                json!({ "type": "Ready", "status": "False", "reason": reason, "message": "",
                    "observedGeneration": observed, "lastTransitionTime": "2026-01-01T00:00:00Z" })
            };
            let status = reason.map(|reason| json!({ "outcome": "Pending", "conditions": [condition(reason)] }));
            let request = json!({
                "metadata": { "name": "reset", "generation": generation, "resourceVersion": version },
                "spec": { "userPoolID": "p_1", "username": "alice" }, "status": status,
            });
            Content::of(&serde_json::from_value(request).unwrap())
        };
        for (case, earlier, later, wanted) in [
            ("the first status", content(1, "1", None), content(1, "2", Some("Suspended")), false),
            ("another status", content(1, "1", Some("Suspended")), content(1, "2", Some("UserPoolHeld")), false),
            ("a label", content(1, "1", Some("Suspended")), content(1, "2", Some("Suspended")), false),
            ("the spec", content(1, "1", Some("Suspended")), content(2, "2", Some("Suspended")), true),
            ("the status is removed", content(1, "1", Some("Suspended")), content(1, "2", None), true),
            ("a label before the first status", content(1, "1", None), content(1, "2", None), true),
            ("after the initial status", content(1, "1", Some("Pending")), content(1, "2", Some("Suspended")), false),
            (
                "a label after the initial status",
                content(1, "1", Some("Pending")),
                content(1, "2", Some("Pending")),
                true,
            ),
            (
                "a label after a refusal",
                content(1, "1", Some("WriteRefused")),
                content(1, "2", Some("WriteRefused")),
                true,
            ),
            ("smaller", content(1, "1", Some("ObjectTooLarge")), content(1, "2", Some("ObjectTooLarge")), true),
            ("the same", content(1, "1", Some("ObjectTooLarge")), content(1, "1", Some("ObjectTooLarge")), false),
        ] {
            assert_eq!(later.leads_to_a_look_after(&earlier), wanted, "{case}");
        }
    }
}
