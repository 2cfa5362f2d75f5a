//! Every step of the replicas from a state: for each command of a machine, every event that API
//! server, network, Cognito and process could return. `around.rs` has the steps beside the
//! replicas.
//!
//! Each failure, and each action of people, costs one of the faults that are left. A command that
//! nobody else can observe is carried out at once, so that it makes no state of its own. If it can
//! fail, the failure is a branch.

use std::{fmt, sync::Arc, time::Duration};

use cognito_reset_api::{Exception, FailureCause, Outcome, SessionTags, UserStateSource, conditions::WaitReason};
use cognito_reset_core::{
    action::{
        port::{ReadError, Reply, Role, SessionFailure, User},
        response::{Code, ResetResponse},
        user_names::{KnownUser, UserNames},
    },
    dispatch::lane::{Account, Lane, QuotaCategory},
    grants::{Authorization, Evaluation, HeldBy, HoldCause},
    ledger::attribution::UserRecords,
    machine::{
        ApiFailure, Call, Command, Entropy, Event, Machine, Now, Objects, Purpose, Recalled, RefusedWrite, RequestRead,
        Slot, Start, Written,
        state::{PaceReason, RecordWrite},
    },
    refusal::Refuser,
};
use jiff::{SignedDuration, Timestamp};

use crate::world::{
    ACCOUNT, Frozen, Hold, Message, ROLES, Read, Record, Request, Rules, SPELLINGS, Session, Shown, Task, Truth, World,
    settings,
};

/// A step, for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    pub replica: Option<usize>,
    /// The reads of others right before.
    pub before: &'static str,
    pub what: &'static str,
    /// The failure of a command that was carried out at once.
    pub then: &'static str,
    /// True for a step without failure; any other step costs faults.
    pub fair: bool,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, before, what, then, fair } = self;
        let who = replica.map_or_else(String::new, |replica| format!("replica {replica} "));
        let before = if before.is_empty() { String::new() } else { format!(", {before}") };
        let then = if then.is_empty() { String::new() } else { format!(", and {then}") };
        write!(f, "  {who}{what}{before}{then}{}", if *fair { "" } else { "  (fault)" })
    }
}

/// The step that ends every wait.
pub const DEADLINE: &str = "expiry and deadline pass";

/// The step that begins without a cause other than a stale view.
pub const CAUSELESS: &str = "starts a reconcile without a cause";

/// The step in which Cognito does not respond to a read of the user.
const NO_RESPONSE: &str = "cannot read the user";

/// The step by which retention deletes a record early. It follows a rest, and no reconcile writes
/// in it.
pub const FORGOTTEN: &str = "an ungranted record is deleted";
/// The step in which the API server does not respond to the list of a user's records.
const NO_LIST: &str = "cannot list the user's records";

/// The time until which a reconcile without a turn waits, so that its status shows it.
const NEXT_TURN: Timestamp = Timestamp::constant(1_800_000_000 + 3600, 0);
/// The step that begins with an assumption that is wrong from the beginning.
const ASSUMES: &str = "starts a reconcile that assumes that there is no record";
/// The failure in which a response stops the calls that have not begun.
const TURN_LOST: &str = "loses its turn";

/// A time at which it is too late for every call.
const LATE: Duration = Duration::from_secs(3600);

/// The exceptions that Cognito may return without a reset, and whether it may return them after
/// one.
const RESPONSES: &[(&str, Exception, bool)] = &[
    ("is refused", Exception::UserNotFound, false),
    ("is throttled", Exception::TooManyRequests, false),
    ("is blocked", Exception::AccessDenied, false),
    ("gets an internal error", Exception::InternalError, true),
    ("hears that the code was not delivered", Exception::CodeDeliveryFailure, true),
];

/// The costs of a step.
const FAIR: u8 = 0;
const FAULT: u8 = 1;

pub struct Steps<'a> {
    pub from: &'a World,
    pub found: Vec<(Label, World)>,
}

/// Returns all steps from this state.
pub fn steps(from: &World) -> Vec<(Label, World)> {
    let mut steps = Steps { from, found: Vec::new() };
    for replica in 0..from.replicas.len() {
        match &from.replicas[replica] {
            None => steps.start(replica),
            Some(task) => steps.go_on(replica, task),
        }
    }
    steps.network();
    steps.people();
    steps.found
}

/// A machine whose next command others can observe.
struct Advanced {
    /// The number of failures on the way, and the last of them.
    cost: u8,
    then: &'static str,
    machine: Machine<Session>,
    command: Command<Session>,
    /// The attempt that it is about to claim.
    new: Option<String>,
    /// The rules before their last change, if the replica may still see them.
    earlier: Option<Rules>,
}

impl Steps<'_> {
    pub fn add(&mut self, replica: Option<usize>, what: &'static str, fair: bool, change: impl FnOnce(&mut World)) {
        if fair || self.from.faults > 0 {
            self.push(Label { replica, before: "", what, then: "", fair }, |world| {
                world.faults -= u8::from(!fair);
                change(world);
            });
        }
    }

    pub fn push(&mut self, label: Label, change: impl FnOnce(&mut World)) {
        let mut world = self.from.clone();
        change(&mut world);
        self.find(label, world);
    }

    /// Begins a reconcile. One may begin at any time, over any request, and its cause may be
    /// arbitrarily stale. Liveness must not depend on a reconcile without a cause: the watch shows
    /// what is pending, and the sweep finds open claims.
    fn start(&mut self, replica: usize) {
        for subject in 0..self.from.requests.len() {
            // Replicas are alike: an idle one with a higher number waits for those before it.
            let is_alike = |other: usize| {
                self.from.replicas[other].is_none() && self.from.earlier[other] == self.from.earlier[replica]
            };
            if (0..replica).any(is_alike) {
                continue;
            }
            let pending = self.from.outcome(subject) == Some(Outcome::Pending);
            let open = self.from.records[subject].as_ref().is_some_and(|record| record.spec.effect.is_none());
            let what = if pending || open { "starts a reconcile" } else { CAUSELESS };
            let look = || Start::Look { reason: PaceReason::RateLimited, until: NEXT_TURN };
            let is_unclaimed = self.from.records[subject].is_none();
            let source = self.from.sources[subject];
            for (what, fair, start, user_busy) in [
                (what, true, turn(source, false), false),
                (if is_unclaimed { what } else { ASSUMES }, is_unclaimed, turn(source, true), false),
                ("starts one without a turn", false, look(), false),
                ("starts one while the user is busy", false, turn(source, false), true),
            ] {
                let now = self.from.time(replica, Duration::ZERO);
                let (machine, command) = Machine::new(World::identity(subject), settings(), start, user_busy, now);
                let task =
                    Task { subject, machine, command, read: Read::Nothing, sent: false, snapshot: Shown::default() };
                self.add(Some(replica), what, fair, |world| world.replicas[replica] = Some(Frozen::new(task)));
            }
        }
    }

    fn go_on(&mut self, replica: usize, task: &Frozen<Task>) {
        self.add(Some(replica), "crashes", false, |world| world.replicas[replica] = None);
        match &task.command {
            Command::Read => self.read(replica, task),
            Command::ReadRequest => {
                let request = self.from.requests[task.subject].clone();
                let server_time = Some(self.from.server_time(task.subject));
                let read = RequestRead { request, server_time };
                self.reply(replica, task, "reads the request alone", FAIR, |_| Event::Request(Ok(read)));
                self.reply(replica, task, "cannot read the request", FAULT, |_| Event::Request(Err(no_response())));
            }
            Command::ReadRecord { .. } => self.read_record(replica, task),
            Command::GetUser { after, .. } => self.get_user(replica, task, after.as_deref()),
            Command::ListUser { .. } => self.list_user(replica, task),
            Command::ListUserRecords(query) => self.list_records(replica, task, query),
            Command::WriteRecord { record, within } => self.write_record(replica, task, record, within.is_some()),
            Command::Call(call) if task.sent => self.respond(replica, task, call),
            Command::Call(call) => self.send(replica, task, call),
            Command::WriteStatus(request) => self.write_status(replica, task, request),
            Command::CheckGrants { .. }
            | Command::Recall(_)
            | Command::CountRefusal { .. }
            | Command::TakeClosingSlot { .. }
            | Command::LoadCredentials(_)
            | Command::Sleep(_)
            | Command::Finish(_) => unreachable!("carried out at once"),
        }
    }

    /// Carries out the command of a machine: changes the world, and returns the event.
    fn reply(
        &mut self,
        replica: usize,
        task: &Frozen<Task>,
        what: &'static str,
        cost: u8,
        respond: impl FnOnce(&mut World) -> Event<Session>,
    ) {
        self.reply_at(replica, task, what, cost, Duration::ZERO, respond);
    }

    fn reply_at(
        &mut self,
        replica: usize,
        task: &Frozen<Task>,
        what: &'static str,
        cost: u8,
        monotonic: Duration,
        respond: impl FnOnce(&mut World) -> Event<Session>,
    ) {
        if self.from.faults < cost {
            return;
        }
        let mut world = self.from.clone();
        world.faults -= cost;
        let event = respond(&mut world);
        let now = world.time(replica, monotonic);
        let mut advanced = advance(&world, replica, task, event, now);
        let last = advanced.pop();
        for advanced in advanced {
            self.put(world.clone(), replica, task, what, cost, advanced);
        }
        if let Some(last) = last {
            self.put(world, replica, task, what, cost, last);
        }
    }

    fn put(&mut self, mut world: World, replica: usize, task: &Task, what: &'static str, cost: u8, advanced: Advanced) {
        let Advanced { cost: more, then, machine, command, new, earlier } = advanced;
        world.faults -= more;
        world.earlier[replica] = earlier;
        let snapshot = world.snapshot.take().unwrap_or(task.snapshot);
        if let Some(attempt) = new {
            let claims = matches!(&command, Command::WriteRecord { record, .. } if record.spec.effect.is_none());
            if let Command::WriteRecord { record, .. } = &command
                && claims
                && !world.may_use(replica, record.spec.attempts.last().and_then(|last| last.origin.role_arn.as_deref()))
            {
                world.broken = Some("a claim begins only while grants and holds that are not old allow it");
            }
            if claims && then == TURN_LOST {
                world.broken = Some("no claim begins after the turn was lost");
            }
            if claims && what == NO_RESPONSE {
                world.broken = Some("a read without a response is no licence to send");
            }
            let (subject, calls, performed) = (task.subject, 0, 0);
            // Without a state that is surely the one before, only what follows the claim counts.
            let snapshot = match world.sources[subject] {
                UserStateSource::AdminGetUser => snapshot,
                UserStateSource::ListUsers | UserStateSource::None => {
                    Shown { moment: world.user.len() - 1, stale: false }
                }
            };
            let truth = Truth { subject, calls, performed, moment: None, snapshot, doubted: false };
            Arc::make_mut(&mut world.attempts).insert(attempt, truth);
        }
        if then == TURN_LOST && matches!(command, Command::Call(_)) {
            world.broken = Some("no call begins after the turn was lost");
        }
        if let Command::Call(call) = &command
            && !world.may_use(replica, call.session.as_deref())
        {
            world.broken = Some("a call begins only while grants and holds that are not old allow it");
        }
        let ended = matches!(command, Command::Finish(_));
        let next = || Task { subject: task.subject, machine, command, read: Read::Nothing, sent: false, snapshot };
        world.replicas[replica] = (!ended).then(|| Frozen::new(next()));
        let label = Label { replica: Some(replica), before: "", what, then, fair: cost + more == 0 };
        self.find(label, world);
    }

    /// Reads request and record at the same time, so that one of them may change before the other
    /// is read.
    fn read(&mut self, replica: usize, task: &Frozen<Task>) {
        let (request, record) = (self.from.requests[task.subject].clone(), self.from.records[task.subject].clone());
        let server_time = self.from.server_time(task.subject);
        let both = |request, record, server_time| {
            Event::Objects(Ok(Objects { request, record, server_time: Some(server_time) }))
        };
        match &task.read {
            Read::Nothing => {
                self.reply(replica, task, "reads request and record", FAIR, |_| both(request, record, server_time));
                self.reply(replica, task, "cannot read", FAULT, |_| Event::Objects(Err(no_response())));
                self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
            }
            Read::Request(request, server_time) => {
                let (request, server_time) = (request.clone(), *server_time);
                self.reply(replica, task, "reads the record", FAIR, |_| both(request, record, server_time));
            }
            Read::Record(record) => {
                let record = record.clone();
                self.reply(replica, task, "reads the request", FAIR, |_| both(request, record, server_time));
            }
        }
    }

    fn read_record(&mut self, replica: usize, task: &Frozen<Task>) {
        let Command::ReadRecord { within } = task.command else { return };
        let record = self.from.records[task.subject].clone();
        let read = |record: &Option<Record>| Event::Record(Ok(record.clone()));
        self.reply(replica, task, "reads the record again", FAIR, |_| read(&record));
        self.reply(replica, task, "cannot read the record again", FAULT, |_| Event::Record(Err(no_response())));
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
        if within.is_some() {
            self.reply_at(replica, task, "reads the record again too late", FAULT, LATE, |_| read(&record));
            self.reply_at(replica, task, "cannot read the record again in time", FAULT, LATE, |_| {
                Event::Record(Err(no_response()))
            });
        }
    }

    fn get_user(&mut self, replica: usize, task: &Frozen<Task>, after: Option<&str>) {
        let is_allowed = match self.from.sources[task.subject] {
            UserStateSource::AdminGetUser => true,
            UserStateSource::ListUsers => after.is_some(),
            UserStateSource::None => false,
        };
        if !is_allowed {
            self.add(Some(replica), "reads the user", true, |world| {
                world.broken = Some("AdminGetUser is called only where the grants let it be");
            });
        }
        let truth = after.and_then(|attempt| self.from.attempts.get(attempt));
        let since = truth.map_or(0, |truth| truth.snapshot.moment);
        for (stale, moment) in self.from.moments(since) {
            let (what, cost) = if stale { ("reads a stale user", FAULT) } else { ("reads the user", FAIR) };
            let names = UserNames { sub: Some("sub".into()), ..UserNames::default() };
            let user = User { status: self.from.status_at(moment), names };
            self.reply(replica, task, what, cost, |world| {
                let stale = stale && world.requests.len() > 1;
                world.snapshot = after.is_none().then_some(Shown { moment, stale });
                Event::User(Ok(user))
            });
        }
        for (what, error) in [
            (NO_RESPONSE, ReadError::NoResponse),
            ("is not let to read the user", ReadError::Exception(Code::Known(Exception::ExpiredToken))),
            ("finds no user", ReadError::Exception(Code::Known(Exception::UserNotFound))),
        ] {
            self.reply(replica, task, what, FAULT, |_| Event::User(Err(error)));
        }
        if after.is_none() {
            self.reply(replica, task, "finds the user busy", FAULT, |_| Event::UserBusy);
        }
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
    }

    /// Finds the user in a list, which may show any older state, and for the alias the user who had
    /// it before.
    fn list_user(&mut self, replica: usize, task: &Frozen<Task>) {
        let last = self.from.user.len() - 1;
        for moment in 0..=last {
            let (what, cost) = if moment == last { ("lists the user", FAIR) } else { ("lists a stale user", FAULT) };
            let user = self.from.listed_at(moment, "sub");
            self.reply(replica, task, what, cost, |_| Event::User(Ok(user)));
        }
        if task.subject > 0 {
            let user = self.from.listed_at(last, "earlier");
            self.reply(replica, task, "lists the user of the alias before", FAULT, |_| Event::User(Ok(user)));
        }
        for (what, error) in [
            (NO_RESPONSE, ReadError::NoResponse),
            ("is not let to list users", ReadError::Exception(Code::Known(Exception::ExpiredToken))),
            ("lists nobody", ReadError::NotListed),
        ] {
            self.reply(replica, task, what, FAULT, |_| Event::User(Err(error)));
        }
        self.reply(replica, task, "finds the user busy", FAULT, |_| Event::UserBusy);
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
    }

    /// Lists the other records of the user. An open claim has been observed for long enough, or
    /// not.
    fn list_records(&mut self, replica: usize, task: &Frozen<Task>, query: &UserRecords) {
        let last = self.from.records[task.subject].as_ref().and_then(|record| record.spec.attempts.last());
        let truth = last.and_then(|last| self.from.attempts.get(&last.id));
        let snapshot = truth.map(|truth| truth.snapshot).unwrap_or_default();
        let list = |observed_for| self.from.other_records(query, snapshot, observed_for);
        let (long, short) = (list(SignedDuration::MAX), list(SignedDuration::ZERO));
        if long != short {
            self.reply(replica, task, "lists a claim that may be in flight", FAIR, |_| Event::UserRecords(Ok(short)));
        }
        self.reply(replica, task, "lists the user's records", FAIR, |_| Event::UserRecords(Ok(long)));
        self.reply(replica, task, NO_LIST, FAULT, |_| Event::UserRecords(Err(no_response())));
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
    }

    fn write_record(&mut self, replica: usize, task: &Frozen<Task>, wanted: &Record, in_time: bool) {
        let subject = task.subject;
        let write = |world: &mut World| Event::RecordWritten(world.write_record(subject, wanted));
        self.reply(replica, task, "writes the record", FAIR, write);
        let lost = |world: &mut World| {
            world.write_record(subject, wanted);
            Event::RecordWritten(Written::Failed(no_response()))
        };
        self.reply(replica, task, "writes the record, and the reply is lost", FAULT, lost);
        let under_way = |world: &mut World| {
            world.wire.push(Message::Record { subject, wanted: wanted.clone() });
            Event::RecordWritten(Written::Failed(no_response()))
        };
        self.reply(replica, task, "gives up on a record that is still on its way", FAULT, under_way);
        self.reply(replica, task, "is refused a record", FAULT, |_| Event::RecordWritten(Written::Failed(refused())));
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
        if in_time {
            self.reply_at(replica, task, "writes the record too late", FAULT, LATE, write);
            self.reply_at(replica, task, "writes the record, and the reply is lost until late", FAULT, LATE, lost);
            self.reply_at(replica, task, "gives up late on a record on its way", FAULT, LATE, under_way);
        }
    }

    fn send(&mut self, replica: usize, task: &Frozen<Task>, call: &Call<Session>) {
        let sent = Frozen::new(Task { sent: true, ..Task::clone(task) });
        self.add(Some(replica), "sends the call", true, |world| {
            world.check_call(task.subject, &call.attempt_id, call.session.as_deref());
            world.wire.push(Message::Call { attempt: call.attempt_id.clone(), performed: false });
            world.replicas[replica] = Some(sent);
        });
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
    }

    fn respond(&mut self, replica: usize, task: &Frozen<Task>, call: &Call<Session>) {
        let place = self.from.call(&call.attempt_id).expect("a call that is waited for is on the wire");
        let performed = matches!(self.from.wire[place], Message::Call { performed: true, .. });
        let mut end = |what, cost, response: ResetResponse| {
            self.reply(replica, task, what, cost, |world| {
                world.wire.remove(place);
                Event::Response(Reply::of(response))
            });
        };
        for (what, exception, may_have_performed) in RESPONSES {
            if *may_have_performed || !performed {
                end(what, FAULT, ResetResponse::Exception(Code::Known(*exception)));
            }
        }
        end("loses the call or its reply", FAULT, ResetResponse::NoResponse);
        if performed {
            end("hears that it is accepted", FAIR, ResetResponse::Accepted);
        } else {
            end("finds no connection", FAULT, ResetResponse::NotSent(FailureCause::Refused));
            self.add(Some(replica), "is performed by Cognito", true, |world| world.perform(place));
        }
        self.reply(replica, task, "gives up on a call that is still on its way", FAULT, |_| {
            Event::Response(Reply::of(ResetResponse::NoResponse))
        });
        self.reply(replica, task, "panics over a call that is still on its way", FAULT, |_| Event::Panicked);
    }

    fn write_status(&mut self, replica: usize, task: &Frozen<Task>, wanted: &Request) {
        let subject = task.subject;
        self.reply(replica, task, "writes the status", FAIR, |world| {
            Event::StatusWritten(Ok(world.write_status(subject, wanted)))
        });
        self.reply(replica, task, "writes the status, and the reply is lost", FAULT, |world| {
            world.write_status(subject, wanted);
            Event::StatusWritten(Err(no_response()))
        });
        self.reply(replica, task, "gives up on a status that is still on its way", FAULT, |world| {
            world.wire.push(Message::Status { subject, wanted: wanted.clone() });
            Event::StatusWritten(Err(no_response()))
        });
        self.reply(replica, task, "is refused a status", FAULT, |_| Event::StatusWritten(Err(refused())));
        self.reply(replica, task, "panics", FAULT, |_| Event::Panicked);
    }
}

impl World {
    /// Returns the user with this `sub` as a list shows the state of this moment.
    fn listed_at(&self, moment: usize, sub: &str) -> User {
        let names = UserNames { username: Some(SPELLINGS[0].into()), sub: Some(sub.into()), ..UserNames::default() };
        User { status: self.status_at(moment), names }
    }
}

/// A turn of the lane of all roles.
fn turn(source: UserStateSource, assume_unclaimed: bool) -> Start {
    let account = Account::Id(ACCOUNT.into());
    let lane = Lane::Cognito { account, region: "eu-west-1".into(), category: QuotaCategory::UserAccountRecovery };
    Start::Turn { lane, grant: None, own_account: None, source, assume_unclaimed }
}

fn no_response() -> ApiFailure {
    ApiFailure::NoResponse { detail: String::new() }
}

fn refused() -> ApiFailure {
    ApiFailure::Refused { by: Refuser::Permission, detail: String::new() }
}

/// Hands an event to the machine, and carries out commands that nobody else can observe until
/// another one comes.
fn advance(world: &World, replica: usize, task: &Task, event: Event<Session>, now: Now) -> Vec<Advanced> {
    let mut found = Vec::new();
    let mut open = vec![(FAIR, "", world.earlier[replica], task.machine.clone(), event)];
    while let Some((cost, then, earlier, machine, event)) = open.pop() {
        let (machine, command, new) = react(world, task, machine, event, now);
        let mut go_on = |event| open.push((cost, then, earlier, machine.clone(), event));
        match &command {
            Command::CheckGrants { user, purpose, .. } => {
                if *purpose != Purpose::Read && cost < world.faults {
                    let lost = Event::TurnLost(PaceReason::Throttled);
                    open.push((cost + 1, TURN_LOST, earlier, machine.clone(), lost));
                }
                let mut see = |cost, then, earlier, rules: Rules, confirmed| {
                    let event = Event::Grants(rules.evaluate(world.sources[task.subject], user, confirmed));
                    open.push((cost, then, earlier, machine.clone(), event));
                };
                see(cost, then, None, world.rules, true);
                if let Some(before) = earlier {
                    see(cost, "sees grants before their change", earlier, before, true);
                }
                if cost < world.faults {
                    // What is not confirmed may be arbitrarily old.
                    let old = Rules { granted: true, hold: Hold::None, ..world.rules };
                    see(cost + 1, "cannot confirm the grants", earlier, old, false);
                }
            }
            Command::Recall(_) => {
                let nothing = Recalled { observed_for: LATE, refused: None, held_up: None };
                go_on(Event::Recalled(nothing.clone()));
                if cost < world.faults {
                    let refused = RefusedWrite { write: RecordWrite::Claim, refuser: None, pause: LATE };
                    let refused = Event::Recalled(Recalled { refused: Some(refused), ..nothing });
                    open.push((cost + 1, "has to wait because a claim was refused", earlier, machine, refused));
                }
            }
            Command::CountRefusal { write, by, .. } => {
                go_on(Event::Refusal(RefusedWrite { write: *write, refuser: Some(by.clone()), pause: LATE }))
            }
            Command::Sleep(_) => go_on(Event::Slept),
            Command::TakeClosingSlot { .. } => {
                go_on(Event::Slot(Slot::Now));
                if cost < world.faults {
                    let later = Slot::Later { after: SignedDuration::from_hours(1) };
                    open.push((cost + 1, "has to wait to close the record", earlier, machine, Event::Slot(later)));
                }
            }
            Command::LoadCredentials(access) => {
                go_on(Event::Credentials(Ok(access.role.as_ref().map(|role| role.arn.as_str().into()))));
                if cost < world.faults {
                    let failure = Event::Credentials(Err(SessionFailure::NoResponse));
                    open.push((cost + 1, "gets no credentials", earlier, machine, failure));
                }
            }
            Command::ListUserRecords(_) if world.requests.len() == 1 => {
                go_on(Event::UserRecords(Ok(Vec::new())));
                if cost < world.faults {
                    open.push((cost + 1, NO_LIST, earlier, machine, Event::UserRecords(Err(no_response()))));
                }
            }
            Command::Read
            | Command::ReadRequest
            | Command::ReadRecord { .. }
            | Command::GetUser { .. }
            | Command::ListUser { .. }
            | Command::ListUserRecords(_)
            | Command::WriteRecord { .. }
            | Command::Call(_)
            | Command::WriteStatus(_)
            | Command::Finish(_) => found.push(Advanced { cost, then, machine, command, new, earlier }),
        }
    }
    found
}

/// One reaction of a machine. If it writes a random id, that is the next one that nothing of the
/// request has, so that fewer states differ by it.
fn react(
    world: &World,
    task: &Task,
    mut machine: Machine<Session>,
    event: Event<Session>,
    now: Now,
) -> (Machine<Session>, Command<Session>, Option<String>) {
    let earlier = world.attempts.values().filter(|truth| truth.subject == task.subject).count();
    let id = Entropy(format!("attempt-{}-{earlier}", task.subject));
    let command = machine.on(event, now, &id).command;
    let last = match &command {
        Command::WriteRecord { record, .. } => record.spec.attempts.last(),
        _ => None,
    };
    let new = last.is_some_and(|last| last.id == id.0);
    (machine, command, new.then_some(id.0))
}

impl Rules {
    /// Returns what these grants and holds say of a request whose user is known so far.
    fn evaluate(self, source: UserStateSource, user: &KnownUser, confirmed: bool) -> Evaluation {
        let cause = match (self.hold, user) {
            (Hold::User, _) if source == UserStateSource::None => Some(HoldCause::UserNotRead),
            (Hold::None, _) | (Hold::User, KnownUser::NotRead) => None,
            (Hold::Pool, _) | (Hold::User, KnownUser::Read(_)) => Some(HoldCause::Matches("reason".into())),
            (Hold::User, KnownUser::Unreadable) => Some(HoldCause::UserUnreadable),
        };
        let held_by = cause.map(|cause| HeldBy { hold: "hold".into(), cause, others: 0 });
        let role = Role { arn: ROLES[self.role].into(), external_id: None, session_tags: SessionTags::Full };
        let authorization = if held_by.is_some() {
            Err(WaitReason::UserPoolHeld)
        } else if self.granted {
            Ok(Authorization { role: Some(role), source, grants: vec![], limits: None })
        } else {
            Err(WaitReason::NoMatchingGrant)
        };
        Evaluation {
            approval_required: false,
            user_required: false,
            authorization,
            read_before_approval: None,
            held_by,
            confirmed,
        }
    }
}
