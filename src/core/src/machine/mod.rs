//! One reconcile of a request or record, as a pure state machine.
//!
//! [`Machine::new`] returns the first [`Command`], and [`Machine::on`] takes the [`Event`] that the
//! command led to and returns the next one. The operator runs the commands against the API server
//! and AWS. The model checker (`tests/model`) runs the same machine, and enumerates for each
//! command every event that the world could return. Time and randomness are arguments, so a list of
//! events describes a reconcile completely: the same events lead to the same commands.
//!
//! Only [`decide`] decides on the next step. The modules around it contain the order of commands
//! within one step: `gather` reads request and record, `call` goes from the claim to the response,
//! `credentials` and `user` ask AWS for what a call needs, `write_claim` repeats the write of a
//! claim until its deadline, `write_effect` writes the effect of an attempt until it is stored,
//! `attribute` lists the user's other records before a probe is believed, `write_record` and
//! `write_status` do what is not repeated.
//!
//! No attempt is called for twice, for two reasons. `write_claim` passes a claim to
//! [`Facts::claimed`] only if the record contains the random attempt id of this machine. And only
//! `Machine::call` returns the command to call: before, it lets [`Facts::calling`] note the
//! response as lost. Regardless of the next event, the machine does not hold an unsent claim any
//! more.

mod attribute;
mod call;
pub mod command;
mod credentials;
pub mod decide;
mod describe;
pub mod event;
pub(crate) mod facts;
mod gather;
pub mod note;
mod object;
mod start;
pub mod state;
pub mod status;
mod user;
mod write_claim;
mod write_effect;
mod write_record;
mod write_status;

use std::{
    fmt,
    hash::{Hash, Hasher},
    mem,
    sync::Arc,
    time::Duration,
};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use jiff::{SignedDuration, Timestamp};

pub use self::{
    command::{Call, Command, Next, Observed, Purpose, ReconcileError},
    decide::decide,
    event::{ApiFailure, Event, HeldUp, Objects, Recalled, RefusedWrite, RequestRead, Slot, StatusWrite, Written},
    facts::{MAX_METADATA, has_room},
    note::{Announcement, Note, Retry},
    object::Object,
    start::Start,
};
use self::{
    decide::Step, facts::Facts, state::RecordWrite, write_claim::ClaimWrite, write_effect::EffectWrite,
    write_status::StatusWriting,
};
use crate::ledger::{Identity, Waits};

/// The wait of a request while another reconcile works on the same record or user. The status shows
/// it.
const BUSY_WAIT: SignedDuration = SignedDuration::from_secs(2);
/// The pause before a write or a list is repeated, doubled for each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Timeouts, pauses and numbers of tries.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator process, as records name it.
    pub operator_instance: String,
    /// The time from before a claim is written until its call may not be sent any more.
    pub claim_timeout: Duration,
    /// The waits for a call that may be in flight, and between attempts.
    pub waits: Waits,
    /// The number of probes after an ambiguous call.
    pub probes: u32,
    /// The pause before the second probe, doubled for each further one.
    pub probe_pause: Duration,
    /// The shortest wait that is written into the status.
    pub shown_wait: SignedDuration,
    /// The number of reads of request and record, after which a conflict ends the reconcile. The
    /// next reconcile waits longer each time, in case the conflicts never end.
    pub most_reads: u32,
}

/// The time by both clocks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock, as the time since a moment of this process.
    pub monotonic: Duration,
}

/// A fresh random id, for an attempt or to spread a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entropy(pub String);

impl fmt::Display for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The next command, and the notes for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Reaction<S> {
    /// The next command.
    pub command: Command<S>,
    /// The notes, in order.
    pub notes: Vec<Note>,
}

/// One reconcile. `S` is a loaded AWS session, which the machine only passes on.
#[derive(Clone, Debug)]
pub struct Machine<S> {
    settings: Arc<Settings>,
    facts: Facts,
    /// The purpose of the last command.
    phase: Phase,
    session: Option<S>,
    /// The moment, by the monotonic clock, from which the call of the claim is not sent any more.
    send_until: Duration,
    probed: u32,
    /// The pause before the next list of the user's other records; `None` before the first one.
    list_pause: Option<Duration>,
    /// The number of such lists that have failed in a row.
    lists_failed: u32,
    /// The number of reads of request and record, except for those that only refresh the request.
    reads: u32,
    /// The cause of a wait for AWS, in a few words for the status.
    missing: Option<String>,
    /// True if credentials that Cognito refused have been loaded again.
    credentials_reloaded: bool,
    /// The notes since the last command.
    notes: Vec<Note>,
}

/// Machines with the same settings and the same hash react in the same way.
impl<S: Hash> Hash for Machine<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            settings: _,
            facts,
            phase,
            session,
            send_until,
            probed,
            list_pause,
            lists_failed,
            reads,
            missing,
            credentials_reloaded,
            notes,
        } = self;
        (facts, phase, session, send_until, probed, list_pause, lists_failed, reads, missing).hash(state);
        (credentials_reloaded, notes.len()).hash(state);
    }
}

/// The purpose of the last command.
#[derive(Clone, Debug, PartialEq, Hash)]
enum Phase {
    /// None: the next step has to be decided.
    Deciding,
    /// Reading request and record, after the record was assumed to be absent or not.
    Reading { after_assumption: bool },
    /// Reading a request whose record is assumed to be absent.
    ReadingRequest,
    /// Checking the grants for the request that was just read.
    Authorizing { request: Object<PasswordResetRequest>, record: Option<Object<PasswordResetRecord>> },
    /// Recalling the memory of the record; `settled` is true if its attempt was just settled.
    Recalling { record: Option<Object<PasswordResetRecord>>, settled: bool },
    /// Taking a slot among the closings of the namespace.
    TakingClosingSlot,
    /// Loading credentials for a call.
    LoadingCredentials,
    /// Reading the user before a call.
    TakingSnapshot,
    /// Checking the grants again, right before a claim.
    Reauthorizing,
    /// Writing a claim.
    Claiming(ClaimWrite),
    /// Counting a refused write.
    CountingRefusal,
    /// Checking the grants once more, right before the call of a claim.
    Confirming,
    /// Calling.
    Calling,
    /// Waiting for the next probe.
    BetweenProbes,
    /// Loading credentials for a probe.
    LoadingProbeCredentials,
    /// Reading the user after a call.
    Probing,
    /// Waiting for the next list of the user's other records.
    BetweenLists,
    /// Listing the user's other records.
    ListingRecords,
    /// Writing an effect.
    Settling(Box<EffectWrite>),
    /// Closing the record, or extending its expiry.
    Writing(RecordWrite),
    /// Writing the status.
    WritingStatus(Box<StatusWriting>),
}

/// The time of an event, and a random id for it.
#[derive(Clone, Copy)]
struct At<'a> {
    now: Now,
    id: &'a str,
}

impl At<'_> {
    fn after(&self, duration: SignedDuration) -> Timestamp {
        self.now.wall.saturating_add(duration).unwrap_or(Timestamp::MAX)
    }
}

impl<S: Clone> Machine<S> {
    /// Returns a machine that has read nothing yet, and its first command. `busy` is true if
    /// another reconcile of this process works on the same record or, with a turn, on the same
    /// user.
    #[must_use]
    pub fn new(identity: Identity, settings: Arc<Settings>, start: Start, busy: bool, now: Now) -> (Self, Command<S>) {
        let at = At { now, id: "" };
        let facts = Facts::new(identity, settings.probes, start, busy.then(|| at.after(BUSY_WAIT)));
        let mut machine = Self {
            settings,
            facts,
            phase: Phase::Deciding,
            session: None,
            send_until: Duration::ZERO,
            probed: 0,
            list_pause: None,
            lists_failed: 0,
            reads: 0,
            missing: None,
            credentials_reloaded: false,
            notes: Vec::new(),
        };
        let command = machine.proceed(at);
        (machine, command)
    }

    /// Takes in the event that the last command led to, and returns the next command.
    ///
    /// The event of another command counts as [`Event::Panicked`].
    pub fn on(&mut self, event: Event<S>, now: Now, entropy: &Entropy) -> Reaction<S> {
        let at = At { now, id: &entropy.0 };
        let command = self.absorb(event, at).unwrap_or_else(|| self.proceed(at));
        Reaction { command, notes: mem::take(&mut self.notes) }
    }

    /// Takes in an event. Returns the next command of the same step, or `None` if the next step has
    /// to be decided.
    fn absorb(&mut self, event: Event<S>, at: At<'_>) -> Option<Command<S>> {
        match (mem::replace(&mut self.phase, Phase::Deciding), event) {
            (Phase::Reading { after_assumption }, Event::Objects(read)) => self.read(read, after_assumption, at),
            (Phase::ReadingRequest, Event::Request(read)) => self.read(read.map(Objects::from), false, at),
            (Phase::Authorizing { request, record }, Event::Grants(evaluation)) => {
                self.facts.read_request(Some((request, evaluation)), self.slowly(at));
                self.request_read(record)
            }
            (Phase::Recalling { record, settled }, Event::Recalled(recalled)) => {
                self.recalled(record, settled, recalled, at)
            }
            (Phase::TakingClosingSlot, Event::Slot(slot)) => self.closing_slot(slot, at),
            (Phase::LoadingCredentials, Event::Credentials(loaded)) => self.credentials(loaded, at),
            (Phase::TakingSnapshot, Event::User(read)) => self.snapshot(read, at),
            (Phase::TakingSnapshot, Event::UserBusy) => self.user_is_busy(at),
            (Phase::Reauthorizing, Event::Grants(evaluation)) => self.claim(&evaluation, at),
            (Phase::Reauthorizing, Event::TurnLost(reason)) => self.turn_lost(reason),
            (Phase::Claiming(claim), event) => self.claiming(claim, event, at),
            (Phase::Confirming, Event::Grants(evaluation)) => self.confirmed(&evaluation),
            (Phase::Confirming, Event::TurnLost(reason)) => self.turn_lost_after_claim(reason),
            (Phase::CountingRefusal, Event::Refusal(refused)) => self.wait_for(refused, at),
            (Phase::Calling, Event::Response(reply)) => self.responded(reply),
            (Phase::BetweenProbes, Event::Slept) => self.probe_now(),
            (Phase::LoadingProbeCredentials, Event::Credentials(loaded)) => self.probe_credentials(loaded),
            (Phase::Probing, Event::User(read)) => self.probed(read),
            // A reconcile keeps the lock from before its own claim.
            (Phase::Probing, Event::UserBusy) if self.facts.attempt_id.is_none() => self.user_is_busy(at),
            (Phase::BetweenLists, Event::Slept) => self.list_now(),
            (Phase::ListingRecords, Event::UserRecords(listed)) => self.records_listed(listed, at),
            (Phase::Settling(effect), event) => self.settling(effect, event, at),
            (Phase::Writing(write), Event::RecordWritten(written)) => self.written(write, written, at),
            (Phase::WritingStatus(writing), Event::StatusWritten(result)) => self.status_written(*writing, result),
            (phase, _) => self.interrupted(&phase),
        }
    }

    /// Takes in a panic, or the event of another command.
    fn interrupted(&mut self, phase: &Phase) -> Option<Command<S>> {
        match phase {
            // The response has counted as lost since before the call.
            Phase::Calling => None,
            // The claim is settled as never sent.
            Phase::Confirming => {
                self.facts.too_late();
                None
            }
            // Probes end, so that the effect is written.
            Phase::BetweenProbes | Phase::LoadingProbeCredentials | Phase::Probing => {
                self.facts.probed(None);
                None
            }
            Phase::BetweenLists | Phase::ListingRecords => self.listing_panicked(),
            Phase::Deciding
            | Phase::Reading { .. }
            | Phase::ReadingRequest
            | Phase::Authorizing { .. }
            | Phase::Recalling { .. }
            | Phase::TakingClosingSlot
            | Phase::LoadingCredentials
            | Phase::TakingSnapshot
            | Phase::Reauthorizing
            | Phase::Claiming(_)
            | Phase::CountingRefusal
            | Phase::Settling(_)
            | Phase::Writing(_)
            | Phase::WritingStatus(_) => Some(Command::Finish(Err(ReconcileError::Panicked))),
        }
    }

    /// Decides on steps until one of them returns a command.
    fn proceed(&mut self, at: At<'_>) -> Command<S> {
        loop {
            if let Some(command) = self.take(decide(&self.facts.state, at.now.wall), at) {
                return command;
            }
        }
    }

    /// Begins a step. Returns `None` if it only changed the state.
    fn take(&mut self, step: Step, at: At<'_>) -> Option<Command<S>> {
        match step {
            Step::Gather => Some(self.gather()),
            Step::TakeClosingSlot => Some(self.take_closing_slot(at)),
            Step::LoadCredentials => Some(self.load_credentials()),
            Step::TakeSnapshot => self.take_snapshot(|session| Command::GetUser { session, after: None }),
            Step::ListUser => self.take_snapshot(|session| Command::ListUser { session }),
            Step::Claim => self.reauthorize(),
            Step::Confirm => self.confirm(),
            Step::Send => self.call(at),
            Step::Probe => self.probe(),
            Step::ListUserRecords => self.attribute(),
            Step::Settle(settlement) => self.settle(settlement, at),
            Step::Close(cause) => self.close(cause, at),
            Step::ExtendExpiry(_) => self.extend_expiry(),
            Step::WriteStatus => Some(self.write_end(at)),
            Step::Wait { reason, until } => Some(self.wait(reason, until, at)),
            Step::AwaitTurn { reason, until } => Some(self.await_turn(reason, until, at)),
            Step::Done => Some(self.done()),
        }
    }

    /// Returns the time of the next try of something that people have to fix.
    fn slowly(&self, at: At<'_>) -> Timestamp {
        at.after(self.settings.waits.backoff.after(3, at.id))
    }

    /// Ends the reconcile of a request that needs nothing any more.
    fn done(&mut self) -> Command<S> {
        self.notes.push(Note::Ended { uid: self.facts.uid() });
        Command::Finish(Ok(Next::Done))
    }
}

fn failed<S>(failure: ApiFailure) -> Command<S> {
    Command::Finish(Err(ReconcileError::Api(failure)))
}

/// Converts a duration, up to the longest one that can be signed.
#[must_use]
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns the pause after this one, before a further write or list.
fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
