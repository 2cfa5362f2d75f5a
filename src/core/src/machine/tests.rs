//! Tables of events and the commands that follow them.
//!
//! A test is a list of events, each with the command that has to follow it. Where a test does not
//! care, `reply` plays a world without failures.

mod assumption;
mod attribution;
mod calls;
mod claims;
mod closings;
mod effects;
mod sources;
mod turns;
mod waits;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use cognito_reset_api::{
    Attempt, CloseCause, Effect, Evidence, PasswordResetRecord, PasswordResetRequest, UserStateSource, UserStatus,
    conditions::{EndReason, Reason, WaitReason},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    ApiFailure, Command, Entropy, Event, HeldUp, Machine, Next, Note, Now, Object, Objects, Purpose, Reaction,
    Recalled, ReconcileError, RefusedWrite, RequestRead, Settings, Slot, Start, StatusWrite, Written,
    state::PaceReason,
};
use crate::{
    action::{
        port::{Reply, Role, User},
        response::ResetResponse,
        user_names::UserNames,
    },
    dispatch::{
        lane::{Account, Lane, QuotaCategory},
        turns::GrantLimits,
    },
    grants::{Authorization, Evaluation},
    ledger::{self, Backoff, Identity, Waits, attribution::OtherRecord},
    refusal::Refuser,
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
const USER: &str = "alice";
pub(super) const ACCOUNT: &str = "123456789012";
const OBSERVED: Duration = Duration::from_secs(3600);

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        operator_instance: "operator-1".into(),
        claim_timeout: CLAIM_TIMEOUT,
        waits: Waits {
            backoff: Backoff { initial: SignedDuration::from_secs(10), max: SignedDuration::from_secs(600) },
            in_flight: SignedDuration::from_secs(45),
        },
        probes: 3,
        probe_pause: Duration::from_secs(1),
        shown_wait: SignedDuration::from_secs(2),
        most_reads: 4,
    })
}

fn request() -> PasswordResetRequest {
    let spec = serde_json::json!({ "userPoolID": "eu-west-1_Example01", "username": USER, "reason": USER });
    let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    request.metadata.namespace = Some("support".into());
    request.metadata.uid = Some("uid".into());
    request.metadata.resource_version = Some("7".into());
    request.metadata.creation_timestamp = Some(Time(NOW));
    request
}

fn identity() -> Identity {
    Identity::of_request(&request())
}

fn role(name: &str) -> Role {
    Role {
        arn: format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
        external_id: None,
        session_tags: cognito_reset_api::SessionTags::Full,
    }
}

fn authorized(name: &str) -> Authorization {
    let source = UserStateSource::AdminGetUser;
    Authorization { role: Some(role(name)), source, grants: vec!["support".into()], limits: None }
}

/// The limits of a grant of this name.
pub(super) fn limits(grant: &str) -> Option<Arc<GrantLimits>> {
    Some(Arc::new(GrantLimits { grant: grant.into(), per_minute: Some(30), share_percent: Some(5) }))
}

fn granted(name: &str) -> Evaluation {
    evaluation(Ok(authorized(name)))
}

/// An evaluation by confirmed grants and no hold.
pub(super) fn evaluation(authorization: Result<Authorization, WaitReason>) -> Evaluation {
    Evaluation {
        approval_required: false,
        user_required: false,
        authorization,
        read_before_approval: None,
        held_by: None,
        confirmed: true,
    }
}

/// The record with one attempt, which this makes of it.
fn record(change: impl FnOnce(&mut PasswordResetRecord)) -> PasswordResetRecord {
    let attempt = serde_json::from_value(serde_json::json!({
        "id": "theirs", "operatorInstance": "operator-2", "requestUID": "uid", "requestedBy": { "username": "bob" },
        "claimedAt": NOW, "userStatusBefore": "CONFIRMED", "stateReadAfter": NOW, "roleARN": role("theirs").arn,
    }));
    let mut record = ledger::claimed(None, &identity(), attempt.unwrap());
    record.metadata.resource_version = Some("1".into());
    record.spec.user_sub = Some("sub-1".into());
    change(&mut record);
    record
}

fn settled(effect: Effect, evidence: Evidence) -> PasswordResetRecord {
    record(|record| {
        record.spec.effect = Some(effect);
        let last = &mut record.spec.attempts[0];
        (last.evidence, last.settled_at) = (Some(evidence), Some(Time(NOW)));
    })
}

fn read(request: PasswordResetRequest, record: Option<PasswordResetRecord>) -> Event<&'static str> {
    Event::Objects(Ok(Objects {
        request: Some(request.into()),
        record: record.map(Object::from),
        server_time: Some(NOW),
    }))
}

fn read_alone(request: PasswordResetRequest) -> Event<&'static str> {
    Event::Request(Ok(RequestRead { request: Some(request.into()), server_time: Some(NOW) }))
}

fn recalled(refused: Option<RefusedWrite>, held_up: Option<HeldUp>) -> Event<&'static str> {
    Event::Recalled(Recalled { observed_for: OBSERVED, refused, held_up })
}

fn later(after: SignedDuration) -> Event<&'static str> {
    Event::Slot(Slot::Later { after })
}

fn no_response() -> ApiFailure {
    ApiFailure::NoResponse { detail: "nothing came back".into() }
}

fn refused_by(name: &str) -> ApiFailure {
    ApiFailure::Refused { by: Refuser::ValidatingPolicy(name.into()), detail: "refused".into() }
}

fn stored(record: &Object<PasswordResetRecord>) -> Event<&'static str> {
    let mut stored = PasswordResetRecord::clone(record);
    stored.metadata.resource_version = Some("2".into());
    Event::RecordWritten(Written::Stored(stored.into()))
}

fn last(record: &PasswordResetRecord) -> &Attempt {
    ledger::last(record).unwrap()
}

/// A machine, the command that it waits for, and the time.
#[derive(Clone)]
struct Run {
    machine: Machine<&'static str>,
    command: Command<&'static str>,
    notes: Vec<Note>,
    now: Now,
    /// The number of events so far. Each event has its own random id.
    events: usize,
}

/// A turn of the lane of this account.
pub(super) fn turn(account: &str) -> Start {
    turn_of(account, false)
}

fn turn_of(account: &str, assume_unclaimed: bool) -> Start {
    let account = Account::Id(account.into());
    let lane = Lane::Cognito { account, region: "eu-west-1".into(), category: QuotaCategory::UserAccountRecovery };
    // Such a turn is valid for every source.
    Start::Turn { lane, grant: None, own_account: None, source: UserStateSource::ListUsers, assume_unclaimed }
}

impl Run {
    fn new() -> Self {
        Self::of(identity(), turn(ACCOUNT), false)
    }

    fn of(identity: Identity, start: Start, busy: bool) -> Self {
        let now = Now { wall: NOW, monotonic: Duration::ZERO };
        let (machine, command) = Machine::new(identity, settings(), start, busy, now);
        Self { machine, command, notes: Vec::new(), now, events: 0 }
    }

    /// A reconcile of a request that is assumed to have no record.
    fn assuming() -> Self {
        Self::of(identity(), turn_of(ACCOUNT, true), false)
    }

    /// A reconcile without a turn, of a request that waits for one for this time.
    fn looking(reason: PaceReason, wait: SignedDuration) -> Self {
        Self::of(identity(), Start::Look { reason, until: NOW + wait }, false)
    }

    fn on(&mut self, event: Event<&'static str>) -> &Command<&'static str> {
        self.events += 1;
        let Reaction { command, notes } = self.machine.on(event, self.now, &Entropy(format!("id-{}", self.events)));
        self.command = command;
        self.notes.extend(notes);
        &self.command
    }

    /// Replies without failures until this command comes.
    fn until(mut self, name: &str) -> Self {
        for _ in 0..100 {
            if self.command.name() == name {
                return self;
            }
            let event = reply(&self.command);
            self.on(event);
        }
        panic!("{} instead of {name}", self.command);
    }

    /// Hands over each event and asks for the name of the command that follows.
    fn expect(&mut self, steps: impl IntoIterator<Item = (Event<&'static str>, &'static str)>) {
        for (at, (event, name)) in steps.into_iter().enumerate() {
            let what = event.to_string();
            assert_eq!(self.on(event).name(), name, "step {at}: {what}");
        }
    }

    fn written(&self) -> &Object<PasswordResetRecord> {
        match &self.command {
            Command::WriteRecord { record, .. } => record,
            other => panic!("{other}"),
        }
    }

    fn status(&self) -> (Reason, String) {
        let Command::WriteStatus(request) = &self.command else { panic!("{}", self.command) };
        let ready = request.status.as_ref().unwrap().conditions.iter().find(|it| it.type_ == "Ready").unwrap();
        let waits = [
            WaitReason::WriteRefused,
            WaitReason::RateLimited,
            WaitReason::Throttled,
            WaitReason::DeliveryFailing,
            WaitReason::CognitoUnreachable,
            WaitReason::AwaitingPriorAttempt,
            WaitReason::Suspended,
            WaitReason::ClockSkew,
            WaitReason::NoMatchingGrant,
            WaitReason::UserPoolHeld,
            WaitReason::GrantsNotConfirmed,
        ]
        .map(Reason::Wait);
        let mut all = waits.into_iter().chain([Reason::End(EndReason::ResetAccepted)]);
        let reason = all.find(|reason| reason.as_str() == ready.reason);
        (reason.unwrap_or_else(|| panic!("{}", ready.reason)), ready.message.clone())
    }

    fn end(&self) -> Result<Next, ReconcileError> {
        match &self.command {
            Command::Finish(end) => end.clone(),
            other => panic!("{other}"),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += SignedDuration::try_from(time).unwrap();
    }
}

fn waits(reason: WaitReason, after: Duration) -> Result<Next, ReconcileError> {
    Ok(Next::Wait { reason, after })
}

fn needs_turn(is_unclaimed: bool) -> Result<Next, ReconcileError> {
    let (account, source) = (Some("123456789012".into()), UserStateSource::AdminGetUser);
    Ok(Next::NeedsTurn { is_unclaimed, account, source, limits: None })
}

fn user(status: UserStatus) -> Event<&'static str> {
    Event::User(Ok(User { status, names: UserNames { sub: Some("sub-1".into()), ..UserNames::default() } }))
}

fn listed(others: Vec<OtherRecord>) -> Event<&'static str> {
    Event::UserRecords(Ok(others))
}

/// Returns the event of a world without failures.
fn reply(command: &Command<&'static str>) -> Event<&'static str> {
    match command {
        Command::Read => read(request(), None),
        Command::ReadRequest => read_alone(request()),
        Command::ReadRecord { .. } => Event::Record(Ok(None)),
        Command::CheckGrants { .. } => Event::Grants(granted("reset")),
        Command::Recall(_) => Event::Recalled(Recalled { observed_for: OBSERVED, refused: None, held_up: None }),
        Command::CountRefusal { write, by, .. } => {
            Event::Refusal(RefusedWrite { write: *write, refuser: Some(by.clone()), pause: Duration::from_secs(10) })
        }
        Command::TakeClosingSlot { .. } => Event::Slot(Slot::Now),
        Command::LoadCredentials(_) => Event::Credentials(Ok("session")),
        Command::GetUser { .. } | Command::ListUser { .. } => user(UserStatus::Confirmed),
        Command::ListUserRecords(_) => listed(vec![]),
        Command::WriteRecord { record, .. } => stored(record),
        Command::Call(_) => {
            Event::Response(Reply { request_id: Some("aws-1".into()), ..Reply::of(ResetResponse::Accepted) })
        }
        Command::WriteStatus(_) => Event::StatusWritten(Ok(StatusWrite::Applied)),
        Command::Sleep(_) => Event::Slept,
        Command::Finish(end) => panic!("{end:?}"),
    }
}

#[test]
fn a_reset_takes_these_steps_in_this_order() {
    let mut run = Run::new();
    let mut steps = vec![run.command.name()];
    let mut attempts = Vec::new();
    while run.command.name() != "Finish" {
        let event = reply(&run.command);
        steps.push(run.on(event).name());
        attempts.extend(run.command.attempt_id().map(str::to_owned));
    }
    let wanted = [
        "Read",
        "CheckGrants",
        "Recall",
        "LoadCredentials",
        "GetUser",
        "CheckGrants",
        "WriteRecord",
        "CheckGrants",
        "Call",
        "WriteRecord",
        "Recall",
        "WriteStatus",
        "Finish",
    ];
    assert_eq!(steps, wanted);
    assert_eq!(attempts.len(), 3, "the claim, the call and the effect name their attempt");
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "{attempts:?}");
    assert_eq!(run.end(), Ok(Next::Done));
}

#[test]
fn machines_hash_alike_if_they_have_read_the_same() {
    let hash = |run: &Run| {
        let mut hasher = DefaultHasher::new();
        run.machine.hash(&mut hasher);
        hasher.finish()
    };
    let (mut one, mut other) = (Run::new(), Run::new());
    assert_eq!(hash(&one), hash(&other));
    one.on(read(request(), None));
    assert_ne!(hash(&one), hash(&other));
    other.on(read(request(), None));
    assert_eq!(hash(&one), hash(&other));
}

#[test]
fn descriptions_contain_nothing_that_people_wrote() {
    let mut run = Run::new();
    let mut lines = vec![run.command.to_string()];
    while run.command.name() != "Finish" {
        let event = reply(&run.command);
        lines.push(event.to_string());
        lines.push(run.on(event).to_string());
    }
    for event in [
        read_alone(request()),
        Event::Record(Ok(Some(record(|_| ()).into()))),
        Event::Objects(Err(no_response())),
        Event::StatusWritten(Err(refused_by("frozen"))),
    ] {
        lines.push(event.to_string());
    }
    let leaks: Vec<_> = lines.iter().filter(|line| line.contains(USER)).collect();
    assert_eq!(leaks, Vec::<&String>::new());
    assert_eq!(Entropy("id-7".into()).to_string(), "id-7");
    let wanted = "WriteRecord(record @ open id-6 Some(Confirmed) None, Some(10s))";
    assert!(lines.iter().any(|line| line == wanted), "{lines:#?}");
}

#[test]
fn an_unexpected_event_is_a_panic_and_loses_no_claim() {
    let ends = Err(ReconcileError::Panicked);
    for name in ["Read", "CheckGrants", "Recall", "LoadCredentials", "GetUser", "WriteStatus"] {
        for event in [Event::Panicked, Event::RecordWritten(Written::Conflict)] {
            let mut run = Run::new().until(name);
            run.on(event);
            assert_eq!(run.end(), ends, "{name}");
        }
    }
    let mut run = Run::new().until("WriteRecord");
    run.expect([(Event::Panicked, "Sleep"), (Event::Panicked, "Sleep"), (Event::Slept, "WriteRecord")]);
    let mut run = Run::new().until("WriteRecord");
    run.expect([(stored(run.written()), "CheckGrants"), (Event::Panicked, "WriteRecord")]);
    assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
    let mut run = Run::new().until("Call");
    run.expect([
        (Event::Panicked, "GetUser"),
        (Event::Panicked, "Sleep"),
        (Event::Panicked, "Sleep"),
        (Event::Slept, "GetUser"),
        (Event::Panicked, "WriteRecord"),
        (Event::Panicked, "Sleep"),
        (Event::Panicked, "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Panicked, "Sleep"),
    ]);
}
