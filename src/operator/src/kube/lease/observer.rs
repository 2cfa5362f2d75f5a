//! Decides about the Lease by what this replica has observed of it. Pure.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use crate::kube::lease::Leadership;

/// The next step for the Lease as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Take it: it does not exist, it was released, or its holder has not renewed it in time.
    Take,
    /// Renew it: this replica holds it.
    Renew,
    /// Leave it unchanged.
    Leave,
    /// This replica held it, and another one holds it now.
    Lost,
}

/// The state of the Lease that this replica has observed, by its own clock. Pure.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) holder: String,
    pub(super) duration: Duration,
    /// The last version that another holder wrote, and the time when it was first seen here.
    others: Option<(String, Instant)>,
    /// The time when the last stored renewal was started.
    pub(super) renewed: Option<Instant>,
}

impl Observer {
    pub(super) fn new(holder: String, duration: Duration) -> Self {
        Self { holder, duration, others: None, renewed: None }
    }

    pub(super) fn see(&mut self, lease: Option<&Lease>, now: Instant) -> Move {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
        let Some(holder) = holder else { return Move::Take };
        if holder == self.holder {
            return Move::Renew;
        }
        if self.renewed.is_some() {
            return Move::Lost;
        }
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone()).unwrap_or_default();
        let since = match &self.others {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.others = Some((version, now));
                now
            }
        };
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|it| u64::try_from(it).ok());
        let duration = seconds.map_or(self.duration, Duration::from_secs);
        if now.duration_since(since) >= duration { Move::Take } else { Move::Leave }
    }

    /// Returns the time when a leader must stop, which is before another replica may take its
    /// place.
    pub(super) fn must_stop_at(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.duration.mul_f64(2.0 / 3.0))
    }

    pub(super) fn leadership(&self, now: Instant) -> Leadership {
        let alive = |(_, since): &(String, Instant)| now.duration_since(*since) < self.duration;
        match (self.renewed, &self.others) {
            (Some(_), _) => Leadership::Leader,
            (None, Some(others)) if alive(others) => Leadership::Standby,
            (None, _) => Leadership::NoLeaderSeen,
        }
    }
}
