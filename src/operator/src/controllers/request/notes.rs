//! Passes the notes of a machine on to metrics, logs and Events, and to the memory
//! across reconciles.

use std::time::Instant;

use cognito_reset_api::{Effect, Outcome, conditions::EndReason};
use cognito_reset_core::{
    action::{port::Cognito, response::ResetResponse},
    machine::{
        Announcement, ApiFailure, Note, Retry,
        note::{AwsStep, Settled, Unavailable},
        status::StatusUpdate,
    },
    refusal::Refuser,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tracing::{debug, error, info, warn};

use crate::controllers::{request::reconcile::Reconcile, retention::report_not_deleted};

/// The action of an Event about the reset itself.
const ACTION: &str = "Reset";

impl<C: Cognito> Reconcile<'_, C> {
    pub(super) fn note(&self, note: Note) {
        let context = self.context;
        match note {
            Note::NoCredentials { step, failure } => context.metrics.aws_failed(step, failure.as_str()),
            Note::UserUnreadable(error) => {
                context.metrics.aws_failed(AwsStep::Read, error.as_str());
                info!(%error, "unable to read the user");
            }
            Note::Called { response, .. } => self.called(&response),
            Note::Available(awaited) => context.lasting_waits.lock().end(&awaited),
            Note::Unavailable(unavailable) => self.unavailable(unavailable),
            Note::Claimed => context.refused_writes.lock().forget(self.record),
            Note::ClaimLost { operator_instance } => {
                context.metrics.claim_lost();
                warn!(
                    record = %self.record, other = %operator_instance,
                    "another operator claimed the record first; run one installation in a cluster, with --lease for its replicas, or the call rate is exceeded and lost responses end as Unknown more often"
                );
            }
            Note::WriteRefused { write, by, detail } => {
                context.metrics.record_refused(&by);
                warn!(
                    record = %self.record, ?write, error = %detail,
                    "the API server rejected the write of a record; retrying"
                );
            }
            Note::Retried { what, failure } => self.retried(what, &failure),
            Note::EffectRefused { by, detail, is_new } => self.effect_refused(&by, &detail, is_new),
            Note::HeldUp { by } => self.held_up.lasts(by),
            Note::Attributed(attribution) => {
                context.metrics.attributed(attribution);
                info!(?attribution, "listed the user's other records after a probe that shows a reset");
            }
            Note::Settled(settled) => self.settled(&settled),
            Note::StatusRefused { by } => context.metrics.status_refused(&by),
            Note::Announced(announcement) => self.announce(&announcement),
            Note::NotShown { announcement, message, by } => {
                let now = Instant::now();
                let is_new = context.refused_writes.lock().is_new_event(self.record, &message, by.as_ref(), now);
                if is_new {
                    self.announce(&announcement);
                }
            }
            Note::Finished { request, update, exempt } => {
                context.metrics.finished(update.outcome, update.reason);
                let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
                context.metrics.durations().finished(update.outcome, created, Timestamp::now());
                self.publish_end(request.object_ref(&()), &update);
                if let Some(tracker) = exempt {
                    report_not_deleted(&context.events, request.object_ref(&()), tracker);
                }
                info!(outcome = update.outcome.as_str(), reason = %update.reason, "request finished");
            }
            Note::Ended { uid } => context.forget(self.identity, uid.as_deref()),
        }
    }

    fn called(&self, response: &ResetResponse) {
        self.context.metrics.call(response);
        match response.cause() {
            Some(cause) => {
                self.context.metrics.aws_failed(AwsStep::Reset, cause.as_str());
                info!(cause = cause.in_words(), "nothing was sent to Cognito");
            }
            None => info!(response = response.name(), "called Cognito"),
        }
    }

    fn unavailable(&self, Unavailable { awaited, reason, request, update }: Unavailable) {
        let name = &self.identity.request.name;
        let waiting = self.context.lasting_waits.lock().failed(awaited, reason, name, Instant::now());
        if let Some(requests) = waiting {
            let note = match requests {
                1 => update.message,
                _ => {
                    format!("{}; {requests} requests of this namespace are waiting for the same reason", update.message)
                }
            };
            self.context.events.warning(request.object_ref(&()), update.reason.as_str(), &note, ACTION);
        }
    }

    /// Publishes an Event about the outcome of the request.
    fn publish_end(&self, request: ObjectReference, StatusUpdate { outcome, reason, message, .. }: &StatusUpdate) {
        if *outcome == Outcome::Succeeded && *reason != EndReason::AlreadyPerformed {
            self.context.events.normal(request, reason.as_str(), message, ACTION);
        } else {
            self.context.events.warning(request, reason.as_str(), message, ACTION);
        }
    }

    fn retried(&self, what: Retry, error: &ApiFailure) {
        let record = self.record;
        match what {
            Retry::WriteClaim => warn!(%error, %record, "unable to find out whether a claim was written; retrying"),
            Retry::ReadClaim => warn!(%error, %record, "unable to read the record after a conflict; retrying"),
            Retry::WriteEffect => {
                self.held_up.failed();
                warn!(%error, %record, "unable to store an effect; retrying");
            }
            Retry::ReadEffect => warn!(%error, %record, "unable to read the record; retrying"),
            Retry::ListUserRecords => {
                warn!(%error, %record, "unable to list the user's other records, so a probe is not believed yet; retrying");
            }
            Retry::ShowEffect => {
                debug!(%error, "unable to report in the status yet that an effect is not stored");
            }
        }
    }

    fn effect_refused(&self, by: &Refuser, error: &str, is_new: bool) {
        self.context.metrics.record_refused(by);
        self.held_up.failed();
        if is_new {
            error!(%error, record = %self.record, "the API server rejected the write of an effect; retrying until it is stored");
        } else {
            debug!(%error, record = %self.record, "the API server still rejects the write of an effect");
        }
    }

    fn settled(&self, Settled { effect, evidence, is_new, .. }: &Settled) {
        self.held_up.remove();
        if let Some(effect) = effect.filter(|_| *is_new) {
            self.context.metrics.settled(effect);
        }
        info!(record = %self.record, effect = effect.map(Effect::as_str), ?evidence, "settled an attempt");
    }

    fn announce(&self, Announcement { request, reason, note, action }: &Announcement) {
        self.context.events.warning(request.object_ref(&()), reason.as_str(), note, action);
    }
}
