//! Loads credentials, and reports when AWS does not respond as needed.

use cognito_reset_api::{Origin, conditions::WaitReason};

use crate::{
    action::port::{Access, Purpose, Role, SessionFailure, region},
    ledger::{self, Identity},
    machine::{
        At, Command, Machine, Note, Phase,
        note::{Awaited, AwsStep, Unavailable},
        state::Credentials,
        status::{self, StatusUpdate},
    },
};

impl<S: Clone> Machine<S> {
    fn access(&self, role: Option<Role>, uid: String) -> Access {
        let request = &self.facts.identity.request;
        Access {
            region: region(&self.facts.identity.user_pool_id).to_owned(),
            role,
            purpose: Purpose::Reset { namespace: request.namespace.clone(), name: request.name.clone(), uid },
        }
    }

    /// Returns the role of the grants, as of the last read of the request.
    fn role(&self) -> Option<Role> {
        self.facts.role().cloned()
    }

    /// Returns the access of the last attempt, because its grant or its request may be gone by now.
    pub(super) fn access_of_attempt(&self) -> Option<Access> {
        let attempt = self.facts.record.as_deref().and_then(ledger::last)?;
        let Origin { role_arn, external_id, session_tags, request_uid, .. } = attempt.origin.clone();
        let role = role_arn.map(|arn| Role { arn, external_id, session_tags: session_tags.unwrap_or_default() });
        Some(self.access(role, request_uid))
    }

    pub(super) fn load_credentials(&mut self) -> Command<S> {
        self.phase = Phase::LoadingCredentials;
        Command::LoadCredentials(self.access(self.role(), self.facts.uid().unwrap_or_default()))
    }

    pub(super) fn credentials(&mut self, loaded: Result<S, SessionFailure>, at: At<'_>) -> Option<Command<S>> {
        self.facts.state.credentials = match loaded {
            Ok(session) => {
                self.session = Some(session);
                Credentials::Loaded
            }
            Err(failure) => {
                self.note_credentials(failure, self.role().is_some());
                let reason = failure.reason();
                self.missing = (failure != SessionFailure::RegionNotServed).then(|| failure.in_words().to_owned());
                self.unavailable(reason.into());
                Credentials::Unavailable { until: self.slowly(at), reason }
            }
        };
        None
    }

    pub(super) fn note_credentials(&mut self, failure: SessionFailure, role: bool) {
        let step = match (failure == SessionFailure::RegionNotServed, role) {
            (true, _) => AwsStep::Endpoint,
            (false, true) => AwsStep::Role,
            (false, false) => AwsStep::Credentials,
        };
        self.notes.push(Note::NoCredentials { step, failure });
    }

    /// Identifies the wait of a request that waits for AWS.
    pub(super) fn awaited(&self) -> Awaited {
        let Identity { request, user_pool_id, .. } = &self.facts.identity;
        let scope = self.role().map_or_else(|| region(user_pool_id).to_owned(), |role| role.arn);
        Awaited { namespace: request.namespace.clone(), scope }
    }

    /// Notes that AWS failed for a reason that only people can fix.
    pub(super) fn unavailable(&mut self, reason: WaitReason) {
        let (awaited, update) = (self.awaited(), self.waiting(reason));
        if let Some(request) = self.facts.request.clone() {
            self.notes.push(Note::Unavailable(Unavailable { awaited, reason, request, update }));
        }
    }

    /// Returns the status of a waiting request, with the known cause.
    pub(super) fn waiting(&self, reason: WaitReason) -> StatusUpdate {
        let last = self.facts.record.as_deref().and_then(ledger::last);
        match (reason, last.and_then(|last| last.cause), &self.missing) {
            (WaitReason::CognitoUnreachable, _, Some(missing)) if self.facts.state.before.is_missing() => {
                status::user_read_failed(self.facts.state.source, missing)
            }
            (WaitReason::CognitoUnreachable, Some(cause), _) => status::unreachable(cause),
            (WaitReason::AwsCredentialsUnavailable | WaitReason::UserStateUnreadable, _, Some(missing)) => {
                status::waiting_for(reason, missing)
            }
            (WaitReason::AwaitingApproval, _, Some(missing)) if self.facts.shown_user().is_none() => {
                status::user_not_shown(self.facts.state.source, missing)
            }
            _ => self.facts.waiting(reason),
        }
    }
}
