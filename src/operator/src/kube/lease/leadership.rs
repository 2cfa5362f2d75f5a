//! The role of a replica, and its metric.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::watch;

/// The role of a replica, and whether the set of replicas has a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leadership {
    /// This replica works.
    Leader,
    /// Another replica works, as its renewals show.
    Standby,
    /// No renewal was seen for the duration of the Lease: possibly no replica works.
    NoLeaderSeen,
}

impl Leadership {
    /// All states.
    pub(crate) const ALL: [Self; 3] = [Self::Leader, Self::Standby, Self::NoLeaderSeen];

    /// Returns the state as a word, for `/readyz` and as the label of a metric.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Standby => "standby",
            Self::NoLeaderSeen => "no-leader-seen",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// The state of this replica as a metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeadershipMetric(Family<State, Gauge>);

impl LeadershipMetric {
    /// Registers the metric.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "The state of this replica: 1 for one of leader, standby and no-leader-seen, 0 for the others";
        registry.register("leadership", help, self.0.clone());
    }

    /// Sets the state.
    pub(crate) fn set(&self, now: Leadership) {
        for each in Leadership::ALL {
            self.0.get_or_create(&State { state: each.as_str() }).set(i64::from(each == now));
        }
    }

    /// Follows the state, forever.
    pub(crate) async fn follow(&self, mut leadership: watch::Receiver<Leadership>) {
        loop {
            self.set(*leadership.borrow_and_update());
            if leadership.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
