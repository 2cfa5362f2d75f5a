//! Checks whether the roles that grants name can be assumed. No call is made with them, and no
//! reset waits for a check.

use std::{collections::HashMap, time::Duration};

use cognito_reset_core::{
    action::port::{Access, Cognito, Purpose, Role, SessionError, SessionFailure, region},
    grants::{GrantIndex, GrantRole},
    panics::caught,
};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, error_span, warn};

use crate::controllers::grant::{context::Context, metrics::Metrics, shared::SharedGrants};

/// The number of roles that are checked in parallel.
const AT_ONCE: usize = 2;
/// The number of checks after which the list of roles is read again.
const ROUND: usize = 16;
/// The factor by which a failed check is repeated earlier, because somebody may be fixing the role.
const SOONER: u32 = 10;

/// Checks each grant's role when it is new or has changed, and again after the interval, forever.
pub(crate) async fn run<C: Cognito>(context: &Context, cognito: &C) {
    let Context { config, grants, metrics, .. } = context;
    check(cognito, grants, metrics, config.role_check_interval).await;
}

async fn check<C: Cognito>(cognito: &C, grants: &SharedGrants, metrics: &Metrics, period: Duration) {
    let mut changes = grants.changes();
    let mut due = Due::default();
    loop {
        let mut roles = due.now(grants.read(GrantIndex::roles), Instant::now());
        let are_left = roles.len() > ROUND;
        roles.truncate(ROUND);
        let tried = futures::stream::iter(roles).map(|role| async move {
            let span = error_span!("check_role", controller = "grant", name = role.grant);
            let assumable = assume(cognito, &role, metrics).instrument(span).await;
            grants.change_status(|index| index.role_checked(&role, assumable));
            (role, assumable)
        });
        for (role, assumable) in tried.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            let pause = if assumable.is_ok() { period } else { period / SOONER };
            due.again(role, Instant::now() + pause);
        }
        if are_left {
            continue;
        }
        let next = due.next().unwrap_or_else(|| Instant::now() + period);
        // A change and the next due check both start another round.
        let _ = timeout_at(next, changes.changed()).await;
    }
}

async fn assume<C: Cognito>(cognito: &C, named: &GrantRole, metrics: &Metrics) -> Result<(), SessionFailure> {
    let access = Access {
        region: region(&named.user_pool_id).to_owned(),
        role: Some(named.role.clone()),
        purpose: Purpose::RoleCheck { grant: named.grant.clone(), uid: named.uid.clone() },
    };
    let session = caught(cognito.session(&access)).await;
    match session
        .unwrap_or_else(|panicked| Err(SessionError { failure: SessionFailure::Other, detail: panicked.to_string() }))
    {
        Ok(_) => Ok(()),
        Err(error) => {
            metrics.role_failed(error.failure);
            warn!(%error, "unable to assume the role of a grant; retrying");
            Err(error.failure)
        }
    }
}

/// The time of the next check of each grant's role.
#[derive(Debug, Default)]
struct Due(HashMap<String, (Role, String, Instant)>);

impl Due {
    /// Returns the roles that are due, those never checked first. Roles that no longer exist are
    /// dropped.
    fn now(&mut self, mut roles: Vec<GrantRole>, now: Instant) -> Vec<GrantRole> {
        let names: HashMap<_, _> = roles.iter().map(|named| (&named.grant, named)).collect();
        self.0.retain(|grant, (role, uid, _)| {
            names.get(grant).is_some_and(|named| named.role == *role && named.uid == *uid)
        });
        roles.retain(|named| self.0.get(&named.grant).is_none_or(|(_, _, at)| *at <= now));
        roles.sort_by_key(|named| self.0.contains_key(&named.grant));
        roles
    }

    fn again(&mut self, tried: GrantRole, at: Instant) {
        self.0.insert(tried.grant, (tried.role, tried.uid, at));
    }

    fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, _, at)| *at).min()
    }
}

#[cfg(test)]
mod tests;
