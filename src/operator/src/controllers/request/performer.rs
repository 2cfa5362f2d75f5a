//! What every pass is made with.

use std::{sync::Arc, time::Duration};

use cognito_reset_core::{
    action::port::Cognito,
    dispatch::Pacer,
    ledger::{Backoff, Identity, Waits},
};
use jiff::SignedDuration;
use parking_lot::Mutex;

use crate::{
    controllers::{
        grant::shared::SharedGrants,
        request::{
            lasting::LastingWaits,
            refusals::{HeldUp, Refusals},
            turnstile::{Sightings, Turnstile},
        },
    },
    kube::store::Store,
    telemetry::{events::Events, metrics::Metrics},
};

/// How long things take, and how often they are tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator process, as it stands in records.
    pub holder: String,
    /// From before a claim is written until its call may be sent.
    pub claim_limit: Duration,
    /// For a call that may be in flight, and between attempts.
    pub waits: Waits,
    /// How often a user is read after an ambiguous call.
    pub probes: u32,
    /// Before the second of these reads; doubled for each further one.
    pub probe_pause: Duration,
    /// A wait for AWS that goes on for longer is told by an Event.
    pub patience: Duration,
    /// Waits that are shorter are not written into the status.
    pub shown_wait: SignedDuration,
    /// Where the effects of so many requests cannot be stored, nothing further is claimed.
    pub most_held_up: usize,
}

/// With this many requests worked on at a time, two or more, the effects of so many may be held up: half of them at the
/// most, so that one at the least is left to tell of everything else.
#[must_use]
pub const fn most_held_up(concurrency: u16) -> usize {
    (concurrency / 2) as usize
}

/// Performs resets.
pub struct Performer<C: Cognito> {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) cognito: C,
    pub(super) grants: Arc<SharedGrants>,
    pub(super) pacer: Mutex<Pacer>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) turnstile: Turnstile,
    pub(super) sightings: Sightings,
    pub(super) lasting: LastingWaits,
    pub(super) refusals: Refusals,
    pub(super) held_up: HeldUp,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more is to be done.
    Done,
    /// Look again after this time, or when something changes.
    After(Duration),
}

impl<C: Cognito> Performer<C> {
    /// Puts the parts together.
    pub fn new(
        settings: Settings,
        store: Store,
        cognito: C,
        grants: Arc<SharedGrants>,
        pacer: Pacer,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        let lasting = LastingWaits::new(settings.patience);
        Self {
            settings,
            store,
            cognito,
            grants,
            pacer: Mutex::new(pacer),
            events,
            metrics,
            turnstile: Turnstile::default(),
            sightings: Sightings::default(),
            lasting,
            refusals: Refusals::default(),
            held_up: HeldUp::default(),
        }
    }

    /// Cognito, as resets are performed with.
    pub const fn cognito(&self) -> &C {
        &self.cognito
    }

    /// How the time between attempts grows.
    #[must_use]
    pub const fn backoff(&self) -> Backoff {
        self.settings.waits.backoff
    }

    /// Forgets what is kept for a request that has ended or is gone.
    pub(super) fn forget(&self, identity: &Identity, uid: Option<&str>) {
        let record = identity.record_name();
        self.sightings.forget(&record);
        self.refusals.forget(&record);
        self.lasting.forget(&identity.request.namespace, &identity.request.name);
        if let Some(uid) = uid {
            self.pacer.lock().forget(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::most_held_up;
    use crate::cli::{Cli, Command};

    #[test]
    fn however_few_requests_are_worked_on_at_a_time_one_is_left_to_tell_of_those_that_wait() {
        let taken = |number: u16| {
            let arguments = ["cognito-reset-operator".to_owned(), "run".into(), format!("--concurrency={number}")];
            match Cli::try_parse_from(arguments).ok()?.command {
                Command::Run(args) => Some(args.concurrency),
                Command::Crds(_) => None,
            }
        };
        let taken: Vec<u16> = (0..=1025).filter_map(taken).collect();
        assert_eq!((taken.first(), taken.last()), (Some(&2), Some(&1024)));
        for concurrency in taken {
            assert!((1..usize::from(concurrency)).contains(&most_held_up(concurrency)), "{concurrency}");
        }
    }
}
