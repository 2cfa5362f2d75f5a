//! One pass over a request: what it has gathered, and how each step is acted on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    decide::{Conclusion, Settlement},
    ledger::{self, Finding, Identity},
    perform::{Next, Performer},
    project::{self, Telling},
    situation::{
        Attempt as Held, Budget as Means, Credentials, Ledger, Permission, Request, Situation, Snapshot, Wishes,
    },
    store::{Claimed, StoreError, Told},
    turnstile::lock,
};
use crate::{
    api::{Attempt, Effect, IfResetRequired, Outcome, PasswordResetRecord, PasswordResetRequest, conditions::Reason},
    budget::{QuotaKey, Turn},
    cognito::{
        outcome::{Answer, Class},
        port::{Access, Cognito, Role, UserRef, region},
    },
    grants::Allowed,
};

const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// When a request looks again whose user another task is at work on.
const BUSY_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// The right to send once: made by a claim, consumed by sending.
struct Claim {
    attempt_id: String,
    deadline: Instant,
}

/// What one pass over a request has gathered beside the situation.
pub(super) struct Pass<'a, C: Cognito> {
    performer: &'a Performer<C>,
    identity: Identity,
    pub(super) situation: Situation,
    request: Option<PasswordResetRequest>,
    record: Option<PasswordResetRecord>,
    allowed: Option<Allowed>,
    session: Option<C::Session>,
    claim: Option<Claim>,
    attempt_id: Option<String>,
    aws_request_id: Option<String>,
    sub: Option<String>,
    probed: u32,
}

impl<'a, C: Cognito> Pass<'a, C> {
    /// Knows nothing yet; `busy` where another task is at work on the same user.
    pub(super) fn new(performer: &'a Performer<C>, identity: Identity, busy: bool) -> Self {
        let mut situation = Situation::unknown(performer.settings.probes);
        situation.user_busy = busy.then(|| after(Timestamp::now(), BUSY_WAIT));
        Self {
            performer,
            identity,
            situation,
            request: None,
            record: None,
            allowed: None,
            session: None,
            claim: None,
            attempt_id: None,
            aws_request_id: None,
            sub: None,
            probed: 0,
        }
    }

    pub(super) async fn gather(&mut self) -> Result<(), StoreError> {
        let store = &self.performer.store;
        let name = self.identity.record_name();
        let (request, record) = tokio::try_join!(
            store.request(&self.identity.request.namespace, &self.identity.request.name),
            store.record(&name)
        )?;
        self.situation.read_at = Timestamp::now();
        self.request = request.filter(|request| {
            Identity::of_request(request) == self.identity && request.metadata.deletion_timestamp.is_none()
        });
        self.situation.request = self.request.as_ref().map_or(Request::Gone, view_request);
        match self.request.as_ref().map(|request| self.performer.permissions.allowed(request)) {
            Some(Ok(allowed)) => {
                self.allowed = Some(allowed);
                self.situation.permission = Permission::Granted;
            }
            Some(Err(reason)) => self.situation.permission = Permission::Denied(reason),
            None => {}
        }
        self.read_ledger(record);
        Ok(())
    }

    fn read_ledger(&mut self, record: Option<PasswordResetRecord>) {
        let now = Timestamp::now();
        let performer = self.performer;
        let in_flight_until = |attempt: &Attempt| {
            let (name, limit) = (self.identity.record_name(), performer.settings.in_flight);
            let left = performer.open_claims.left(&name, &attempt.id, limit, Instant::now());
            (!left.is_zero()).then(|| after(now, signed(left)))
        };
        let backoff = &performer.settings.backoff;
        self.situation.ledger = ledger::view(record.as_ref(), &self.identity, backoff, in_flight_until, now);
        self.record = record;
    }

    fn quota_key(&self) -> QuotaKey {
        let role = self.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
        QuotaKey {
            account: role.and_then(|role| role.account()).map(str::to_owned),
            region: region(&self.identity.user_pool_id).to_owned(),
        }
    }

    fn uid(&self) -> String {
        self.request.as_ref().and_then(ResourceExt::uid).unwrap_or_default()
    }

    pub(super) fn ask_budget(&mut self) {
        let asked = Instant::now();
        let turn = lock(&self.performer.budget).ask(&self.quota_key(), &self.uid(), asked);
        self.situation.budget = match turn {
            Turn::Now => Means::Granted,
            Turn::Later { at, throttled } => Means::Exhausted {
                until: after(Timestamp::now(), signed(at.saturating_duration_since(asked))),
                reason: if throttled { Reason::Throttled } else { Reason::RateLimited },
            },
        };
    }

    fn access(&self, role: Option<Role>, uid: String) -> Access {
        let request = &self.identity.request;
        Access {
            region: region(&self.identity.user_pool_id).to_owned(),
            role,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            uid,
        }
    }

    /// With the rights that the last attempt was made with: its grant or its request may be gone by now.
    fn access_of_attempt(&self) -> Option<Access> {
        let attempt = self.record.as_ref().and_then(ledger::last)?;
        let role = attempt.role_arn.clone().map(|arn| Role { arn, external_id: attempt.external_id.clone() });
        Some(self.access(role, attempt.request_uid.clone()))
    }

    /// When something that other people have to mend is tried again.
    fn slowly(&self) -> Timestamp {
        after(Timestamp::now(), self.performer.settings.backoff.after(3, &Uuid::new_v4().to_string()))
    }

    pub(super) async fn load_credentials(&mut self) {
        let role = self.allowed.as_ref().and_then(|allowed| allowed.role.clone());
        let access = self.access(role, self.uid());
        self.situation.credentials = match self.performer.cognito.session(&access).await {
            Ok(session) => {
                self.session = Some(session);
                Credentials::Loaded
            }
            Err(error) => {
                warn!(request = %self.object(), %error, "no credentials for a reset");
                Credentials::Unavailable { until: self.slowly() }
            }
        };
    }

    fn user(&self) -> UserRef<'_> {
        UserRef { pool: &self.identity.user_pool_id, username: &self.identity.username }
    }

    pub(super) async fn take_snapshot(&mut self) {
        let Some(session) = &self.session else {
            self.situation.credentials = Credentials::NotLoaded;
            return;
        };
        self.situation.before = match self.performer.cognito.user(session, self.user()).await {
            Ok(user) => {
                self.sub = user.sub;
                Snapshot::Read(user.status)
            }
            Err(error) => {
                info!(request = %self.object(), %error, "no snapshot before a reset");
                Snapshot::Unreadable { until: self.slowly() }
            }
        };
    }

    pub(super) async fn claim(&mut self) -> Result<(), StoreError> {
        let (Some(request), Some(allowed)) = (&self.request, &self.allowed) else {
            self.situation.request = Request::Unread;
            return Ok(());
        };
        let deadline = Instant::now() + self.performer.settings.claim_limit;
        let attempt_id = Uuid::new_v4().to_string();
        let attempt = Attempt {
            id: attempt_id.clone(),
            holder: self.performer.settings.holder.clone(),
            request_uid: request.uid().unwrap_or_default(),
            requested_by: request.spec.requested_by.clone(),
            grants: allowed.grants.clone(),
            role_arn: allowed.role.as_ref().map(|role| role.arn.clone()),
            external_id: allowed.role.as_ref().and_then(|role| role.external_id.clone()),
            claimed_at: Time(Timestamp::now()),
            user_status_before: self.situation.before.status(),
            settled_at: None,
            evidence: None,
            code: None,
            aws_request_id: None,
            user_status_after: None,
        };
        let mut wanted = ledger::claimed(self.record.as_ref(), &self.identity, attempt);
        wanted.spec.sub = self.sub.clone().or(wanted.spec.sub);
        let too_late = match self.performer.store.claim(&wanted, deadline).await? {
            Claimed::Ours(stored) => {
                self.record = Some(*stored);
                Instant::now() >= deadline
            }
            Claimed::TooLate => {
                self.record = Some(wanted);
                true
            }
            Claimed::Theirs => {
                self.situation.request = Request::Unread;
                self.situation.ledger = Ledger::Unread;
                return Ok(());
            }
        };
        self.situation.attempt = Held::Claimed { too_late };
        self.attempt_id = Some(attempt_id.clone());
        self.claim = Some(Claim { attempt_id, deadline });
        Ok(())
    }

    /// Sends, once: the claim is consumed first.
    pub(super) async fn send(&mut self) {
        let (Some(claim), Some(session)) = (self.claim.take(), &self.session) else {
            self.situation.attempt = Held::Claimed { too_late: true };
            return;
        };
        if Instant::now() >= claim.deadline {
            self.situation.attempt = Held::Claimed { too_late: true };
            return;
        }
        let metadata = self.request.as_ref().and_then(|request| request.spec.client_metadata.as_ref());
        let reply = self.performer.cognito.reset(session, self.user(), metadata).await;
        info!(request = %self.object(), attempt = %claim.attempt_id, answer = reply.answer.name(), "called Cognito");
        self.performer.metrics.call(&reply.answer);
        let mut budget = lock(&self.performer.budget);
        match reply.answer.class() {
            Some(Class::Throttled) => budget.throttled(&self.quota_key(), Instant::now()),
            Some(Class::Refused | Class::Ambiguous | Class::AmbiguousFailure) | None => {
                budget.accepted(&self.quota_key(), Instant::now());
            }
            Some(Class::Blocked) => {}
        }
        drop(budget);
        self.aws_request_id = reply.request_id;
        self.situation.attempt = Held::Answered(reply.answer);
    }

    pub(super) async fn probe(&mut self) {
        if self.probed > 0 {
            sleep(self.performer.settings.probe_pause * (1 << (self.probed - 1).min(8))).await;
        }
        self.probed += 1;
        self.situation.probes.left = self.situation.probes.left.saturating_sub(1);
        if self.session.is_none()
            && let Some(access) = self.access_of_attempt()
        {
            match self.performer.cognito.session(&access).await {
                Ok(session) => self.session = Some(session),
                Err(error) => warn!(request = %self.object(), %error, "no credentials for a probe"),
            }
        }
        let Some(session) = &self.session else { return };
        match self.performer.cognito.user(session, self.user()).await {
            Ok(user) => self.situation.probes.last = Some(user.status),
            Err(error) => info!(request = %self.object(), %error, "a probe could not read the user"),
        }
    }

    pub(super) async fn settle(&mut self, settlement: Settlement) {
        let open = self.record.as_ref().and_then(ledger::last).map(|attempt| attempt.id.clone());
        let (Some(record), Some(attempt_id)) = (&self.record, self.attempt_id.take().or(open)) else {
            self.situation.ledger = Ledger::Unread;
            self.situation.attempt = Held::None;
            return;
        };
        let answer = match &self.situation.attempt {
            Held::Answered(answer) => Some(answer),
            Held::Claimed { .. } | Held::None => None,
        };
        let finding = Finding {
            attempt_id,
            settlement,
            code: answer.and_then(Answer::code).map(|code| code.as_str().to_owned()),
            aws_request_id: self.aws_request_id.take(),
            user_status_after: self.situation.probes.last,
        };
        let stored = self.performer.store.settle(record, &finding).await;
        if stored.spec.effect == Some(settlement.effect) {
            self.performer.metrics.settled(settlement.effect);
        }
        info!(
            request = %self.object(), record = %stored.name_any(), attempt = %finding.attempt_id,
            effect = stored.spec.effect.map(Effect::as_str), evidence = ?settlement.evidence, "settled an attempt"
        );
        self.situation = Situation {
            request: self.situation.request.clone(),
            permission: self.situation.permission,
            user_busy: self.situation.user_busy,
            ..Situation::unknown(self.performer.settings.probes)
        };
        self.claim = None;
        self.probed = 0;
        self.read_ledger(Some(stored));
    }

    /// Writes the outcome; `false` where the request has changed and has to be read again.
    pub(super) async fn tell_end(&mut self, conclusion: Conclusion) -> Result<bool, StoreError> {
        let telling = project::ended(conclusion, self.record.as_ref(), Some(&self.uid()));
        match self.tell(&telling).await? {
            Told::Written => {
                self.performer.metrics.finished(telling.outcome, telling.reason);
                if let Some(request) = &self.request {
                    self.performer.events.tell(request, &telling);
                }
                info!(request = %self.object(), outcome = telling.outcome.as_str(), reason = %telling.reason, "request finished");
                Ok(true)
            }
            Told::Gone => Ok(true),
            Told::Conflict => {
                self.situation.request = Request::Unread;
                self.situation.ledger = Ledger::Unread;
                Ok(false)
            }
        }
    }

    async fn tell(&self, telling: &Telling) -> Result<Told, StoreError> {
        let Some(request) = &self.request else { return Ok(Told::Gone) };
        let status = project::status(request, self.record.as_ref(), telling, Timestamp::now());
        if request.status.as_ref() == Some(&status) {
            return Ok(Told::Written);
        }
        let mut request = request.clone();
        request.status = Some(status);
        self.performer.store.tell(&request).await
    }

    /// Shows why it waits, unless that is over in a moment.
    pub(super) async fn wait(&mut self, reason: Reason, until: Timestamp) -> Result<Next, StoreError> {
        let left = Timestamp::now().duration_until(until);
        if matches!(self.situation.request, Request::Pending(_))
            && left >= self.performer.settings.shown_wait
            && self.tell(&project::waiting(reason)).await? == Told::Conflict
        {
            return Ok(Next::After(Duration::from_millis(50)));
        }
        Ok(Next::After(Duration::try_from(left).unwrap_or_default().clamp(SHORTEST_WAIT, LONGEST_WAIT)))
    }

    pub(super) fn done(&self) -> Next {
        self.performer.forget(&self.identity, self.request.as_ref().and_then(ResourceExt::uid).as_deref());
        Next::Done
    }

    fn object(&self) -> String {
        format!("{}/{}", self.identity.request.namespace, self.identity.request.name)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn after(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

fn view_request(request: &PasswordResetRequest) -> Request {
    let spec = &request.spec;
    let outcome = request.status.as_ref().map(|status| status.outcome).unwrap_or_default();
    if outcome != Outcome::Pending {
        return Request::Finished;
    }
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Request::Pending(Wishes {
        suspended: spec.suspend,
        expires: spec.expiration_time.as_ref().map(|time| time.0),
        deadline: after(created, SignedDuration::from_secs(spec.deadline_seconds)),
        skip_if_reset_required: spec.if_reset_required == IfResetRequired::Skip,
    })
}
