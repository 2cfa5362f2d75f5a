//! What a pass needs of AWS beside the one call: credentials, and the user's state before and after; and what is told of a wait for them.

use cognito_reset_api::{UserStatus, conditions::Reason};
use cognito_reset_core::{
    action::port::{Access, Cognito, Purpose, Role, SessionError, SessionFailure, UserRef, region},
    ledger::{self, Identity},
    machine::{
        state::{Credentials, Request},
        status::{self, Telling},
    },
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{
    controllers::request::{lasting::Awaited, pass::Pass},
    telemetry::metrics::AwsStep,
};

impl<C: Cognito> Pass<'_, C> {
    fn access(&self, role: Option<Role>, uid: String) -> Access {
        let request = &self.known.identity.request;
        Access {
            region: region(&self.known.identity.user_pool_id).to_owned(),
            role,
            purpose: Purpose::Reset { namespace: request.namespace.clone(), name: request.name.clone(), uid },
        }
    }

    /// With the rights that the last attempt was made with: its grant or its request may be gone by now.
    fn access_of_attempt(&self) -> Option<Access> {
        let attempt = self.known.record.as_ref().and_then(ledger::last)?;
        let session_tags = attempt.session_tags.unwrap_or_default();
        let role = attempt.role_arn.clone();
        let role = role.map(|arn| Role { arn, external_id: attempt.external_id.clone(), session_tags });
        Some(self.access(role, attempt.request_uid.clone()))
    }

    pub(super) async fn load_credentials(&mut self) {
        let role = self.known.allowed.as_ref().and_then(|allowed| allowed.role.clone());
        let access = self.access(role, self.uid());
        self.known.situation.credentials = match self.performer.cognito.session(&access).await {
            Ok(session) => {
                self.session = Some(session);
                Credentials::Loaded
            }
            Err(error) => {
                self.count(&access, &error);
                warn!(request = %self.object(), %error, "no credentials for a reset");
                let reason = error.failure.reason();
                self.missing =
                    (error.failure != SessionFailure::RegionNotServed).then(|| error.failure.in_words().to_owned());
                self.tell_if_it_lasts(reason);
                Credentials::Unavailable { until: self.slowly(), reason }
            }
        };
    }

    fn count(&self, access: &Access, error: &SessionError) {
        let step = match error.failure {
            SessionFailure::RegionNotServed => AwsStep::Endpoint,
            _ if access.role.is_some() => AwsStep::Role,
            _ => AwsStep::Credentials,
        };
        self.performer.metrics.aws_failed(step, error.failure.as_str());
    }

    /// What a request waits for that waits for AWS.
    fn awaited(&self) -> Awaited {
        let Identity { request, user_pool_id, .. } = &self.known.identity;
        let role = self.known.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
        let scope = role.map_or_else(|| region(user_pool_id).to_owned(), |role| role.arn.clone());
        Awaited { namespace: request.namespace.clone(), scope }
    }

    /// Cognito has answered: whatever kept requests like this one waiting is mended.
    pub(super) fn answered(&self) {
        self.performer.lasting.over(&self.awaited());
    }

    /// It has failed for a reason that only people can mend, and an Event tells so where that lasts.
    pub(super) fn tell_if_it_lasts(&self, reason: Reason) {
        let (awaited, name) = (self.awaited(), &self.known.identity.request.name);
        if let Some(requests) = self.performer.lasting.failed(awaited, reason, name, Instant::now())
            && let Some(request) = &self.known.request
        {
            self.performer.events.waits(request, &self.waiting(reason), requests);
        }
    }

    /// What is told while it waits, with what is known of why.
    pub(super) fn waiting(&self, reason: Reason) -> Telling {
        let last = self.known.record.as_ref().and_then(ledger::last);
        match (reason, last.and_then(|last| last.cause), &self.missing) {
            (Reason::CognitoUnreachable, Some(cause), _) => status::unreachable(cause),
            (Reason::AwsCredentialsUnavailable | Reason::UserStateUnreadable, _, Some(missing)) => {
                status::waiting_for(reason, missing)
            }
            _ => self.known.waiting(reason),
        }
    }

    pub(super) fn user(&self) -> UserRef<'_> {
        UserRef { pool: &self.known.identity.user_pool_id, username: &self.known.identity.username }
    }

    pub(super) async fn take_snapshot(&mut self) {
        let Some(session) = &self.session else {
            self.known.situation.credentials = Credentials::NotLoaded;
            return;
        };
        match self.performer.cognito.user(session, self.user()).await {
            Ok(user) => {
                self.missing =
                    (user.status == UserStatus::Unknown).then(|| "Cognito does not know its state".to_owned());
                self.known.snapshot(Ok(user), self.slowly());
            }
            Err(error) => {
                self.performer.metrics.aws_failed(AwsStep::Read, error.as_str());
                info!(request = %self.object(), %error, "no snapshot before a reset");
                if error.refuses_credentials() && !self.loaded_again {
                    self.loaded_again = true;
                    self.session = None;
                    self.known.situation.credentials = Credentials::NotLoaded;
                    return;
                }
                self.missing = Some(error.word().to_owned());
                self.known.snapshot(Err(&error), self.slowly());
                if matches!(self.known.situation.request, Request::Pending(wishes) if wishes.skip_if_reset_required) {
                    self.tell_if_it_lasts(Reason::UserStateUnreadable);
                }
            }
        }
    }

    pub(super) async fn probe(&mut self) {
        if self.probed > 0 {
            sleep(self.performer.settings.probe_pause * (1 << (self.probed - 1).min(8))).await;
        }
        self.probed += 1;
        let seen = self.read_user_again().await;
        self.known.probed(seen);
    }

    async fn read_user_again(&mut self) -> Option<UserStatus> {
        if self.session.is_none()
            && let Some(access) = self.access_of_attempt()
        {
            match self.performer.cognito.session(&access).await {
                Ok(session) => self.session = Some(session),
                Err(error) => {
                    self.count(&access, &error);
                    warn!(request = %self.object(), %error, "no credentials for a probe");
                }
            }
        }
        match self.performer.cognito.user(self.session.as_ref()?, self.user()).await {
            Ok(user) => Some(user.status),
            Err(error) => {
                self.performer.metrics.aws_failed(AwsStep::Read, error.as_str());
                info!(request = %self.object(), %error, "a probe could not read the user");
                if error.refuses_credentials() {
                    self.session = None;
                }
                None
            }
        }
    }
}
