//! What one pass knows, and what each reply adds to it. Pure: [`perform`](super::perform) reads, writes
//! and calls, and the model checker runs these same functions.

use cognito_reset_api::{
    Attempt, Evidence, IfResetRequired, Outcome, PasswordResetRecord, PasswordResetRequest, SessionTags, UserStatus,
    conditions::Reason,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    action::{
        port::{ReadError, Reply, Role, User},
        response::{Answer, Class, Code},
    },
    grants::Authorization,
    ledger::{self, Claimed, Finding, Identity, Waits},
    machine::{
        decide::Settlement,
        state::{
            Attempt as Held, Budget, Credentials, Ledger, Permission, RecordWrite, Refused, Request, Situation,
            Snapshot, Wishes,
        },
        status::{self, Telling},
    },
    refusal::Refuser,
};

/// What a pass knows: the situation that is decided on, and the objects behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Knowledge {
    /// Whose pass it is.
    pub identity: Identity,
    /// What is decided on.
    pub situation: Situation,
    /// The request, as last read.
    pub request: Option<PasswordResetRequest>,
    /// The record, as last read or written.
    pub record: Option<PasswordResetRecord>,
    /// What allows the request, as of the last reading of it.
    pub allowed: Option<Authorization>,
    /// The user's `sub`, as of the snapshot.
    pub sub: Option<String>,
    /// The attempt of this pass, until it is settled.
    pub attempt: Option<Claim>,
    /// When the call of that attempt was sent.
    pub sent_at: Option<Timestamp>,
    /// Cognito's request id for that attempt.
    pub aws_request_id: Option<String>,
    /// Who refuses the write that `situation.refused` is about; `None` where it fails in another way.
    pub refuser: Option<Refuser>,
}

/// A claim of this pass's own: the right to send once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The attempt's id.
    pub attempt_id: String,
    /// Whether the right is used up, by sending.
    pub consumed: bool,
}

impl Knowledge {
    /// Nothing yet. Up to `probes` probes may be made; `user_busy` where another task is at work on the same user.
    #[must_use]
    pub const fn none(identity: Identity, probes: u32, user_busy: Option<Timestamp>) -> Self {
        let mut situation = Situation::unknown(probes);
        situation.user_busy = user_busy;
        Self {
            identity,
            situation,
            request: None,
            record: None,
            allowed: None,
            sub: None,
            attempt: None,
            sent_at: None,
            aws_request_id: None,
            refuser: None,
        }
    }

    /// The request, read afresh. One that is being deleted, or of another user, is not the one of this pass.
    pub fn read_request(
        &mut self,
        request: Option<PasswordResetRequest>,
        allowed: impl FnOnce(&PasswordResetRequest) -> Result<Authorization, Reason>,
    ) {
        let meant_for = self.meant_for();
        self.request = request.filter(|request| {
            Identity::of_request(request) == self.identity && request.metadata.deletion_timestamp.is_none()
        });
        self.situation.request = self.request.as_ref().map_or(Request::Gone, view);
        let allowed = |request| if has_room(request) { allowed(request) } else { Err(Reason::ObjectTooLarge) };
        match self.request.as_ref().map(allowed) {
            Some(Ok(allowed)) => {
                self.allowed = Some(allowed);
                self.situation.permission = Permission::Granted;
            }
            Some(Err(reason)) => {
                self.allowed = None;
                self.situation.permission = Permission::Denied(reason);
            }
            None => {}
        }
        if self.meant_for() != meant_for {
            self.situation.budget = Budget::NotAsked;
            self.situation.credentials = Credentials::NotLoaded;
            self.situation.before = Snapshot::NotRead;
        }
    }

    /// What budget, credentials and snapshot are good for: one role and one object, and neither another role nor
    /// another object of the name.
    fn meant_for(&self) -> (Option<Role>, Option<String>) {
        let role = self.allowed.as_ref().and_then(|allowed| allowed.role.clone());
        (role, self.request.as_ref().and_then(ResourceExt::uid))
    }

    /// The record, read afresh. For `seen_for` see [`ledger::view`].
    pub fn read_record(
        &mut self,
        record: Option<PasswordResetRecord>,
        waits: &Waits,
        seen_for: impl FnOnce(&Attempt) -> SignedDuration,
        now: Timestamp,
    ) {
        self.situation.ledger = ledger::view(record.as_ref(), &self.identity, waits, seen_for, now);
        self.situation.remembered = record.as_ref().and_then(ledger::remembered);
        self.record = record;
    }

    /// Something has changed since it was read: request, record and user are to be read again.
    pub fn outdated(&mut self) {
        self.situation.request = Request::Unread;
        self.situation.ledger = Ledger::Unread;
        self.situation.before = Snapshot::NotRead;
    }

    /// What came of reading the user before the claim. `again` is when a request that cannot go on without it tries again,
    /// where that may help: an exception by which Cognito refuses for good stays what it is. A state that Cognito itself does
    /// not know has not been read.
    pub fn snapshot(&mut self, read: Result<User, &ReadError>, again: Timestamp) {
        self.situation.before = match read {
            Ok(user) => {
                self.sub = user.sub;
                match user.status {
                    UserStatus::Unknown => Snapshot::Unreadable { until: again },
                    known => Snapshot::Read(known),
                }
            }
            Err(ReadError::Exception(Code::Known(exception))) if Class::of(*exception) == Class::Refused => {
                Snapshot::Refused(*exception)
            }
            Err(ReadError::Exception(_) | ReadError::Connection(_) | ReadError::NoResponse) => {
                Snapshot::Unreadable { until: again }
            }
        };
    }

    /// The record that claims another attempt, with a fresh random id. `None` where what that takes is not known.
    #[must_use]
    pub fn claim(&self, attempt_id: String, holder: String, now: Timestamp) -> Option<PasswordResetRecord> {
        self.allowed.as_ref()?;
        let attempt = self.entry(attempt_id, holder, now)?;
        let mut wanted = ledger::claimed(self.record.as_ref(), &self.identity, attempt);
        wanted.spec.user_sub = self.sub.clone().or(wanted.spec.user_sub);
        Some(self.remembering(wanted))
    }

    /// The record closed without a call, for good. `None` where the request is not known.
    #[must_use]
    pub fn close(&self, evidence: Evidence, id: String, holder: String, now: Timestamp) -> Option<PasswordResetRecord> {
        let code = match self.situation.before {
            Snapshot::Refused(exception) if evidence == Evidence::UserReadResponse => Some(exception.code().to_owned()),
            Snapshot::Refused(_) | Snapshot::NotRead | Snapshot::Unreadable { .. } | Snapshot::Read(_) => None,
        };
        let (settled_at, evidence) = (Some(Time(now)), Some(evidence));
        let entry = Attempt { settled_at, evidence, exception_code: code, ..self.entry(id, holder, now)? };
        let mut wanted = ledger::closed(self.record.as_ref(), &self.identity, entry);
        wanted.spec.user_sub = self.sub.clone().or(wanted.spec.user_sub);
        Some(self.remembering(wanted))
    }

    /// The settled record, remembering the expiry of the request that is told of it. `None` where either is not known.
    #[must_use]
    pub fn remember(&self) -> Option<PasswordResetRecord> {
        self.request.as_ref()?;
        Some(self.remembering(self.record.clone()?))
    }

    fn remembering(&self, record: PasswordResetRecord) -> PasswordResetRecord {
        let expires = self.request.as_ref().and_then(|request| request.spec.not_after.as_ref());
        ledger::remembering(record, expires.map(|time| time.0))
    }

    fn entry(&self, id: String, holder: String, now: Timestamp) -> Option<Attempt> {
        let request = self.request.as_ref()?;
        let role = self.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
        Some(Attempt {
            id,
            operator_instance: holder,
            request_uid: request.uid().unwrap_or_default(),
            requested_by: request.spec.requested_by.clone(),
            approved_by: request.spec.approved_by.clone(),
            reason: request.spec.reason.clone(),
            ticket: request.spec.ticket.clone(),
            on_behalf_of: request.spec.on_behalf_of.clone(),
            grants: self.allowed.as_ref().map(|allowed| allowed.grants.clone()).unwrap_or_default(),
            role_arn: role.map(|role| role.arn.clone()),
            external_id: role.and_then(|role| role.external_id.clone()),
            session_tags: role.map(|role| role.session_tags).filter(|tags| *tags != SessionTags::Full),
            claimed_at: Time(now),
            sent_at: None,
            user_status_before: self.situation.before.status(),
            settled_at: None,
            evidence: None,
            cause: None,
            exception_code: None,
            aws_request_id: None,
            user_status_after: None,
        })
    }

    /// What came of writing the claim `wanted`; `in_time` where its call may still be sent.
    pub fn claimed(&mut self, wanted: PasswordResetRecord, claimed: Claimed, in_time: bool) {
        let (record, too_late) = match claimed {
            Claimed::Ours(stored) => (*stored, !in_time),
            Claimed::TooLate => (wanted, true),
            Claimed::Theirs => return self.outdated(),
        };
        self.attempt = ledger::last(&record).map(|last| Claim { attempt_id: last.id.clone(), consumed: false });
        self.situation.attempt = Held::Claimed { too_late };
        self.record = Some(record);
    }

    /// Consumes the claim, right before its one call: gives the attempt's id, once, and only in time.
    pub fn consume(&mut self, in_time: bool) -> Option<String> {
        if let Some(claim) = self.attempt.as_mut().filter(|claim| !claim.consumed) {
            claim.consumed = true;
            if in_time {
                return Some(claim.attempt_id.clone());
            }
        }
        self.situation.attempt = Held::Claimed { too_late: true };
        None
    }

    /// Gives a claim back that no call was made for, and now none will be. `false` where there is none to give back.
    pub fn give_back(&mut self) -> bool {
        let held = self.attempt.as_ref().is_some_and(|claim| !claim.consumed);
        if held {
            self.consume(false);
        }
        held
    }

    /// What came of the call.
    pub fn answered(&mut self, reply: Reply) {
        if reply.answer.cause().is_some() {
            self.sent_at = None;
        }
        self.aws_request_id = reply.request_id;
        self.situation.attempt = Held::Answered(reply.answer);
    }

    /// What a probe saw; `None` where it could not read the user.
    pub fn probed(&mut self, seen: Option<UserStatus>) {
        let probes = &mut self.situation.probes;
        probes.left = probes.left.saturating_sub(1);
        probes.last = seen.or(probes.last);
    }

    /// What is to be written of this pass's attempt, or of an open one that it resolves, and into which record.
    #[must_use]
    pub fn finding(&self, settlement: Settlement) -> Option<(&PasswordResetRecord, Finding)> {
        let record = self.record.as_ref()?;
        let own = self.attempt.as_ref().map(|claim| &claim.attempt_id);
        let attempt_id = own.or(ledger::last(record).map(|open| &open.id))?.clone();
        let answer = match &self.situation.attempt {
            Held::Answered(answer) => Some(answer),
            Held::Claimed { .. } | Held::None => None,
        };
        let finding = Finding {
            attempt_id,
            settlement,
            cause: answer.and_then(Answer::cause),
            code: answer.and_then(Answer::code).map(|code| code.as_str().to_owned()),
            sent_at: self.sent_at,
            aws_request_id: self.aws_request_id.clone(),
            user_status_after: self.situation.probes.last,
        };
        Some((record, finding))
    }

    /// The attempt is settled, or there is none: only what was read of the request is still good.
    pub fn settled(&mut self, probes: u32) {
        self.situation = Situation {
            request: self.situation.request.clone(),
            permission: self.situation.permission,
            user_busy: self.situation.user_busy,
            ..Situation::unknown(probes)
        };
        self.attempt = None;
        self.sent_at = None;
        self.aws_request_id = None;
    }

    /// A write was refused, so that nothing was stored; the request goes on from `until`.
    pub fn refused(&mut self, write: RecordWrite, refuser: Option<Refuser>, until: Timestamp) {
        self.situation.refused = Some(Refused { write, until });
        self.refuser = refuser;
    }

    /// What is told of the request while it waits for this reason.
    #[must_use]
    pub fn waiting(&self, reason: Reason) -> Telling {
        match self.situation.refused {
            Some(refused) if reason == Reason::WriteRefused => {
                status::refused(refused.write, self.refuser.as_ref(), &self.ended())
            }
            Some(_) | None => status::waiting(reason),
        }
    }

    /// What is told of the request at its end.
    #[must_use]
    pub fn ended(&self) -> Telling {
        let uid = self.request.as_ref().and_then(ResourceExt::uid);
        status::ended(self.record.as_ref(), uid.as_deref())
    }

    /// The request with the status that tells it, guarded by the uid and resourceVersion that were read.
    /// `None` where there is no request, or it already tells as much.
    #[must_use]
    pub fn told(&self, telling: &Telling, now: Timestamp) -> Option<PasswordResetRequest> {
        let mut request = self.request.clone()?;
        let status = status::status(&request, self.record.as_ref(), telling, now);
        if request.status.as_ref() == Some(&status) {
            return None;
        }
        request.status = Some(status);
        Some(request)
    }
}

/// The most bytes that a request's metadata may take, as JSON. etcd takes objects of 1.5 MiB; spec and status, whose
/// definitions bound them, fit into the rest.
pub const MAX_METADATA: usize = 1 << 20;

/// Whether a status can still be written beside what others have attached to the request: labels, annotations, owners,
/// finalizers and managed fields. Without one, its outcome could not be told.
#[must_use]
pub fn has_room(request: &PasswordResetRequest) -> bool {
    serde_json::to_vec(&request.metadata).is_ok_and(|json| json.len() <= MAX_METADATA)
}

fn view(request: &PasswordResetRequest) -> Request {
    let spec = &request.spec;
    if request.outcome() != Outcome::Pending {
        return Request::Finished;
    }
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let lifetime = SignedDuration::from_secs(spec.deadline_seconds);
    Request::Pending(Wishes {
        suspended: spec.suspend,
        expires: spec.not_after.as_ref().map(|time| time.0),
        deadline: created.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
        skip_if_reset_required: spec.if_reset_required == IfResetRequired::Skip,
    })
}

#[cfg(test)]
mod tests;
