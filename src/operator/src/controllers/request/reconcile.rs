//! Runs a reconcile: carries out the commands of its machine, one by one, and returns the event of
//! each.
//!
//! This module decides nothing. A command is one call of something else, and only the machine knows
//! what its event means.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::RequestRef;
use cognito_reset_core::{
    action::port::{Access, Cognito, ReadError, Reply, SessionFailure, User, UserRef},
    dispatch::{
        closings::ClosingQueue,
        key::Key,
        lane::QuotaCategory,
        meaning::Meaning,
        turns::{Response, Turn},
    },
    ledger::{
        Identity,
        attribution::{OtherRecord, UserRecords},
    },
    machine::{
        ApiFailure, Call, Command, Entropy, Event, Machine, Next, Now, Object, Objects, Observed, Purpose, Recalled,
        ReconcileError, RefusedWrite, RequestRead, Slot, Start, signed, state::RecordWrite,
    },
    panics::{Panicked, caught},
    refusal::Refuser,
};
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{Span, debug, error_span, field, warn};
use uuid::Uuid;

use crate::{
    controllers::request::{context::Context, held_up::HeldUpEntry, user_locks::Locks},
    kube::store::ReadRequest,
};

/// A reconcile of one request or record.
pub(super) struct Reconcile<'a, C: Cognito> {
    pub(super) context: &'a Context<C>,
    pub(super) identity: &'a Identity,
    /// The name of the record.
    pub(super) record: &'a str,
    /// The turn, if it has one.
    turn: Option<&'a Turn>,
    /// The locks of record and user, unless another reconcile has that of the record.
    locks: Option<Locks<'a>>,
    /// Lists the effect of this reconcile as held up, from its addition until this is dropped.
    pub(super) held_up: HeldUpEntry<'a>,
}

/// Returns the span of a reconcile. The caller enters it for the whole reconcile, so that each log
/// line has the namespace and name of the request, and the id of the attempt as soon as it is
/// known.
///
/// Its level lets no filter of levels remove it.
pub(crate) fn span(controller: &'static str, identity: &Identity) -> Span {
    let RequestRef { namespace, name } = &identity.request;
    error_span!("reconcile", controller, namespace, name, attempt = field::Empty)
}

impl<C: Cognito> Context<C> {
    /// Reconciles a request, or a record whose request is gone, as far as it can be at present.
    ///
    /// # Errors
    /// Returns an error if the API server fails or refuses. The caller retries later. Between the
    /// claim and the record of its effect there is no error.
    pub(crate) async fn execute(
        &self,
        identity: Identity,
        start: Start,
        turn: Option<&Turn>,
    ) -> Result<Next, ReconcileError> {
        let record = identity.record_name();
        let locks = self.user_locks.try_lock(&identity);
        let is_locked = |locks: &Locks<'_>| matches!(start, Start::Look { .. }) || locks.try_lock_user();
        let is_busy = !locks.as_ref().is_some_and(is_locked);
        let (machine, first) =
            Machine::new(identity.clone(), Arc::clone(&self.config.machine), start, is_busy, self.now());
        let held_up = self.held_up.entry(&record);
        let reconcile = Reconcile { context: self, identity: &identity, record: &record, turn, locks, held_up };
        caught(reconcile.drive(machine, first)).await.unwrap_or(Err(ReconcileError::Panicked))
    }

    /// Returns the time by both clocks.
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), monotonic: self.started.elapsed() }
    }
}

impl<C: Cognito> Reconcile<'_, C> {
    async fn drive(
        &self,
        mut machine: Machine<Arc<C::Session>>,
        mut command: Command<Arc<C::Session>>,
    ) -> Result<Next, ReconcileError> {
        let mut attempt = None;
        loop {
            name_attempt(&mut attempt, command.attempt_id());
            debug!(%command, "command");
            // Boxed, since it holds the clients' futures, and a debug build's stack has no room for
            // copies of them.
            let event = match caught(Box::pin(self.run(command))).await {
                Ok(ControlFlow::Continue(event)) => event,
                Ok(ControlFlow::Break(end)) => return end,
                Err(Panicked) => Event::Panicked,
            };
            let (now, entropy) = (self.context.now(), Entropy(Uuid::new_v4().to_string()));
            debug!(%event, ?now, %entropy, "event");
            let reaction = machine.on(event, now, &entropy);
            reaction.notes.into_iter().for_each(|note| self.note(note));
            command = reaction.command;
        }
    }

    /// Carries out a command.
    async fn run(
        &self,
        command: Command<Arc<C::Session>>,
    ) -> ControlFlow<Result<Next, ReconcileError>, Event<Arc<C::Session>>> {
        let Context { store, cognito, confirmation, .. } = self.context;
        let (namespace, name) = (&self.identity.request.namespace, &self.identity.request.name);
        ControlFlow::Continue(match command {
            Command::Read => {
                let read = tokio::try_join!(store.request(namespace, name), store.record(self.record, None));
                let objects = |(ReadRequest { request, server_time }, record): (_, Option<_>)| Objects {
                    request: request.map(Object::from),
                    record: record.map(Object::from),
                    server_time,
                };
                Event::Objects(read.map(objects).map_err(Into::into))
            }
            Command::ReadRequest => {
                let read = store.request(namespace, name).await;
                let alone = |ReadRequest { request, server_time }| RequestRead {
                    request: request.map(Object::from),
                    server_time,
                };
                Event::Request(read.map(alone).map_err(Into::into))
            }
            Command::ReadRecord { within } => {
                let read = store.record(self.record, within).await;
                Event::Record(read.map(|record| record.map(Object::from)).map_err(Into::into))
            }
            Command::CheckGrants { request, user, purpose } => {
                let evaluation = confirmation.evaluate(&request, &user).await;
                match purpose {
                    Purpose::Read => Event::Grants(evaluation),
                    Purpose::Claim | Purpose::Send => {
                        let may_begin = self.context.turns.may_begin(self.turn);
                        may_begin.map_or_else(Event::TurnLost, |()| Event::Grants(evaluation))
                    }
                }
            }
            Command::Recall(observed) => Event::Recalled(self.recall(observed.as_ref())),
            Command::CountRefusal { write, by, jitter } => Event::Refusal(self.count_refusal(write, &by, &jitter)),
            Command::TakeClosingSlot { queue, uid } => Event::Slot(self.take_closing_slot(queue, &uid)),
            Command::LoadCredentials(access) => Event::Credentials(self.load_credentials(&access).await),
            Command::GetUser { after: Some(_), .. } if !self.try_lock_user() => Event::UserBusy,
            Command::GetUser { session, after } => {
                let begun = Instant::now();
                let read = cognito.user(&session, self.user()).await;
                self.context.metrics.durations().user_read(&read, begun.elapsed());
                match after {
                    Some(_) => self.read(begun, read),
                    None => self.read_before_claim(begun, read),
                }
            }
            Command::ListUser { session } => {
                let begun = Instant::now();
                let listed = cognito.listed_user(&session, self.user()).await;
                self.context.metrics.durations().user_listed(&listed, begun.elapsed());
                self.read_before_claim(begun, listed)
            }
            Command::ListUserRecords(query) => Event::UserRecords(self.list_user_records(&query).await),
            Command::WriteRecord { record, within } => Event::RecordWritten(store.write_record(&record, within).await),
            Command::Call(call) => Event::Response(self.call(&call).await),
            Command::WriteStatus(request) => {
                Event::StatusWritten(store.write_status(&request).await.map_err(Into::into))
            }
            Command::Sleep(time) => {
                sleep(time).await;
                Event::Slept
            }
            Command::Finish(end) => return ControlFlow::Break(end),
        })
    }

    fn recall(&self, observed: Option<&Observed>) -> Recalled {
        let (context, now) = (self.context, Instant::now());
        let observed_for = observed.map_or(Duration::ZERO, |Observed { attempt_id, settled }| {
            context.first_observed.lock().observed_for(self.record, attempt_id, *settled, now)
        });
        let refused = context.refused_writes.lock().paused(self.record, now);
        Recalled { observed_for, refused, held_up: context.held_up.too_many() }
    }

    /// Reports the read of a user to the dispatcher.
    fn read(&self, begun: Instant, read: Result<User, ReadError>) -> Event<Arc<C::Session>> {
        let category = QuotaCategory::UserAccountRecovery;
        self.responded(begun, Meaning::of_read(read.as_ref().err(), category), None);
        Event::User(read)
    }

    /// The same before a claim, where the user is locked as soon as the `sub` is known.
    fn read_before_claim(&self, begun: Instant, read: Result<User, ReadError>) -> Event<Arc<C::Session>> {
        let is_free = self.try_lock_sub(read.as_ref().ok().and_then(|user| user.names.sub.as_deref()));
        let event = self.read(begun, read);
        if is_free { event } else { Event::UserBusy }
    }

    async fn list_user_records(&self, query: &UserRecords) -> Result<Vec<OtherRecord>, ApiFailure> {
        let Context { user_records, first_observed, .. } = self.context;
        let observed_for = |record: &str, attempt: &str| {
            signed(first_observed.lock().observed_for(record, attempt, false, Instant::now()))
        };
        user_records.list(query, observed_for).await.map_err(Into::into)
    }

    fn count_refusal(&self, write: RecordWrite, by: &Refuser, jitter: &str) -> RefusedWrite {
        self.context.refused_writes.lock().refused(self.record, write, by, jitter, Instant::now())
    }

    fn take_closing_slot(&self, queue: ClosingQueue, uid: &str) -> Slot {
        let now = Instant::now();
        Slot::at(now, self.context.closings.lock().ask(&self.identity.request.namespace, queue, Key::of_uid(uid), now))
    }

    async fn load_credentials(&self, access: &Access) -> Result<Arc<C::Session>, SessionFailure> {
        let loaded = self.context.cognito.session(access).await;
        loaded.map(Arc::new).map_err(|error| {
            warn!(%error, "no credentials for a reset");
            error.failure
        })
    }

    async fn call(&self, call: &Call<Arc<C::Session>>) -> Reply {
        let Context { cognito, metrics, .. } = self.context;
        metrics.durations().calling(call.created, Timestamp::now());
        let begun = Instant::now();
        let reply = cognito.reset(&call.session, self.user(), call.client_metadata.as_ref()).await;
        metrics.durations().called(&reply.response, begun.elapsed());
        self.responded(begun, Meaning::of(&reply.response), reply.retry_after);
        reply
    }

    /// Reports a response to the dispatcher, before anything else is done with it.
    fn responded(&self, begun: Instant, meaning: Meaning, retry_after: Option<Duration>) {
        if let Some(turn) = self.turn {
            self.context.turns.responded(turn, &Response { begun, meaning, retry_after });
        }
    }

    /// Locks the user by the spelling. Returns false if another reconcile has the lock.
    fn try_lock_user(&self) -> bool {
        self.locks.as_ref().is_some_and(Locks::try_lock_user)
    }

    /// Locks the user who was read, if the `sub` is known. Returns false if another reconcile has
    /// the lock.
    fn try_lock_sub(&self, sub: Option<&str>) -> bool {
        sub.is_none_or(|sub| self.locks.as_ref().is_some_and(|locks| locks.try_lock_sub(sub)))
    }

    fn user(&self) -> UserRef<'_> {
        UserRef { pool: &self.identity.user_pool_id, username: &self.identity.username }
    }
}

/// Adds the attempt to the span. The text format shows each value that is recorded, so the same one
/// is recorded once.
fn name_attempt(named: &mut Option<String>, attempt_id: Option<&str>) {
    if attempt_id.is_some() && attempt_id != named.as_deref() {
        Span::current().record("attempt", attempt_id);
        *named = attempt_id.map(str::to_owned);
    }
}
