//! Every fault of the run: a closed list. `inject.rs` injects and undoes each.

use std::time::Duration;

use super::{
    random::Random,
    troubles::Trouble,
    verbs::{Break, Verb},
};

/// A fault; one cycle injects one, while requests are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillAt(Point),
    Kill,
    StopAt(Point),
    Stop,
    KillApiServer,
    KillEtcd,
    CutConnections,
    Watch(Stream),
    Api(Verb, Break),
    Reset(Trouble),
    Probe(Trouble),
    AssumeRole(Trouble),
    Clock(Jump),
}

/// A moment in the life of a request, bounded by a request or a reply that a proxy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    BeforeClaim,
    AfterClaim,
    BeforeClaimAgain,
    AfterClaimAgain,
    BeforeCall,
    AfterCall,
    BeforeEffect,
    AfterEffect,
    BeforeStatus,
    AfterStatus,
}

impl Point {
    const ALL: [Self; 10] = [
        Self::BeforeClaim,
        Self::AfterClaim,
        Self::BeforeClaimAgain,
        Self::AfterClaimAgain,
        Self::BeforeCall,
        Self::AfterCall,
        Self::BeforeEffect,
        Self::AfterEffect,
        Self::BeforeStatus,
        Self::AfterStatus,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before the claim leaves",
            Self::AfterClaim => "claim stored, reply not seen",
            Self::BeforeClaimAgain => "before a further claim leaves",
            Self::AfterClaimAgain => "further claim stored, reply not seen",
            Self::BeforeCall => "before the call arrives",
            Self::AfterCall => "call made, reply not seen",
            Self::BeforeEffect => "before the effect is written",
            Self::AfterEffect => "effect stored, reply not seen",
            Self::BeforeStatus => "before the status is written",
            Self::AfterStatus => "status stored, reply not seen",
        }
    }
}

/// The fault of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Cut,
    Frozen,
    Lagging,
}

/// The jump of the wall clock of one replica, which later jumps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Jump {
    HourForth,
    HourBack,
    DayForth,
    DayBack,
}

impl Jump {
    const ALL: [Self; 4] = [Self::HourForth, Self::HourBack, Self::DayForth, Self::DayBack];

    /// A day is a little longer, so that deadlines of a day pass.
    pub(super) const fn seconds(self) -> i64 {
        match self {
            Self::HourForth => 3600,
            Self::HourBack => -3600,
            Self::DayForth => 90_000,
            Self::DayBack => -90_000,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::HourForth => "an hour forth",
            Self::HourBack => "an hour back",
            Self::DayForth => "25 hours forth",
            Self::DayBack => "25 hours back",
        }
    }
}

impl Fault {
    /// Returns the row of the report in which it counts.
    pub(super) fn row(self) -> String {
        match self {
            Self::KillAt(point) => format!("SIGKILL: {}", point.as_str()),
            Self::Kill => "SIGKILL: at a random time".to_owned(),
            Self::StopAt(point) => format!("SIGSTOP, then SIGCONT: {}", point.as_str()),
            Self::Stop => "SIGSTOP, then SIGCONT: at a random time".to_owned(),
            Self::KillApiServer => "kube-apiserver: kill -9".to_owned(),
            Self::KillEtcd => "etcd: kill -9".to_owned(),
            Self::CutConnections => "API: all connections cut and refused".to_owned(),
            Self::Watch(Stream::Cut) => "watch: cut".to_owned(),
            Self::Watch(Stream::Frozen) => "watch: frozen".to_owned(),
            Self::Watch(Stream::Lagging) => "watch: lagging".to_owned(),
            Self::Api(_, how) => format!("API: {}", how.name()),
            Self::Reset(trouble) => format!("AdminResetUserPassword: {}", trouble.as_str()),
            Self::Probe(trouble) => format!("AdminGetUser: {}", trouble.as_str()),
            Self::AssumeRole(trouble) => format!("AssumeRole: {}", trouble.as_str()),
            Self::Clock(jump) => format!("clock: {}, and back", jump.as_str()),
        }
    }

    /// Returns true if the fault ends, or may end, the time for which a replica has watched an open
    /// claim, or its Lease.
    pub(super) const fn is_disruptive(self) -> bool {
        match self {
            Self::KillAt(_)
            | Self::Kill
            | Self::StopAt(_)
            | Self::Stop
            | Self::KillApiServer
            | Self::KillEtcd
            | Self::CutConnections => true,
            Self::Api(verb, _) => verb.is_at_start() || verb.is_of_lease(),
            Self::Watch(_) | Self::Reset(_) | Self::Probe(_) | Self::AssumeRole(_) | Self::Clock(_) => false,
        }
    }

    /// Returns the time after the start of a run before which the fault cannot meet anything.
    pub(super) const fn not_before(self) -> Duration {
        match self {
            Self::Api(verb, _) => verb.not_before(),
            _ => Duration::ZERO,
        }
    }

    /// Returns all faults, each as often as its weight.
    fn all(leased: bool) -> Vec<Self> {
        use Point::{AfterCall, AfterClaim, BeforeCall, BeforeClaim, BeforeStatus};
        let mut all = Vec::new();
        let mut add = |times: usize, fault: Self| all.extend(std::iter::repeat_n(fault, times));
        Point::ALL.into_iter().for_each(|point| add(4, Self::KillAt(point)));
        add(14, Self::Kill);
        let stops = [BeforeClaim, AfterClaim, BeforeCall, AfterCall, BeforeStatus];
        stops.into_iter().for_each(|point| add(2, Self::StopAt(point)));
        add(3, Self::Stop);
        add(4, Self::KillApiServer);
        add(4, Self::KillEtcd);
        add(4, Self::CutConnections);
        let streams = [Stream::Cut, Stream::Frozen, Stream::Lagging];
        streams.into_iter().for_each(|stream| add(4, Self::Watch(stream)));
        for verb in Verb::ALL.into_iter().filter(|verb| leased || !verb.is_of_lease()) {
            let suitable = Break::ALL.into_iter().filter(|how| how.suits(verb));
            suitable.for_each(|how| add(1, Self::Api(verb, how)));
        }
        Trouble::RESET.into_iter().for_each(|trouble| add(4, Self::Reset(trouble)));
        Trouble::PROBE.into_iter().for_each(|trouble| add(2, Self::Probe(trouble)));
        Trouble::ROLE.into_iter().for_each(|trouble| add(2, Self::AssumeRole(trouble)));
        Jump::ALL.into_iter().for_each(|jump| add(3, Self::Clock(jump)));
        all
    }

    /// Returns this number of faults in a random order, by their weights.
    pub(super) fn deck(cycles: usize, leased: bool, random: &mut Random) -> Vec<Self> {
        let mut deck = Vec::new();
        while deck.len() < cycles {
            let mut more = Self::all(leased);
            random.shuffle(&mut more);
            deck.extend(more);
        }
        deck.truncate(cycles);
        deck
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_deck_has_its_length_and_if_long_enough_every_fault() {
        let rows = |deck: &[Fault]| deck.iter().map(|fault| fault.row()).collect::<BTreeSet<_>>();
        let mut random = Random::new(1);
        assert_eq!(Fault::deck(60, true, &mut random).len(), 60);
        let all = Fault::all(true);
        assert_eq!(rows(&Fault::deck(all.len(), true, &mut random)), rows(&all));
        let verbs = |deck: &[Fault]| deck.iter().filter(|fault| matches!(fault, Fault::Api(..))).count();
        assert_eq!(verbs(&all), Verb::ALL.len() * Break::ALL.len() - 8, "four watches, each without two");
        assert!(!all.contains(&Fault::Api(Verb::WatchGrants, Break::LostAfter)));
        assert!(!Fault::all(false).contains(&Fault::Api(Verb::GetLease, Break::Late)));
    }
}
