//! Acts on the steps that [`decide`] takes. Thin: what to do next is never decided here.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    decide::{Step, decide},
    ledger::{Backoff, Identity, Waits},
    pass::Pass,
    store::{Store, StoreError},
    turnstile::{Sightings, Turnstile, lock},
};
use crate::{budget::Budget, cognito::port::Cognito, events::Events, grants::Permissions, metrics::Metrics};

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
    /// Waits that are shorter are not written into the status.
    pub shown_wait: SignedDuration,
}

/// Performs resets.
pub struct Performer<C: Cognito> {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) cognito: C,
    pub(super) permissions: Arc<Permissions>,
    pub(super) budget: Mutex<Budget>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) turnstile: Turnstile,
    pub(super) sightings: Sightings,
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
        permissions: Arc<Permissions>,
        budget: Budget,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            settings,
            store,
            cognito,
            permissions,
            budget: Mutex::new(budget),
            events,
            metrics,
            turnstile: Turnstile::default(),
            sightings: Sightings::default(),
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

    /// Takes a request, or a record whose request is gone, as far as it goes at present.
    ///
    /// # Errors
    /// Where the API server does not answer or refuses; the caller tries again later. No error
    /// leaves a claim of this pass behind: from the claim to the record of its effect there is none.
    pub async fn run(&self, identity: Identity) -> Result<Next, StoreError> {
        let inside = self.turnstile.enter(&identity);
        let mut pass = Pass::new(self, identity, inside.is_none());
        loop {
            match decide(&pass.known.situation, Timestamp::now()) {
                Step::Gather => pass.gather().await?,
                Step::AskBudget => pass.ask_budget(),
                Step::LoadCredentials => pass.load_credentials().await,
                Step::TakeSnapshot => pass.take_snapshot().await,
                Step::Claim => pass.claim().await?,
                Step::Send => pass.send().await,
                Step::Probe => pass.probe().await,
                Step::Settle(settlement) => pass.settle(settlement).await,
                Step::Close(evidence) => pass.close(evidence).await?,
                Step::Remember(_) => pass.remember().await?,
                Step::Tell => {
                    if pass.tell_end().await? {
                        return Ok(pass.done());
                    }
                }
                Step::Wait { reason, until } => {
                    if let Some(next) = pass.wait(reason, until).await? {
                        return Ok(next);
                    }
                }
                Step::Leave => return Ok(pass.done()),
            }
        }
    }

    /// Forgets what is kept for a request that has ended or is gone.
    pub(super) fn forget(&self, identity: &Identity, uid: Option<&str>) {
        self.sightings.forget(&identity.record_name());
        if let Some(uid) = uid {
            lock(&self.budget).forget(uid);
        }
    }
}
