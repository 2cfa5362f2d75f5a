//! What a pass does where the API server does not take its writes: it tells so where that is still possible, and by whom.

use cognito_reset_api::{
    PasswordResetRecord, PasswordResetRequest,
    conditions::{ConditionType, Reason},
};
use cognito_reset_core::{
    action::port::Cognito,
    ledger::{self, Finding},
    machine::{
        knowledge::{Knowledge, has_room},
        state::{RecordWrite, Refused, Request},
        status::{self, Telling},
    },
    recent::RecentSet,
    refusal::Refuser,
};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::{
    controllers::request::{
        pass::{Pass, after, signed},
        performer::Performer,
        refusals::Standing,
    },
    kube::store::{FIRST_PAUSE, LONGEST_PAUSE, StoreError, Told},
    telemetry::metrics::Target,
};

/// How often an effect is tried to be stored before its status says that this fails, where no refusal says so at once.
const PATIENCE: u32 = 5;
const TOO_LARGE: &str =
    "the request's metadata takes more than 1 MiB; remove labels, annotations, owners, finalizers or field managers";

impl<C: Cognito> Performer<C> {
    /// Names the records whose effect would be lost if the process ended now.
    pub fn warn_of_held_up(&self) {
        let records = self.held_up.records();
        if !records.is_empty() {
            let (number, records) = (records.len(), records.join(" "));
            warn!(
                number, %records,
                "the results of these requests are not in their records yet, because the API server does not accept them; if the operator ends before it does, their outcome may be Unknown"
            );
        }
    }
}

impl<C: Cognito> Pass<'_, C> {
    /// A write to the record failed. Where it was refused, that is what the request waits for, and else an error.
    pub(super) fn refused(&mut self, write: RecordWrite, error: StoreError) -> Result<(), StoreError> {
        let Some(refuser) = error.refuser() else { return Err(error) };
        self.performer.metrics.write_refused(Target::Record, &refuser);
        let record = self.known.identity.record_name();
        warn!(
            request = %self.object(), %record, ?write, %error,
            "the API server refuses to write a record; trying again"
        );
        // Each try of a claim takes a turn of the budget and reads the user.
        let backoff = self.performer.settings.waits.backoff;
        let pause = |before| backoff.after(before, &Uuid::new_v4().to_string()).unsigned_abs();
        let standing = self.performer.refusals.again(&record, write, &refuser, pause, Instant::now());
        self.wait_for(standing);
        Ok(())
    }

    fn wait_for(&mut self, Standing { write, refuser, pause }: Standing) {
        self.known.refused(write, refuser, after(Timestamp::now(), signed(pause)));
    }

    /// Writes what is known of an attempt into its record, and tries until it is stored or the record already says as much.
    /// Returns the record as it then stands. Meanwhile the request's status says what happened, and what hinders.
    ///
    /// Of this pass's own attempt nobody else knows what happened, so there is no error. What it found out of another one's
    /// can be found out again: where that is refused it gives up, so that it keeps nobody waiting.
    pub(super) async fn store_effect(
        &self,
        known: &PasswordResetRecord,
        finding: &Finding,
    ) -> Result<PasswordResetRecord, StoreError> {
        let (store, name) = (&self.performer.store, known.name_any());
        let (mut current, mut pause) = (known.clone(), FIRST_PAUSE);
        let (mut hindrance, held_up) = (Hindrance::default(), self.performer.held_up.entry(&name));
        loop {
            let error = match store.settle(&current, finding).await {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            self.hindered(&current, finding, &error, &mut hindrance).await;
            if self.known.attempt.is_none() && hindrance.is_refused() {
                return Err(error);
            }
            if hindrance.lasts() {
                held_up.add(hindrance.refusers.newest().cloned());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match store.record(&name).await {
                Ok(standing) => current = ledger::to_settle(known, standing),
                Err(error) => warn!(%error, record = %name, "unable to read the record yet"),
            }
        }
    }

    /// What an earlier pass met is known to this one, whatever has woken it. Where the effects of so many requests are not
    /// stored that hardly a task is left to tell of anything, this one waits.
    pub(super) fn recall_refusals(&mut self) {
        let record = self.known.identity.record_name();
        if let Some(standing) = self.performer.refusals.standing(&record, Instant::now()) {
            self.wait_for(standing);
        } else if let Some(refuser) = self.performer.held_up.too_many(self.performer.settings.most_held_up) {
            self.known.refused(RecordWrite::EarlierEffects, refuser, self.slowly());
        }
    }

    async fn hindered(
        &self,
        record: &PasswordResetRecord,
        finding: &Finding,
        error: &StoreError,
        so_far: &mut Hindrance,
    ) {
        let (name, refuser) = (record.name_any(), error.refuser());
        let is_new = so_far.met(refuser.as_ref(), error.is_answer());
        match &refuser {
            Some(refuser) => {
                self.performer.metrics.write_refused(Target::Record, refuser);
                if is_new {
                    error!(%error, record = %name, "the API server refuses an effect; trying again until it is stored");
                } else {
                    debug!(%error, record = %name, "the API server still refuses an effect");
                }
            }
            None => warn!(%error, record = %name, "unable to write an effect yet"),
        }
        if so_far.is_to_be_told() {
            match self.tell_held_up(record, finding, so_far.refusers.newest()).await {
                Ok(Told::Written | Told::Gone) => so_far.told = true,
                Ok(Told::Conflict) => {}
                Err(error) => {
                    debug!(request = %self.object(), %error, "unable to report in the status yet that an effect is not stored")
                }
            }
        }
    }

    /// Says in the status what happened, and that it cannot be stored. The request is read afresh: it may have changed
    /// since this pass read it, or may be another one of the name.
    async fn tell_held_up(
        &self,
        record: &PasswordResetRecord,
        finding: &Finding,
        refuser: Option<&Refuser>,
    ) -> Result<Told, StoreError> {
        let identity = self.known.identity.clone();
        let request = self.performer.store.request(&identity.request.namespace, &identity.request.name).await?;
        let mut known = Knowledge::none(identity, 0, None);
        known.read_request(request, |_| Err(Reason::WriteRefused));
        known.record = Some(record.clone());
        if !matches!(known.situation.request, Request::Pending(_)) {
            return Ok(Told::Gone);
        }
        let Some(attempt) = ledger::last(record) else { return Ok(Told::Gone) };
        let uid = known.request.as_ref().and_then(ResourceExt::uid);
        let ours = Some(attempt.request_uid.as_str()) == uid.as_deref();
        self.tell_of(&known, &status::held_up(attempt, finding, refuser, ours), Timestamp::now()).await
    }

    /// After a status was written that says what is refused: an Event says it too, once.
    pub(super) fn told_of_refusal(&self, known: &Knowledge, telling: &Telling) {
        let Some(before) = known.request.as_ref().filter(|_| telling.reason == Reason::WriteRefused) else { return };
        let mut conditions = before.status.iter().flat_map(|status| &status.conditions);
        let is_known = conditions
            .any(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.message == telling.message);
        if !is_known {
            let (object, reason) = (before.object_ref(&()), telling.reason.as_str());
            self.performer.events.refused(object, reason, &telling.message, action(known, telling));
        }
    }

    /// A status could not be written. Where that is refused, or it does not fit, an Event is the one way to say what it
    /// would have said; once for each thing that is to be said.
    pub(super) fn not_told(&self, known: &Knowledge, telling: &Telling, error: &StoreError) {
        let refuser = error.refuser();
        if let Some(refuser) = &refuser {
            self.performer.metrics.write_refused(Target::Status, refuser);
        }
        let Some(request) = &known.request else { return };
        let Some((reason, note)) = in_place_of_status(request, telling, refuser.as_ref()) else { return };
        let record = known.identity.record_name();
        if self.performer.refusals.is_news(&record, &telling.message, refuser.as_ref(), Instant::now()) {
            let object = request.object_ref(&());
            self.performer.events.refused(object, reason.as_str(), &note, action(known, telling));
        }
    }
}

/// Which write an Event is about.
const fn action(known: &Knowledge, telling: &Telling) -> &'static str {
    match (telling.reason, known.situation.refused) {
        (Reason::WriteRefused, Some(Refused { write: RecordWrite::Claim | RecordWrite::EarlierEffects, .. })) => {
            "Claim"
        }
        (Reason::WriteRefused, Some(Refused { write: RecordWrite::Close(_), .. })) => "Close",
        (Reason::WriteRefused, Some(Refused { write: RecordWrite::Remember, .. })) => "Remember",
        (Reason::WriteRefused, None) => "Settle",
        _ => "Tell",
    }
}

/// Reason and note of an Event in place of a status; `None` where the status will be written soon.
fn in_place_of_status(
    request: &PasswordResetRequest,
    telling: &Telling,
    refuser: Option<&Refuser>,
) -> Option<(Reason, String)> {
    if !has_room(request) {
        let note = match telling.reason {
            Reason::ObjectTooLarge => telling.message.clone(),
            _ => format!("{}. The status cannot be written: {TOO_LARGE}", telling.message),
        };
        return Some((Reason::ObjectTooLarge, note));
    }
    let refuser = refuser?;
    let note = format!("{}. The status cannot be written: refused by {refuser}; retrying", telling.message);
    Some((telling.reason, note))
}

/// What has kept an effect from being stored so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hindrance {
    /// Who has refused it. Several may do so in turn, and each is told once.
    refusers: RecentSet<Refuser>,
    /// How many answers were neither the effect nor a refusal.
    failures: u32,
    told: bool,
}

impl Hindrance {
    /// Another try failed: `refuser` where it was refused, `answered` where the API server answered at all. Gives whether
    /// somebody new refuses.
    fn met(&mut self, refuser: Option<&Refuser>, answered: bool) -> bool {
        let is_new = refuser.is_some_and(|refuser| self.refusers.is_new(refuser));
        if is_new {
            self.told = false;
        } else if refuser.is_none() {
            self.failures = self.failures.saturating_add(u32::from(answered));
        }
        is_new
    }

    fn is_refused(&self) -> bool {
        self.refusers.newest().is_some()
    }

    fn lasts(&self) -> bool {
        self.is_refused() || self.failures >= PATIENCE
    }

    fn is_to_be_told(&self) -> bool {
        self.lasts() && !self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_at_once_and_another_failure_when_it_has_lasted_for_several_answers() {
        let policy = |name: &str| Some(Refuser::ValidatingPolicy(name.into()));
        let mut so_far = Hindrance::default();
        // What the next try meets, whether it was answered, and whether that is to be told.
        for (number, (refuser, answered, wanted)) in [
            (None, true, false),
            (None, false, false),
            (None, true, false),
            (None, true, false),
            (None, true, false),
            (None, true, true),
            (None, true, false),
            (policy("a"), true, true),
            (policy("a"), true, false),
            (None, false, false),
            (policy("b"), true, true),
            (policy("b"), true, false),
            // Two in turn.
            (policy("a"), true, false),
            (policy("b"), true, false),
            (policy("a"), true, false),
            (policy("c"), true, true),
            (policy("a"), true, false),
        ]
        .into_iter()
        .enumerate()
        {
            let is_new = so_far.met(refuser.as_ref(), answered);
            assert_eq!(so_far.is_to_be_told(), wanted, "try {number}");
            assert_eq!(is_new, wanted && refuser.is_some(), "try {number}");
            so_far.told = so_far.told || wanted;
        }
        let mut refused = Hindrance::default();
        refused.met(policy("a").as_ref(), true);
        assert!(refused.is_to_be_told());
    }
}
