//! The facts that the machine has read, and the changes to them.

use std::sync::Arc;

use cognito_reset_api::{
    Attempt, CloseCause, Closed, IfResetRequired, Origin, Outcome, PasswordResetRecord, PasswordResetRequest,
    RequestedBy, SessionTags, UserStateSource, UserStatus, conditions::WaitReason,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    action::{
        port::{ReadError, Reply, Role, User},
        response::{Class, Code, ResetResponse},
        user_names::{KnownUser, UserNames},
    },
    dispatch::{
        closings::ClosingQueue,
        turns::{GrantLimit, GrantLimits},
    },
    grants::{Authorization, Evaluation, HeldBy, HoldCause, ReadAccess, is_service_account_of},
    ledger::{self, Finding, Identity, Ledger, Settlement, Waits},
    machine::{
        Object, Start,
        state::{
            Credentials, Desired, OwnAttempt, Pace, PaceReason, Permission, ReadReason, RecordWrite, Refused, Request,
            Snapshot, State, Turn,
        },
        status::{self, StatusUpdate},
    },
    refusal::Refuser,
};

/// The length of the longest user name of a service account. A longer name is not repeated in a
/// status.
const LONGEST_ACCOUNT: usize = 340;

/// The state that is decided on, and the objects that it was read from.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Facts {
    /// The identity of the request and the record.
    pub identity: Identity,
    /// The state that is decided on.
    pub state: State,
    /// The turn, or the reason why there is none.
    pub start: Start,
    /// The request, as last read.
    pub request: Option<Object<PasswordResetRequest>>,
    /// The record, as last read or written.
    pub record: Option<Object<PasswordResetRecord>>,
    /// The authorization of the request, as of its last read.
    pub allowed: Option<Authorization>,
    /// The access to read the user with before an approval, as of the last read of the request.
    pub read_access: Option<ReadAccess>,
    /// True if a grant that matches the request requires an approval, as of its last read.
    pub approval_required: bool,
    /// The user's `sub`, as of the snapshot.
    pub sub: Option<String>,
    /// A time of the API server right before the snapshot, from the response with the request.
    pub state_read_after: Option<Timestamp>,
    /// The hold that holds the request, as of its last read.
    pub held_by: Option<HeldBy>,
    /// The user, as of the snapshot. A later one is read before the next claim.
    pub user: KnownUser,
    /// The time to read the user again, if that failed.
    pub read_user_at: Option<Timestamp>,
    /// The id of the attempt that this machine has claimed, until it is settled.
    pub attempt_id: Option<String>,
    /// The time at which the call of that attempt was begun. The ledger drops it if the finding is
    /// that nothing was sent.
    pub sent_at: Option<Timestamp>,
    /// Cognito's request id for that attempt.
    pub aws_request_id: Option<String>,
    /// The refuser of the write in `state.refused`; `None` if it fails in another way.
    pub refuser: Option<Refuser>,
}

impl Facts {
    /// Returns facts without any read. Up to `probes` probes may be made; `user_busy` where another
    /// task is at work on the same user.
    #[must_use]
    pub(super) const fn new(identity: Identity, probes: u32, start: Start, user_busy: Option<Timestamp>) -> Self {
        let mut state = State::unknown(probes);
        state.user_busy = user_busy;
        Self {
            identity,
            state,
            start,
            request: None,
            record: None,
            allowed: None,
            read_access: None,
            approval_required: false,
            sub: None,
            state_read_after: None,
            held_by: None,
            user: KnownUser::NotRead,
            read_user_at: None,
            attempt_id: None,
            sent_at: None,
            aws_request_id: None,
            refuser: None,
        }
    }

    /// Returns true for the request of this machine: it is not being deleted, and is for the same
    /// user.
    pub(super) fn matches(&self, request: &PasswordResetRequest) -> bool {
        Identity::of_request(request) == self.identity && request.metadata.deletion_timestamp.is_none()
    }

    /// Takes in the request that was read and its evaluation by grants and holds, or `None` if
    /// there is no request of this machine. `again` is the time of the next try if the grants are
    /// not confirmed.
    pub(super) fn read_request(&mut self, found: Option<(Object<PasswordResetRequest>, Evaluation)>, again: Timestamp) {
        let binding = self.binding();
        match found {
            Some((request, evaluation)) => {
                let Evaluation {
                    approval_required,
                    user_required,
                    authorization,
                    read_before_approval,
                    held_by,
                    confirmed,
                } = evaluation;
                let authorization = if has_room(&request) { authorization } else { Err(WaitReason::ObjectTooLarge) };
                // A user whom the status shows is read again right before the claim only.
                let is_shown = request.status.as_ref().is_some_and(|status| status.user_sub.is_some());
                self.read_access = read_before_approval.filter(|_| has_room(&request) && !is_shown);
                let user_required = user_required || approval_required && is_shown;
                self.state.request = view(&request, approval_required, user_required);
                self.request = Some(request);
                self.state.permission = match self.permission(&authorization, held_by.as_ref()) {
                    // The request decides about it, and not the grants.
                    denied @ Permission::Denied(WaitReason::ObjectTooLarge) => denied,
                    permission if confirmed => permission,
                    Permission::Granted
                    | Permission::Denied(_)
                    | Permission::Unreadable { .. }
                    | Permission::AwaitsApproval
                    | Permission::NotConfirmed { .. } => Permission::NotConfirmed { until: again },
                };
                self.allowed = authorization.ok();
                self.state.source = self.source();
                self.state.user_evaluated = matches!(self.user, KnownUser::Read(_));
                self.approval_required = approval_required;
                self.held_by = held_by;
            }
            None => {
                self.state.request = Request::Gone;
                self.request = None;
            }
        }
        if self.binding() != binding {
            self.state.credentials = Credentials::NotLoaded;
            self.state.before = Snapshot::NotRead;
        }
        self.state.pace = self.pace();
        self.state.user_changed = self.user_changed();
    }

    /// Returns the pace of calls by the role of the request.
    fn pace(&self) -> Pace {
        let limits = self.limits().map(Arc::as_ref);
        self.start.pace(self.role(), limits, &self.identity.user_pool_id, self.state.source, self.state.read_at)
    }

    /// Returns the limits that the turns of the request count for.
    pub(super) fn limits(&self) -> Option<&Arc<GrantLimits>> {
        let before_approval = self.read_access.as_ref().and_then(|access| access.limits.as_ref());
        self.allowed.as_ref().map_or(before_approval, |allowed| allowed.limits.as_ref())
    }

    /// Gives up the turn. The dispatcher knows when the next one is, which may be at once.
    pub(super) fn lose_turn(&mut self, reason: PaceReason) {
        self.start = Start::Look { reason, until: Timestamp::UNIX_EPOCH };
        self.state.pace = self.pace();
    }

    /// Returns the permission. A request that is held only because its user cannot be read is tried
    /// again when the user is to be read again.
    fn permission(&self, authorization: &Result<Authorization, WaitReason>, held_by: Option<&HeldBy>) -> Permission {
        match (authorization, held_by, self.read_user_at) {
            (Ok(_), _, _) => Permission::Granted,
            (Err(WaitReason::UserPoolHeld), Some(HeldBy { cause: HoldCause::UserUnreadable, .. }), Some(until)) => {
                Permission::Unreadable { until }
            }
            (Err(_), _, _) if self.read_access.is_some() => Permission::AwaitsApproval,
            (Err(reason), _, _) => Permission::Denied(*reason),
        }
    }

    /// Returns the role, the source and the uid that credentials and snapshot are bound to. They
    /// are not valid for others, or for another object of the name.
    fn binding(&self) -> (Option<Role>, UserStateSource, Option<String>) {
        (self.role().cloned(), self.source(), self.uid())
    }

    /// Returns the call by which the user is read, by the grants as of the last read of the
    /// request.
    fn source(&self) -> UserStateSource {
        let before_approval = self.read_access.as_ref().map(|access| access.source);
        self.allowed.as_ref().map(|allowed| allowed.source).or(before_approval).unwrap_or_default()
    }

    /// Returns the role of the grants, or the one to read the user with before an approval.
    pub(super) fn role(&self) -> Option<&Role> {
        let before_approval = self.read_access.as_ref().and_then(|access| access.role.as_ref());
        self.allowed.as_ref().map_or(before_approval, |allowed| allowed.role.as_ref())
    }

    /// Returns the user as the status shows it to an approver, if a grant requires an approval and
    /// the user was read.
    pub(super) const fn shown_user(&self) -> Option<&UserNames> {
        match &self.user {
            KnownUser::Read(names) if self.approval_required => Some(names),
            KnownUser::NotRead | KnownUser::Unreadable | KnownUser::Read(_) => None,
        }
    }

    /// Returns the `sub` that the status shows, if a grant requires an approval: it counts only for
    /// this user.
    fn sub_to_approve(&self) -> Option<&String> {
        let request = self.request.as_ref().filter(|_| self.approval_required)?;
        request.status.as_ref()?.user_sub.as_ref()
    }

    /// Returns true if the user who was read is not the one whom the status shows for the approval.
    fn user_changed(&self) -> bool {
        self.sub_to_approve().zip(self.sub.as_ref()).is_some_and(|(shown, read)| shown != read)
    }

    /// Takes in the record that was read; `observed_for` is the time since its last attempt was
    /// first observed.
    pub(super) fn read_record(
        &mut self,
        record: Option<Object<PasswordResetRecord>>,
        waits: &Waits,
        observed_for: SignedDuration,
        now: Timestamp,
    ) {
        self.state.ledger = ledger::view(record.as_deref(), &self.identity, waits, observed_for, now);
        self.state.remembered = record.as_deref().and_then(ledger::remembered);
        self.state.ungranted = record.as_deref().is_some_and(ledger::is_ungranted);
        self.record = record;
    }

    /// Discards what was read: request, record and user have to be read again. The result of
    /// ListUsers is kept: it is never the state before the claim, and a turn has one such read.
    pub(super) fn invalidate(&mut self) {
        self.state.request = Request::Unread;
        self.state.ledger = Ledger::Unread;
        self.state.assumed = false;
        if !(self.state.listed && self.state.source == UserStateSource::ListUsers) {
            self.state.before = Snapshot::NotRead;
        }
    }

    /// Takes in the user's state before the claim, or the error of reading it. `again` is the time
    /// of the next try of a request that needs the state, or of any request if Cognito did not
    /// respond. A state that Cognito itself does not know counts as not read, and so does a user
    /// without a `sub` who has to be compared with the one whom the status shows.
    pub(super) fn snapshot(&mut self, read: Result<User, &ReadError>, again: Timestamp) {
        self.read_user_at = read.is_err().then_some(again);
        self.state.user_evaluated = false;
        self.state_read_after = self.state.server_time;
        let is_listed = self.state.source == UserStateSource::ListUsers;
        self.state.listed |= is_listed;
        self.state.before = match read {
            Ok(user) => {
                self.sub.clone_from(&user.names.sub);
                self.user = KnownUser::Read(user.names);
                match user.status {
                    UserStatus::Unknown => Snapshot::Unreadable { until: again },
                    _ if self.sub.is_none() && self.sub_to_approve().is_some() => Snapshot::Unreadable { until: again },
                    known if is_listed => Snapshot::Listed(known),
                    known => Snapshot::Read(known),
                }
            }
            Err(error) => {
                // The name may be of another user by now.
                self.sub = None;
                self.user = KnownUser::Unreadable;
                match (error, no_response(error)) {
                    (_, Some(reason)) => Snapshot::NoResponse { until: again, reason },
                    // A list proves nothing about one user, so neither does a refusal to list.
                    (ReadError::Exception(Code::Known(exception)), None)
                        if !is_listed && Class::of(*exception) == Class::Refused =>
                    {
                        Snapshot::Refused(*exception)
                    }
                    (_, None) => Snapshot::Unreadable { until: again },
                }
            }
        };
        self.state.user_changed = self.user_changed();
    }

    /// Returns the record that claims another attempt with a fresh random id, or `None` without
    /// request or authorization.
    #[must_use]
    pub(super) fn claim(
        &self,
        attempt_id: String,
        operator_instance: String,
        now: Timestamp,
    ) -> Option<PasswordResetRecord> {
        self.allowed.as_ref()?;
        let (origin, user_status_before) = (self.origin(operator_instance)?, self.state.before.status_before());
        let state_read_after = user_status_before.and(self.state_read_after).map(Time);
        let attempt = Attempt { user_status_before, state_read_after, ..Attempt::new(attempt_id, origin, Time(now)) };
        let mut wanted = ledger::claimed(self.record.as_deref(), &self.identity, attempt);
        // The user of an earlier attempt may be another one by now. Without a `sub`, the record is
        // listed among those of every user.
        wanted.spec.user_sub = self.certain_sub();
        Some(self.remembering(wanted))
    }

    /// Returns the user's `sub`, if a call for the name in the request is certainly for this user.
    /// A list may be so old that an address was another user's.
    fn certain_sub(&self) -> Option<String> {
        let is_kept = || matches!(&self.user, KnownUser::Read(names) if names.keep(&self.identity.username));
        let is_certain = match self.state.source {
            UserStateSource::AdminGetUser => true,
            UserStateSource::ListUsers => is_kept(),
            UserStateSource::None => false,
        };
        self.sub.clone().filter(|_| is_certain)
    }

    /// Returns the record closed without a call, or `None` without a request.
    #[must_use]
    pub(super) fn close(
        &self,
        cause: CloseCause,
        operator_instance: String,
        now: Timestamp,
    ) -> Option<PasswordResetRecord> {
        let exception_code = match self.state.before {
            Snapshot::Refused(exception) if cause == CloseCause::UserReadRefused => Some(exception.code().to_owned()),
            Snapshot::Refused(_)
            | Snapshot::NotRead
            | Snapshot::Unreadable { .. }
            | Snapshot::NoResponse { .. }
            | Snapshot::Read(_)
            | Snapshot::Listed(_) => None,
        };
        let (mut origin, user_status) = (self.origin(operator_instance)?, self.state.before.status());
        let ungranted = self.is_ungranted();
        if ungranted {
            origin = without_texts(origin);
        }
        let closed = Closed { cause, exception_code, user_status, closed_at: Time(now), ungranted, origin };
        let mut wanted = ledger::closed(self.record.as_deref(), &self.identity, closed);
        wanted.spec.user_sub = self.certain_sub().or(wanted.spec.user_sub);
        Some(self.remembering(wanted))
    }

    /// Returns true if the request is not authorized, and nothing was ever claimed for it. Anyone
    /// who may create requests can cause any number of such records.
    fn is_ungranted(&self) -> bool {
        self.allowed.is_none() && self.record.is_none()
    }

    /// Returns the queue in which the record is closed, or an ungranted one extended.
    #[must_use]
    pub(super) fn closing_queue(&self, now: Timestamp) -> ClosingQueue {
        let ungranted = self.state.ungranted || self.is_ungranted();
        let expires = self.request.as_ref().and_then(|request| request.spec.not_after.as_ref());
        let now = self.state.server_time.map_or(now, |server| server.min(now));
        ClosingQueue::of(ungranted, expires.map(|time| time.0), now)
    }

    /// Returns the settled record with the expiry of the request, or `None` without a record or
    /// request.
    #[must_use]
    pub(super) fn extend_expiry(&self) -> Option<PasswordResetRecord> {
        self.request.as_ref()?;
        Some(self.remembering(PasswordResetRecord::clone(self.record.as_ref()?)))
    }

    fn remembering(&self, record: PasswordResetRecord) -> PasswordResetRecord {
        let expires = self.request.as_ref().and_then(|request| request.spec.not_after.as_ref());
        ledger::remembering(record, expires.map(|time| time.0))
    }

    fn origin(&self, operator_instance: String) -> Option<Origin> {
        let request = self.request.as_ref()?;
        let role = self.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
        Some(Origin {
            operator_instance,
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
            user_state_source: self
                .allowed
                .as_ref()
                .map(|allowed| allowed.source)
                .filter(|source| *source != UserStateSource::AdminGetUser),
        })
    }

    /// Takes in the record of the machine's claim, which is stored or may be. It uses up the turn.
    pub(super) fn claimed(&mut self, record: Object<PasswordResetRecord>, too_late: bool) {
        self.lose_turn(PaceReason::RateLimited);
        self.state.assumed = false;
        self.attempt_id = ledger::last(&record).map(|last| last.id.clone());
        self.state.attempt = OwnAttempt::Claimed { too_late, confirmed: false };
        self.record = Some(record);
    }

    /// Uses up the claim right before its call. From here on the call counts as made, and its
    /// response as lost, until there is one.
    pub(super) fn calling(&mut self, now: Timestamp) {
        self.sent_at = Some(now);
        self.state.attempt = OwnAttempt::Called(ResetResponse::NoResponse);
    }

    /// Gives up the call of the claim.
    pub(super) fn too_late(&mut self) {
        self.state.attempt = OwnAttempt::Claimed { too_late: true, confirmed: false };
    }

    /// Takes in the authorization right before the claim, which is of the user who was just read.
    /// Returns false if grants and holds do not allow the request by the role and the source that
    /// the user was read with and the limits that the turn counts for, if they are not confirmed,
    /// or if another deadline applies.
    #[must_use]
    pub(super) fn reauthorized(&mut self, evaluation: &Evaluation) -> bool {
        let Evaluation { approval_required, authorization, confirmed, .. } = evaluation;
        let is_same = |allowed: &&Authorization| {
            let by = |it: &Authorization| {
                (it.role.clone(), it.source, it.limits.as_ref().map(|limits| Arc::clone(&limits.grant)))
            };
            *confirmed
                && self.allowed.as_ref().map(by) == Some(by(allowed))
                && *approval_required == self.approval_required
        };
        let Some(allowed) = authorization.as_ref().ok().filter(is_same) else { return false };
        self.allowed = Some(allowed.clone());
        true
    }

    /// Returns true if grants and holds still allow the request as they did before the claim, and
    /// are confirmed.
    #[must_use]
    pub(super) fn is_still_allowed(&self, evaluation: &Evaluation) -> bool {
        // The limits decide about turns only.
        let by = |it: &Authorization| (it.role.clone(), it.grants.clone());
        let allowed = evaluation.authorization.as_ref().ok().map(by);
        evaluation.confirmed && allowed.is_some() && allowed == self.allowed.as_ref().map(by)
    }

    /// Takes in that grants and holds allow the call of the claim.
    pub(super) fn confirmed(&mut self) {
        self.state.attempt = OwnAttempt::Claimed { too_late: false, confirmed: true };
    }

    /// Takes in the response to the call.
    pub(super) fn responded(&mut self, reply: Reply) {
        self.aws_request_id = reply.request_id;
        self.state.attempt = OwnAttempt::Called(reply.response);
    }

    /// Returns false for a user with another `sub` than the one that the record is for.
    #[must_use]
    pub(super) fn may_be_of_the_record(&self, user: &User) -> bool {
        let expected = self.record.as_deref().and_then(|record| record.spec.user_sub.as_ref());
        user.names.sub.as_ref().zip(expected).is_none_or(|(read, expected)| read == expected)
    }

    /// Takes in the state that a probe read, or `None` if it could not read the user.
    pub(super) fn probed(&mut self, seen: Option<UserStatus>) {
        let probes = &mut self.state.probes;
        probes.left = probes.left.saturating_sub(1);
        probes.last = seen.or(probes.last);
    }

    /// Returns the finding about the machine's own attempt, or about an open one that it resolves,
    /// and the record to write.
    #[must_use]
    pub(super) fn finding(&self, settlement: Settlement) -> Option<(Object<PasswordResetRecord>, Finding)> {
        let record = self.record.clone()?;
        let attempt_id = self.attempt_id.clone().or_else(|| ledger::last(&record).map(|open| open.id.clone()))?;
        let response = match &self.state.attempt {
            OwnAttempt::Called(response) => Some(response),
            OwnAttempt::Claimed { .. } | OwnAttempt::None => None,
        };
        let finding = Finding {
            attempt_id,
            settlement,
            cause: response.and_then(ResetResponse::cause),
            code: response.and_then(ResetResponse::code).map(|code| code.as_str().to_owned()),
            sent_at: self.sent_at,
            aws_request_id: self.aws_request_id.clone(),
            user_status_after: self.state.probes.last,
        };
        Some((record, finding))
    }

    /// Forgets the settled attempt. Only what was read of the request is still valid: the API
    /// server's clock does not go back.
    pub(super) fn settled(&mut self, probes: u32) {
        self.state = State {
            request: self.state.request.clone(),
            server_time: self.state.server_time,
            permission: self.state.permission,
            user_busy: self.state.user_busy,
            source: self.state.source,
            listed: self.state.listed,
            pace: self.pace(),
            ..State::unknown(probes)
        };
        self.attempt_id = None;
        self.sent_at = None;
        self.aws_request_id = None;
    }

    /// Takes in a refused write, which the request retries at `until`.
    pub(super) fn refused(&mut self, write: RecordWrite, refuser: Option<Refuser>, until: Timestamp) {
        self.state.refused = Some(Refused { write, until });
        self.refuser = refuser;
    }

    /// Returns the status of the request while it waits for this reason.
    #[must_use]
    pub(super) fn waiting(&self, reason: WaitReason) -> StatusUpdate {
        match (self.state.refused, &self.held_by) {
            (Some(refused), _) if reason == WaitReason::WriteRefused => {
                status::refused(refused.write, self.refuser.as_ref(), &self.ended())
            }
            (_, Some(held_by)) if reason == WaitReason::UserPoolHeld => status::held(held_by),
            _ if reason == WaitReason::RateLimited && matches!(self.state.closing, Turn::Later { .. }) => {
                status::closing_queued()
            }
            _ if reason == WaitReason::RateLimited
                && let Some((limits, limit)) = self.grant_limit() =>
            {
                status::limited_by_grant(limits, limit)
            }
            (Some(_) | None, Some(_) | None) => {
                let account = self.dependent_account(reason);
                account.map_or_else(|| status::waiting(reason), |name| status::waiting_for_account(reason, name))
            }
        }
    }

    /// Returns the limit of a grant that the request waits for.
    fn grant_limit(&self) -> Option<(&GrantLimits, GrantLimit)> {
        let Start::Look { reason: PaceReason::GrantLimited(limit), .. } = self.start else { return None };
        Some((self.limits()?, limit))
    }

    /// Returns the service account that this reason is about.
    fn dependent_account(&self, reason: WaitReason) -> Option<&str> {
        let request = self.request.as_deref()?;
        let username = if reason == WaitReason::RequesterNotIndependent {
            &request.spec.requested_by.username
        } else if reason == WaitReason::ApproverNotIndependent {
            &request.spec.approved_by.as_ref()?.username
        } else {
            return None;
        };
        let namespace = request.namespace()?;
        (username.len() <= LONGEST_ACCOUNT && is_service_account_of(username, &namespace)).then_some(username)
    }

    /// Returns the final status of the request.
    #[must_use]
    pub(super) fn ended(&self) -> StatusUpdate {
        let uid = self.uid();
        status::ended(self.record.as_deref(), uid.as_deref())
    }

    /// Returns the uid of the request, if it exists.
    #[must_use]
    pub(super) fn uid(&self) -> Option<String> {
        self.request.as_ref().and_then(|request| request.uid())
    }
}

/// Returns the origin without what the requester can write at any length. Anybody who may create
/// requests can make the operator write the record of an ungranted one.
fn without_texts(origin: Origin) -> Origin {
    let requested_by = RequestedBy { extra: None, ..origin.requested_by };
    Origin { requested_by, approved_by: None, reason: None, ticket: None, on_behalf_of: None, ..origin }
}

/// Returns the reason to wait for another try of a read, unless Cognito refuses it: then the
/// request goes on without the state. An exception that is not known, or of which nobody knows what
/// it means for a read, is no refusal.
const fn no_response(error: &ReadError) -> Option<ReadReason> {
    match error {
        ReadError::NotSent(_) | ReadError::Connection(_) | ReadError::NoResponse | ReadError::ServerError(_) => {
            Some(ReadReason::Unreachable)
        }
        ReadError::Exception(code) => match code.class() {
            Class::Throttled => Some(ReadReason::Throttled),
            Class::Ambiguous | Class::AmbiguousFailure => Some(ReadReason::Unreachable),
            Class::Refused | Class::Blocked => None,
        },
        ReadError::NotListed | ReadError::SeveralListed => None,
    }
}

/// Returns the request with the new status, guarded by the uid and resourceVersion that were read,
/// or `None` if it already has this status.
#[must_use]
pub(super) fn with_status(
    request: &PasswordResetRequest,
    record: Option<&PasswordResetRecord>,
    user: Option<&UserNames>,
    update: &StatusUpdate,
    now: Timestamp,
) -> Option<PasswordResetRequest> {
    let status = status::showing(user, status::status(request, record, update, now));
    let is_new = request.status.as_ref() != Some(&status);
    is_new.then(|| PasswordResetRequest { status: Some(status), ..request.clone() })
}

/// The most bytes that a request's metadata may take, as JSON. etcd takes objects of 1.5 MiB; spec
/// and status, whose definitions bound them, fit into the rest.
pub const MAX_METADATA: usize = 1 << 20;

/// Returns true if the request's metadata (labels, annotations, owners, finalizers and managed
/// fields) leave room for a status. Without a status, its outcome could not be shown.
#[must_use]
pub fn has_room(request: &PasswordResetRequest) -> bool {
    serde_json::to_vec(&request.metadata).is_ok_and(|json| json.len() <= MAX_METADATA)
}

/// The deadline of a request without `deadlineSeconds`, counted from its creation.
const DEADLINE: SignedDuration = SignedDuration::from_hours(24);
/// The same where a grant requires an approval, so that a request made on a Friday outlives the
/// weekend.
const DEADLINE_WITH_APPROVAL: SignedDuration = SignedDuration::from_hours(72);

/// Returns the moment from which a pending request fails.
pub(crate) fn deadline(created: Timestamp, seconds: Option<i64>, approval_required: bool) -> Timestamp {
    let default = if approval_required { DEADLINE_WITH_APPROVAL } else { DEADLINE };
    let lifetime = seconds.map_or(default, SignedDuration::from_secs);
    created.saturating_add(lifetime).unwrap_or(Timestamp::MAX)
}

fn view(request: &PasswordResetRequest, approval_required: bool, user_required: bool) -> Request {
    let spec = &request.spec;
    if request.outcome() != Outcome::Pending {
        return Request::Finished;
    }
    let created = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Request::Pending(Desired {
        suspended: spec.suspend,
        expires: spec.not_after.as_ref().map(|time| time.0),
        deadline: deadline(created, spec.deadline_seconds, approval_required),
        skip_if_reset_required: spec.if_reset_required == IfResetRequired::Skip,
        user_required,
    })
}

#[cfg(test)]
mod tests;
