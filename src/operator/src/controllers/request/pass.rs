//! One pass over a request: what it has gathered, and how each step is acted on.

use std::time::Duration;

use cognito_reset_api::{Attempt, Effect, Evidence, PasswordResetRecord, conditions::Reason};
use cognito_reset_core::{
    action::{
        port::{Cognito, region},
        response::Class,
    },
    dispatch::{QuotaKey, Slot},
    ledger::Identity,
    machine::{
        decide::Settlement,
        knowledge::Knowledge,
        state::{Budget as Means, Credentials, Ledger, RecordWrite, Request},
        status::Telling,
    },
    retention::gitops,
};
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use crate::{
    controllers::request::performer::{Next, Performer},
    kube::store::{StoreError, Told},
    telemetry::metrics::AwsStep,
};

const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How often in one pass all is read again because a write met a change, before the pass gives up: the caller waits longer
/// each time, should something answer 409 for ever.
const MOST_OVERTAKEN: u32 = 10;
/// When a request looks again whose user another task is at work on.
const BUSY_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// One pass over a request, beside what it knows.
pub(super) struct Pass<'a, C: Cognito> {
    pub(super) performer: &'a Performer<C>,
    pub(super) known: Knowledge,
    pub(super) session: Option<C::Session>,
    /// Past this moment, the call of the claim is not sent.
    send_until: Instant,
    pub(super) probed: u32,
    /// How often nothing that was read before was good any more, the first reading included.
    read_anew: u32,
    /// What is missing of AWS, in a word for whoever waits.
    pub(super) missing: Option<String>,
    /// Whether credentials that Cognito refused have been loaded anew already.
    pub(super) loaded_again: bool,
}

impl<'a, C: Cognito> Pass<'a, C> {
    /// Knows nothing yet; `busy` where another task is at work on the same user.
    pub(super) fn new(performer: &'a Performer<C>, identity: Identity, busy: bool) -> Self {
        let user_busy = busy.then(|| after(Timestamp::now(), BUSY_WAIT));
        let known = Knowledge::none(identity, performer.settings.probes, user_busy);
        Self {
            performer,
            known,
            session: None,
            send_until: Instant::now(),
            probed: 0,
            read_anew: 0,
            missing: None,
            loaded_again: false,
        }
    }

    pub(super) async fn gather(&mut self) -> Result<(), StoreError> {
        // For the first time, or because what was read is outdated; else only to read the request once more.
        if self.known.situation.request == Request::Unread {
            if self.read_anew == MOST_OVERTAKEN {
                return Err(StoreError::Contended(self.read_anew));
            }
            self.read_anew += 1;
        }
        let store = &self.performer.store;
        let name = self.known.identity.record_name();
        let (request, record) = tokio::try_join!(
            store.request(&self.known.identity.request.namespace, &self.known.identity.request.name),
            store.record(&name)
        )?;
        self.known.situation.read_at = Timestamp::now();
        self.known.read_request(request, |request| self.performer.grants.authorize(request));
        if self.known.situation.credentials == Credentials::NotLoaded {
            self.session = None;
        }
        self.read_record(record);
        self.recall_refusals();
        Ok(())
    }

    fn read_record(&mut self, record: Option<PasswordResetRecord>) {
        let now = Timestamp::now();
        let performer = self.performer;
        let name = self.known.identity.record_name();
        let seen_for = |attempt: &Attempt| {
            let settled = attempt.settled_at.is_some();
            signed(performer.sightings.seen_for(&name, &attempt.id, settled, Instant::now()))
        };
        self.known.read_record(record, &performer.settings.waits, seen_for, now);
    }

    fn quota_key(&self) -> QuotaKey {
        let role = self.known.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
        QuotaKey {
            account: role.and_then(|role| role.account()).map(str::to_owned),
            region: region(&self.known.identity.user_pool_id).to_owned(),
        }
    }

    pub(super) fn uid(&self) -> String {
        self.known.request.as_ref().and_then(ResourceExt::uid).unwrap_or_default()
    }

    pub(super) fn ask_budget(&mut self) {
        let asked = std::time::Instant::now();
        let turn = self.performer.pacer.lock().ask(&self.quota_key(), &self.uid(), asked);
        self.known.situation.budget = match turn {
            Slot::Now => Means::Granted,
            Slot::Later { at, throttled } => Means::Exhausted {
                until: after(Timestamp::now(), signed(at.saturating_duration_since(asked))),
                reason: if throttled { Reason::Throttled } else { Reason::RateLimited },
            },
        };
    }

    /// When something that other people have to mend is tried again.
    pub(super) fn slowly(&self) -> Timestamp {
        after(Timestamp::now(), self.performer.settings.waits.backoff.after(3, &Uuid::new_v4().to_string()))
    }

    pub(super) async fn claim(&mut self) -> Result<(), StoreError> {
        // The watch may have shown something since the request was read.
        let request = self.known.request.as_ref();
        if request.and_then(|request| self.performer.grants.authorize(request).ok()) != self.known.allowed {
            self.known.outdated();
            return Ok(());
        }
        self.send_until = Instant::now() + self.performer.settings.claim_limit;
        let (attempt_id, holder) = (Uuid::new_v4().to_string(), self.performer.settings.holder.clone());
        let Some(wanted) = self.known.claim(attempt_id, holder, Timestamp::now()) else {
            self.known.outdated();
            return Ok(());
        };
        match self.performer.store.claim(&wanted, self.send_until).await {
            Ok(claimed) => {
                self.performer.refusals.forget(&self.known.identity.record_name());
                self.known.claimed(wanted, claimed, self.in_time());
                Ok(())
            }
            Err(error) => self.refused(RecordWrite::Claim, error),
        }
    }

    fn in_time(&self) -> bool {
        Instant::now() < self.send_until
    }

    /// Sends, once: the claim is consumed first.
    pub(super) async fn send(&mut self) {
        let in_time = self.session.is_some() && self.in_time();
        let (Some(attempt), Some(session)) = (self.known.consume(in_time), &self.session) else { return };
        self.known.sent_at = Some(Timestamp::now());
        let metadata = self.known.request.as_ref().and_then(|request| request.spec.client_metadata.as_ref());
        let reply = self.performer.cognito.reset(session, self.user(), metadata).await;
        match reply.answer.cause() {
            Some(cause) => {
                info!(request = %self.object(), %attempt, cause = cause.in_words(), "nothing was sent to Cognito");
                self.performer.metrics.aws_failed(AwsStep::Reset, cause.as_str());
            }
            None => info!(request = %self.object(), %attempt, answer = reply.answer.name(), "called Cognito"),
        }
        match reply.answer.class() {
            Some(Class::Blocked | Class::Ambiguous) => {}
            Some(Class::Refused | Class::Throttled | Class::AmbiguousFailure) | None => self.answered(),
        }
        self.performer.metrics.call(&reply.answer);
        let mut pacer = self.performer.pacer.lock();
        match reply.answer.class() {
            Some(Class::Throttled) => pacer.throttled(&self.quota_key(), std::time::Instant::now()),
            Some(Class::Refused | Class::Ambiguous | Class::AmbiguousFailure) | None => {
                pacer.accepted(&self.quota_key(), std::time::Instant::now());
            }
            Some(Class::Blocked) => {}
        }
        drop(pacer);
        self.known.answered(reply);
    }

    pub(super) async fn settle(&mut self, settlement: Settlement) -> Result<(), StoreError> {
        let Some((record, finding)) = self.known.finding(settlement) else {
            self.known.settled(self.performer.settings.probes);
            return Ok(());
        };
        let stored = self.store_effect(record, &finding).await?;
        if stored.spec.effect == Some(settlement.effect) {
            self.performer.metrics.settled(settlement.effect);
        }
        info!(
            request = %self.object(), record = %stored.name_any(), attempt = %finding.attempt_id,
            effect = stored.spec.effect.map(Effect::as_str), evidence = ?settlement.evidence, "settled an attempt"
        );
        self.known.settled(self.performer.settings.probes);
        self.probed = 0;
        self.read_record(Some(stored));
        if let Ledger::Retryable { reason: reason @ (Reason::CognitoUnreachable | Reason::Cognito(_)), .. } =
            self.known.situation.ledger
        {
            self.tell_if_it_lasts(reason);
        }
        Ok(())
    }

    /// Closes the record without a call. Where another write was quicker, all is read again.
    pub(super) async fn close(&mut self, evidence: Evidence) -> Result<(), StoreError> {
        let (id, holder) = (Uuid::new_v4().to_string(), self.performer.settings.holder.clone());
        let closed = self.known.close(evidence, id, holder, Timestamp::now());
        self.write_once(RecordWrite::Close(evidence), closed).await
    }

    /// Lets the record remember the request's expiry. Where another write was quicker, all is read again.
    pub(super) async fn remember(&mut self) -> Result<(), StoreError> {
        self.write_once(RecordWrite::Remember, self.known.remember()).await
    }

    async fn write_once(&mut self, write: RecordWrite, wanted: Option<PasswordResetRecord>) -> Result<(), StoreError> {
        let written = match wanted {
            Some(wanted) => self.performer.store.write_once(&wanted).await,
            None => Ok(None),
        };
        match written {
            Ok(Some(stored)) => self.read_record(Some(stored)),
            Ok(None) => self.known.outdated(),
            Err(error) => return self.refused(write, error),
        }
        Ok(())
    }

    /// Writes the outcome; `false` where the request has changed and has to be read again.
    pub(super) async fn tell_end(&mut self) -> Result<bool, StoreError> {
        let telling = self.known.ended();
        match self.tell(&telling, Timestamp::now()).await? {
            Told::Written => {
                self.performer.metrics.finished(telling.outcome, telling.reason);
                if let Some(request) = &self.known.request {
                    self.performer.events.tell(request, &telling);
                    if let Some(mark) = gitops::exempt(request) {
                        self.performer.events.not_deleted(request.object_ref(&()), &mark.note());
                    }
                }
                info!(request = %self.object(), outcome = telling.outcome.as_str(), reason = %telling.reason, "request finished");
                Ok(true)
            }
            Told::Gone => Ok(true),
            Told::Conflict => {
                self.known.outdated();
                Ok(false)
            }
        }
    }

    async fn tell(&self, telling: &Telling, now: Timestamp) -> Result<Told, StoreError> {
        self.tell_of(&self.known, telling, now).await
    }

    /// Writes the status of the request as `known`, if that says anything new.
    pub(super) async fn tell_of(
        &self,
        known: &Knowledge,
        telling: &Telling,
        now: Timestamp,
    ) -> Result<Told, StoreError> {
        if known.request.is_none() {
            return Ok(Told::Gone);
        }
        let Some(request) = known.told(telling, now) else { return Ok(Told::Written) };
        let told = self.performer.store.tell(&request).await;
        match &told {
            Ok(Told::Written) => self.told_of_refusal(known, telling),
            Ok(Told::Conflict | Told::Gone) => {}
            Err(error) => self.not_told(known, telling, error),
        }
        told
    }

    /// Shows why it waits, unless that is over in a moment; `None` where the request has changed and has to be read again.
    pub(super) async fn wait(&mut self, reason: Reason, until: Timestamp) -> Result<Option<Next>, StoreError> {
        let left = Timestamp::now().duration_until(until);
        // A refusal lasts until somebody mends it, however soon it is tried again.
        let is_shown = left >= self.performer.settings.shown_wait || reason == Reason::WriteRefused;
        if matches!(self.known.situation.request, Request::Pending(_))
            && is_shown
            && self.tell(&self.waiting(reason), Timestamp::now()).await? == Told::Conflict
        {
            self.known.outdated();
            return Ok(None);
        }
        Ok(Some(Next::After(Duration::try_from(left).unwrap_or_default().clamp(SHORTEST_WAIT, LONGEST_WAIT))))
    }

    pub(super) fn done(&self) -> Next {
        self.performer.forget(&self.known.identity, self.known.request.as_ref().and_then(ResourceExt::uid).as_deref());
        Next::Done
    }

    pub(super) fn object(&self) -> String {
        format!("{}/{}", self.known.identity.request.namespace, self.known.identity.request.name)
    }
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

pub(super) fn after(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
