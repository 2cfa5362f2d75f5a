//! The world around the operator: an API server with guarded writes, Cognito, a network that loses
//! and delays, and replicas that run the production machine. A value that exists only for the
//! checks is called a ghost.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock},
    time::Duration,
};

use cognito_reset_api::{
    Action, Effect, Outcome, PasswordResetRecord, PasswordResetRequest, PasswordResetRequestSpec, RequestRef,
    UserStateSource, UserStatus,
};
use cognito_reset_core::{
    ledger::{
        self, Backoff, Identity, Waits,
        attribution::{OtherRecord, UserRecords},
    },
    machine::{Command, Machine, Now, Object, Settings, StatusWrite, Written},
    retention::policy::{self, Presence, Verdict},
    watched_namespaces::WatchedNamespaces,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::reductions::{status_without_times, without_times};

/// The time of everything before the deadline.
pub const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
/// The `notAfter` of the requests that have one, for the first application and for another one.
pub const EXPIRES: [Timestamp; 2] =
    [Timestamp::constant(1_800_000_000 + 100_000, 0), Timestamp::constant(1_800_000_000 + 110_000, 0)];
/// The account of all roles.
pub const ACCOUNT: &str = "123456789012";
/// The roles that a grant may name, one after the other.
pub const ROLES: [&str; 2] = ["arn:aws:iam::123456789012:role/one", "arn:aws:iam::123456789012:role/two"];
/// A time after every deadline.
pub const AFTER: Timestamp = Timestamp::constant(1_800_000_000 + 200_000, 0);
/// No wait between attempts, and a short one for a call in flight: the checker chooses the time
/// that has passed.
pub const WAITS: Waits = Waits {
    backoff: Backoff { initial: SignedDuration::ZERO, max: SignedDuration::ZERO },
    in_flight: SignedDuration::from_secs(1),
};
/// The names by which the requests name their one user.
pub const SPELLINGS: [&str; 2] = ["user", "alias"];
/// The time between two writes of a record, by the API server's clock.
const WRITE: SignedDuration = SignedDuration::from_secs(10);
/// One probe before a resolution, every wait is shown, and a few conflicts are contention.
static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| {
    Arc::new(Settings {
        // No rule looks at who holds a claim: with one name for all, fewer states differ.
        operator_instance: "holder".into(),
        claim_timeout: Duration::from_secs(1),
        waits: WAITS,
        probes: 1,
        probe_pause: Duration::ZERO,
        shown_wait: SignedDuration::ZERO,
        most_reads: 3,
    })
});

pub fn settings() -> Arc<Settings> {
    Arc::clone(&SETTINGS)
}

/// A value with its hash: cheap to copy and to hash.
#[derive(Debug)]
pub struct Frozen<T> {
    value: Arc<T>,
    print: u64,
}

impl<T: Hash> Frozen<T> {
    pub fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self { value: Arc::new(value), print: hasher.finish() }
    }
}

impl<T> Clone for Frozen<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), print: self.print }
    }
}

impl<T> Deref for Frozen<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Hash for Frozen<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

pub type Request = Object<PasswordResetRequest>;
pub type Record = Object<PasswordResetRecord>;
/// The role of a session.
pub type Session = Option<Arc<str>>;

/// A task of a replica at work on a request: the production machine, and the command that it waits
/// for.
#[derive(Clone, Debug, Hash)]
pub struct Task {
    pub subject: usize,
    pub machine: Machine<Session>,
    pub command: Command<Session>,
    pub read: Read,
    /// True if the call that is commanded is on its way.
    pub sent: bool,
    /// Ghost: its snapshot.
    pub snapshot: Shown,
}

impl Task {
    /// Returns the attempt whose response the task waits for.
    pub fn waits_for(&self) -> Option<&str> {
        match &self.command {
            Command::Call(call) if self.sent => Some(&call.attempt_id),
            _ => None,
        }
    }
}

/// Ghost: what a read of the user showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The moment of the user's history.
    pub moment: usize,
    /// True if there was a later moment by then. It matters only beside other requests.
    pub stale: bool,
}

/// The object that was read first, if the command is to read request and record.
#[derive(Clone, Debug, Hash)]
pub enum Read {
    Nothing,
    /// With the Date of the response.
    Request(Option<Request>, Timestamp),
    Record(Option<Record>),
}

/// The start of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub requests: usize,
    pub replicas: usize,
    /// The user already has to reset.
    pub reset_before: bool,
    /// The requests ask to skip in that case, and have a `notAfter`.
    pub cautious: bool,
    /// For each request, the call by which its grant lets the user be read.
    pub sources: [UserStateSource; 2],
    /// All replicas read one clock.
    pub one_clock: bool,
    /// The number of faults.
    pub faults: u8,
}

/// A message that is on its way, whether or not its sender waits for it.
#[derive(Clone, Debug, Hash)]
pub enum Message {
    /// A call of AdminResetUserPassword.
    Call { attempt: String, performed: bool },
    /// A record whose sender has given up.
    Record { subject: usize, wanted: Record },
    /// A status whose sender has given up.
    Status { subject: usize, wanted: Request },
}

/// Ghost: the truth about an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Truth {
    pub subject: usize,
    /// The number of calls for it.
    pub calls: u8,
    /// The number of times that Cognito performed it.
    pub performed: u8,
    /// The moment of the user's history that this performance made. It matters only beside other
    /// requests.
    pub moment: Option<usize>,
    /// Its snapshot.
    pub snapshot: Shown,
    /// True if its claim was settled as Unknown before its call was over, whether the call was on
    /// its way or was sent only later. Production takes the call for over only after the time for
    /// which it can be in flight, which does not pass here.
    pub doubted: bool,
}

/// The hold that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    None,
    /// It holds every request.
    Pool,
    /// It holds the user, by a name other than the one in the requests: a request is held only
    /// once its user was read, or cannot be read.
    User,
}

/// The grants and holds of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    pub granted: bool,
    pub hold: Hold,
    /// The index in `ROLES` of the role that the grant names.
    pub role: usize,
}

impl Rules {
    pub fn allow(self) -> bool {
        self.granted && self.hold == Hold::None
    }
}

/// One state of everything.
#[derive(Clone, Debug)]
pub struct World {
    pub requests: Vec<Option<Request>>,
    pub records: Vec<Option<Record>>,
    pub replicas: Vec<Option<Frozen<Task>>>,
    pub wire: Vec<Message>,
    /// The user's states, oldest first: whether the password has to be reset.
    pub user: Vec<bool>,
    pub rules: Rules,
    /// For each replica the rules before their last change, for as long as its confirmation may be
    /// older than the change. A confirmation never becomes older, so that a replica that has seen
    /// the change sees no rules before it.
    pub earlier: Vec<Option<Rules>>,
    /// The clocks by which every deadline has passed.
    pub over: Vec<bool>,
    /// Every deadline has passed by the API server's clock, which is never set back.
    pub server_over: bool,
    pub cautious: bool,
    /// For each request, the call by which its grant lets the user be read.
    pub sources: [UserStateSource; 2],
    /// The number of faults that are left.
    pub faults: u8,
    pub attempts: Arc<BTreeMap<String, Truth>>,
    /// The versions of each subject's request and record. They are counted apart, so that the order
    /// of writes to different objects makes no difference.
    versions: Vec<[u16; 2]>,
    /// Ghost: what a snapshot shows, on its way to the task that takes it.
    pub snapshot: Option<Shown>,
    /// Ghost: a violation that has happened.
    pub broken: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Kind {
    Request,
    Record,
}

/// Returns the uid and the version by which a write of the status is guarded.
pub fn guard(request: &PasswordResetRequest) -> (&Option<String>, &Option<String>) {
    (&request.metadata.uid, &request.metadata.resource_version)
}

/// Replicas are alike: states that differ in which of them does what are one.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            requests,
            records,
            replicas,
            wire,
            user,
            rules,
            earlier,
            over,
            server_over,
            cautious: _,
            sources: _,
            faults,
            attempts,
            versions,
            snapshot,
            broken,
        } = self;
        let clock = |replica: usize| over[replica % over.len()];
        let tasks = replicas.iter().zip(earlier).enumerate();
        let mut tasks: Vec<_> =
            tasks.map(|(at, (task, earlier))| (clock(at), earlier, task.as_ref().map(|task| task.print))).collect();
        tasks.sort_unstable();
        (requests, records, tasks, wire, user).hash(state);
        (rules, over.len(), server_over, faults, attempts, versions, snapshot, broken).hash(state);
    }
}

impl World {
    pub fn new(start: Start) -> Self {
        let mut world = Self {
            requests: vec![None; start.requests],
            records: vec![None; start.requests],
            replicas: vec![None; start.replicas],
            wire: Vec::new(),
            user: vec![start.reset_before],
            rules: Rules { granted: true, hold: Hold::None, role: 0 },
            earlier: vec![None; start.replicas],
            over: vec![false; if start.one_clock { 1 } else { start.replicas }],
            server_over: false,
            cautious: start.cautious,
            sources: start.sources,
            faults: start.faults,
            attempts: Arc::default(),
            versions: vec![[0; 2]; start.requests],
            snapshot: None,
            broken: None,
        };
        for subject in 0..start.requests {
            world.apply(subject);
        }
        world
    }

    /// Returns the time by a replica's clocks.
    pub fn time(&self, replica: usize, monotonic: Duration) -> Now {
        Now { wall: if self.over[replica % self.over.len()] { AFTER } else { NOW }, monotonic }
    }

    /// Returns the Date of a response with this request. Of the time that passes, only the writes
    /// of the user's other records matter: this moment is after the last one of them, and before
    /// the next.
    pub fn server_time(&self, subject: usize) -> Timestamp {
        let others = self.versions.iter().enumerate().filter(|(other, _)| *other != subject);
        let writes: i32 = others.map(|(_, versions)| i32::from(versions[Kind::Record as usize])).sum();
        let base = if self.server_over { AFTER } else { NOW };
        if self.requests.len() == 1 { base } else { base + WRITE * writes + SignedDuration::from_secs(9) }
    }

    /// Returns the other records of the user, as they are listed for a task with this snapshot.
    /// `observed_for` is the time for which the process has observed open claims.
    pub fn other_records(
        &self,
        query: &UserRecords,
        snapshot: Shown,
        observed_for: SignedDuration,
    ) -> Vec<OtherRecord> {
        let selected = self.records.iter().flatten().filter(|record| query.selects(record));
        let read = selected.map(|record| OtherRecord::of(record, |_| observed_for));
        // A read of the user that is stale is so by less than the tolerance of the clocks.
        let late = if snapshot.stale { SignedDuration::from_secs(4) } else { SignedDuration::ZERO };
        read.map(|other| OtherRecord { written_at: other.written_at.map(|at| at + late), ..other }).collect()
    }

    fn version(&mut self, subject: usize, kind: Kind) -> String {
        let version = &mut self.versions[subject][kind as usize];
        *version += 1;
        version.to_string()
    }

    /// Creates the request: a new object each time.
    pub fn apply(&mut self, subject: usize) {
        let mut spec = serde_json::json!({ "userPoolID": "eu-west-1_Model", "username": SPELLINGS[subject] });
        if self.cautious {
            spec["ifResetRequired"] = "Skip".into();
            let again = usize::from(self.versions[subject][Kind::Request as usize] > 0);
            spec["notAfter"] = EXPIRES[again].to_string().into();
        }
        let spec: PasswordResetRequestSpec = serde_json::from_value(spec).unwrap();
        let mut request = PasswordResetRequest::new(&format!("request-{subject}"), spec);
        let version = self.version(subject, Kind::Request);
        let metadata = &mut request.metadata;
        metadata.namespace = Some("default".into());
        metadata.uid = Some(format!("uid-{version}"));
        metadata.resource_version = Some(version);
        metadata.creation_timestamp = Some(Time(NOW));
        self.requests[subject] = Some(Object::from(request));
    }

    /// Changes the request as its author does.
    pub fn edit(&mut self, subject: usize, edit: impl FnOnce(&mut PasswordResetRequest)) {
        let version = self.version(subject, Kind::Request);
        if let Some(request) = &self.requests[subject] {
            let mut request = PasswordResetRequest::clone(request);
            edit(&mut request);
            request.metadata.resource_version = Some(version);
            self.requests[subject] = Some(Object::from(request));
        }
    }

    pub fn identity(subject: usize) -> Identity {
        Identity {
            action: Action::PasswordReset,
            request: RequestRef { namespace: "default".into(), name: format!("request-{subject}") },
            user_pool_id: "eu-west-1_Model".into(),
            username: SPELLINGS[subject].into(),
        }
    }

    /// Creates or replaces a record, as the API server does: a creation requires that there is
    /// none, a replacement requires the version that it was made from. The rules of the CRD are not
    /// applied: they are the second line.
    pub fn write_record(&mut self, subject: usize, wanted: &Record) -> Written {
        let standing = self.records[subject].clone();
        let guard = wanted.metadata.resource_version.clone();
        match (&standing, &guard) {
            (None, Some(_)) => return Written::NotFound,
            (Some(_), None) => return Written::Conflict,
            (Some(standing), Some(_)) if standing.metadata.resource_version != guard => return Written::Conflict,
            _ => {}
        }
        let before = standing.as_ref().and_then(|record| record.spec.effect);
        let after = wanted.spec.effect;
        let last = |record: &PasswordResetRecord| record.spec.attempts.last().map(|last| last.id.clone());
        let same = standing.as_ref().is_some_and(|standing| last(standing) == last(wanted));
        let standing_attempts = standing.as_ref().map(|record| &record.spec.attempts);
        let standing_closed = standing.as_ref().and_then(|record| record.spec.closed.as_ref());
        let closes = standing_closed.is_none() && wanted.spec.closed.is_some();
        if wanted.spec.closed.as_ref().is_some_and(|closed| closed.ungranted) && !wanted.spec.attempts.is_empty() {
            self.broken = Some("a record that was claimed is kept for the whole retention");
        }
        if standing_closed.is_some() && standing_closed != wanted.spec.closed.as_ref() {
            self.broken = Some("a closed record stays closed");
        }
        let grows = match (before, after) {
            // The closing leaves all attempts as they are, and none of them had an effect.
            (None | Some(Effect::NotPerformed), Some(Effect::NotPerformed)) if closes => {
                before.is_some() == standing.is_some()
                    && standing_attempts.map_or(wanted.spec.attempts.is_empty(), |kept| *kept == wanted.spec.attempts)
            }
            _ if closes => false,
            (None, None) => standing.is_none(),
            (None, Some(_)) => standing.is_none() || same,
            (Some(Effect::NotPerformed), None) => !same && standing_closed.is_none(),
            // What else it remembers may change.
            (Some(before), Some(after)) if before == after && standing_attempts == Some(&wanted.spec.attempts) => true,
            // A claim that may have been stored is settled as never sent.
            (Some(Effect::NotPerformed), Some(Effect::NotPerformed)) => !same && standing_closed.is_none(),
            (Some(Effect::Unknown), Some(Effect::Performed)) => same,
            _ => false,
        };
        if !grows {
            self.broken = Some("effect only grows, and an open claim is never taken over");
        }
        if before.is_none() && after == Some(Effect::Unknown) {
            self.doubt(wanted);
        }
        let mut stored = PasswordResetRecord::clone(wanted);
        stored.metadata.resource_version = Some(self.version(subject, Kind::Record));
        if self.requests.len() > 1 {
            let written = NOW + WRITE * i32::from(self.versions[subject][Kind::Record as usize]);
            stored.metadata.creation_timestamp = Some(Time(written));
        }
        if self.requests.len() == 1 {
            without_times(&mut stored);
        }
        let stored = Object::from(stored);
        self.records[subject] = Some(stored.clone());
        Written::Stored(stored)
    }

    /// Notes that a claim is settled as Unknown, unless its call is over.
    fn doubt(&mut self, settled: &PasswordResetRecord) {
        let Some(last) = ledger::last(settled).filter(|_| self.requests.len() > 1) else { return };
        let in_flight = self.call(&last.id).is_some();
        if let Some(truth) = Arc::make_mut(&mut self.attempts).get_mut(&last.id) {
            truth.doubted |= in_flight || truth.calls == 0;
        }
    }

    /// Replaces a status, guarded by uid and version.
    pub fn write_status(&mut self, subject: usize, wanted: &Request) -> StatusWrite {
        let Some(standing) = self.requests[subject].clone() else { return StatusWrite::NotFound };
        if guard(&standing) != guard(wanted) {
            return StatusWrite::Conflict;
        }
        let status = wanted.status.clone().map(status_without_times);
        self.edit(subject, |request| request.status = status);
        StatusWrite::Applied
    }

    /// Returns true if the record of a request that does not exist may be deleted long before the
    /// retention, as the production policy decides it.
    pub fn is_forgotten_early(&self, subject: usize) -> bool {
        let Some(record) = &self.records[subject] else { return false };
        let later = NOW.saturating_add(SignedDuration::from_hours(10 * 24)).unwrap();
        let mut metadata = record.metadata.clone();
        metadata.uid = Some("uid".into());
        metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
        let year = SignedDuration::from_hours(365 * 24);
        let verdict =
            policy::record(&metadata, Some(record), Presence::Absent, Some(later), year, &WatchedNamespaces::All);
        matches!(verdict, Verdict::Delete(_))
    }

    /// Returns the position of the call of this attempt on the wire.
    pub fn call(&self, attempt: &str) -> Option<usize> {
        self.wire.iter().position(|message| matches!(message, Message::Call { attempt: sent, .. } if sent == attempt))
    }

    /// Performs the reset of the call at this place of the wire, as Cognito would.
    pub fn perform(&mut self, place: usize) {
        if let Message::Call { attempt, performed } = &mut self.wire[place] {
            *performed = true;
            self.user.push(true);
            let truth = Arc::make_mut(&mut self.attempts).get_mut(attempt).expect("a call has an attempt");
            truth.performed += 1;
            truth.moment = (self.requests.len() > 1).then_some(self.user.len() - 1);
        }
    }

    pub fn status_at(&self, moment: usize) -> UserStatus {
        if self.user[moment] { UserStatus::ResetRequired } else { UserStatus::Confirmed }
    }

    /// Returns the moments that a read may show: the last one and, if Cognito's replicas lag, the
    /// one before. A read is never older than the one that it is compared with.
    pub fn moments(&self, since: usize) -> impl Iterator<Item = (bool, usize)> + use<> {
        let last = self.user.len() - 1;
        let stale = last.checked_sub(1).filter(|moment| *moment >= since).map(|moment| (true, moment));
        std::iter::once((false, last)).chain(stale)
    }

    pub fn outcome(&self, subject: usize) -> Option<Outcome> {
        let request = self.requests[subject].as_ref()?;
        Some(request.status.as_ref().map(|status| status.outcome).unwrap_or_default())
    }

    /// Changes grants or holds. Each replica may have confirmed those before the change just now.
    pub fn change_rules(&mut self, change: impl FnOnce(&mut Rules)) {
        self.earlier.fill(Some(self.rules));
        change(&mut self.rules);
    }

    /// Returns true if grants and holds let this role be used at present, or did when this replica
    /// may last have confirmed them.
    pub fn may_use(&self, replica: usize, role: Option<&str>) -> bool {
        let uses = |rules: Rules| rules.allow() && Some(ROLES[rules.role]) == role;
        uses(self.rules) || self.earlier[replica].is_some_and(uses)
    }

    /// Returns true if the subject had a record before. Without an attempt, it was closed.
    pub fn has_been_closed(&self, subject: usize) -> bool {
        let attempted = self.attempts.values().any(|truth| truth.subject == subject);
        !attempted && self.versions[subject][Kind::Record as usize] > 0
    }

    /// Returns true if nothing that people did holds a request back.
    pub fn is_free(&self) -> bool {
        let suspended = self.requests.iter().flatten().any(|request| request.spec.suspend);
        self.rules.allow() && !self.server_over && !self.over.contains(&true) && !suspended
    }

    /// Returns true if every request has ended, every claim is settled, no replica works and no
    /// message is on its way.
    pub fn at_rest(&self) -> bool {
        let ended = |subject: usize| self.outcome(subject) != Some(Outcome::Pending);
        let settled = |record: &Option<Record>| record.as_ref().is_none_or(|record| record.spec.effect.is_some());
        let idle = self.replicas.iter().all(Option::is_none) && self.wire.is_empty();
        idle && (0..self.requests.len()).all(ended) && self.records.iter().all(settled)
    }
}

impl World {
    /// Checks a call for this attempt that is about to leave, by a session of this role: nothing of
    /// an earlier call may have happened or be on its way.
    pub fn check_call(&mut self, subject: usize, attempt: &str, role: Option<&str>) {
        let earlier = self.attempts.iter().filter(|(id, truth)| truth.subject == subject && id.as_str() != attempt);
        let mut sent = earlier.filter(|(id, truth)| {
            let on_its_way = |message: &Message| matches!(message, Message::Call { attempt, .. } if attempt == *id);
            truth.performed > 0 || self.wire.iter().any(on_its_way)
        });
        let truth = self.attempts.get(attempt);
        if truth.is_none_or(|truth| truth.calls > 0) {
            self.broken = Some("an attempt is called for once");
        }
        if sent.next().is_some() {
            self.broken = Some("a further call follows only a recorded NotPerformed");
        }
        let record = self.records[subject].as_ref();
        let claimed = record.and_then(|record| record.spec.attempts.last());
        let known: Vec<_> = record.iter().flat_map(|record| &record.spec.attempts).collect();
        let proven = known.iter().rev().skip(1).all(|earlier| {
            use cognito_reset_api::Evidence::{CognitoResponse, NeverSent, Unreachable};
            matches!(earlier.evidence, Some(CognitoResponse | NeverSent | Unreachable))
        });
        if record.is_some_and(|record| ledger::is_contradicted(record)) {
            self.broken = Some("no call follows a response that the user's state contradicts");
        }
        if record.is_some_and(|record| record.spec.closed.is_some()) {
            self.broken = Some("no call follows a closed record");
        }
        // The claim may have been settled by somebody else meanwhile; then it is still this
        // attempt's.
        if claimed.is_none_or(|last| last.id != attempt) || !proven {
            self.broken = Some("a call belongs to the last claim in the record");
        }
        if claimed.is_some_and(|last| last.id == attempt && last.origin.role_arn.as_deref() != role) {
            self.broken = Some("a call is made with the role that its claim names");
        }
        if let Some(truth) = Arc::make_mut(&mut self.attempts).get_mut(attempt) {
            truth.calls += 1;
        }
    }
}
