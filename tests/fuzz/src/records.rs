//! A record of any kind, as an administrator, another version or a fault may leave it. The operator
//! reads it, decides on it and writes a status.

use arbitrary::Arbitrary;
use cognito_reset_api::{
    Action, Attempt, CloseCause, Closed, Effect, Evidence, Exception, Origin, PasswordResetRecord,
    PasswordResetRequest, PasswordResetRequestSpec, RecordFields, RequestRef, RequestedBy, UserStatus,
    record::{MAX_ATTEMPTS, SCHEMA},
};
use cognito_reset_core::{
    action::response::Class,
    ledger::{self, Backoff, Finding, Identity, Ledger, Settlement, Settling, Waits},
    machine::status,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{codes::Code, statuses};

/// The parts of a record.
#[derive(Clone, Debug, Arbitrary)]
pub struct Record {
    schema: Option<i64>,
    /// The identity of the record, if it is not that of the request.
    other: Option<(u8, String)>,
    effect: Option<u8>,
    attempts: Vec<Entry>,
    closed: Option<Closing>,
    omitted: Option<i64>,
    now: i64,
    /// The finding that settles its last attempt.
    finding: (u8, u8, bool),
}

#[derive(Clone, Debug, Arbitrary)]
struct Closing {
    cause: u8,
    ours: bool,
    closed_at: i64,
    ungranted: bool,
    code: Option<Code>,
}

#[derive(Clone, Debug, Arbitrary)]
struct Entry {
    id: String,
    ours: bool,
    claimed_at: i64,
    settled_at: Option<i64>,
    before: Option<u8>,
    after: Option<u8>,
    evidence: Option<u8>,
    code: Option<Code>,
    request_id: Option<String>,
}

const EFFECTS: [Effect; 3] = [Effect::NotPerformed, Effect::Unknown, Effect::Performed];
const STATES: [UserStatus; 3] = [UserStatus::Confirmed, UserStatus::ResetRequired, UserStatus::Unknown];
const EVIDENCE: [Evidence; 5] = [
    Evidence::CognitoResponse,
    Evidence::UserStatusCheck,
    Evidence::NeverSent,
    Evidence::Unreachable,
    Evidence::Inconclusive,
];
const CAUSES: [CloseCause; 5] = [
    CloseCause::Expired,
    CloseCause::DeadlineExceeded,
    CloseCause::AlreadyResetRequired,
    CloseCause::UserReadRefused,
    CloseCause::UserChanged,
];
const WAITS: Waits = Waits {
    backoff: Backoff { initial: SignedDuration::from_secs(10), max: SignedDuration::from_secs(600) },
    in_flight: SignedDuration::ZERO,
};
const UID: &str = "uid-of-the-request";

fn of<T: Copy, const N: usize>(list: [T; N], number: u8) -> T {
    list[usize::from(number) % N]
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())).unwrap()
}

fn identity() -> Identity {
    Identity {
        action: Action::PasswordReset,
        request: RequestRef { namespace: "team-a".into(), name: "reset-alice".into() },
        user_pool_id: "eu-west-1_Example01".into(),
        username: "alice".into(),
    }
}

fn origin(ours: bool) -> Origin {
    Origin::new("operator-1", if ours { UID } else { "another" })
}

impl Closing {
    fn closed(&self) -> Closed {
        Closed {
            cause: of(CAUSES, self.cause),
            exception_code: self.code.as_ref().map(Code::text),
            user_status: None,
            closed_at: Time(at(self.closed_at)),
            ungranted: self.ungranted,
            origin: origin(self.ours),
        }
    }
}

impl Entry {
    fn attempt(&self) -> Attempt {
        let claimed_at = Time(at(self.claimed_at));
        Attempt {
            user_status_before: self.before.map(|state| of(STATES, state)),
            settled_at: self.settled_at.map(|second| Time(at(second))),
            evidence: self.evidence.map(|evidence| of(EVIDENCE, evidence)),
            exception_code: self.code.as_ref().map(Code::text),
            aws_request_id: self.request_id.clone(),
            user_status_after: self.after.map(|state| of(STATES, state)),
            ..Attempt::new(self.id.clone(), origin(self.ours), claimed_at)
        }
    }
}

impl Record {
    fn record(&self) -> PasswordResetRecord {
        let mut whose = identity();
        if let Some((field, text)) = &self.other {
            let Identity { action: _, request, user_pool_id, username } = &mut whose;
            let fields = [&mut request.namespace, &mut request.name, user_pool_id, username];
            let count = fields.len();
            fields.into_iter().nth(usize::from(*field) % count).unwrap().clone_from(text);
        }
        let fields = RecordFields {
            schema: self.schema.unwrap_or(SCHEMA),
            action: Action::PasswordReset,
            request: whose.request,
            user_pool_id: whose.user_pool_id,
            username: whose.username,
            user_sub: None,
            not_after: None,
            effect: self.effect.map(|effect| of(EFFECTS, effect)),
            attempts: self.attempts.iter().map(Entry::attempt).collect(),
            closed: self.closed.as_ref().map(Closing::closed),
            omitted_attempts: self.omitted.unwrap_or_default(),
        };
        PasswordResetRecord::new("r1", fields)
    }
}

/// Checks what holds for every record.
pub fn check(input: &Record) {
    let record = input.record();
    let now = at(input.now);
    check_record(&record, &identity(), now);
    let (effect, evidence, same) = input.finding;
    let finding = Finding {
        attempt_id: ledger::last(&record).filter(|_| same).map_or_else(|| "another".into(), |last| last.id.clone()),
        settlement: Settlement { effect: of(EFFECTS, effect), evidence: of(EVIDENCE, evidence) },
        cause: None,
        code: None,
        sent_at: None,
        aws_request_id: None,
        user_status_after: None,
    };
    check_settling(&record, &finding, now);
}

/// Checks a record that was read, and the calls that it allows.
pub fn check_record(record: &PasswordResetRecord, identity: &Identity, now: Timestamp) {
    let view = ledger::view(Some(record), identity, &WAITS, SignedDuration::ZERO, now);
    let foreign = record.spec.schema > SCHEMA || Identity::of_record(record) != *identity;
    let contradicts = match (&record.spec.closed, record.spec.effect) {
        (Some(_), effect) => effect != Some(Effect::NotPerformed),
        (None, _) => record.spec.attempts.is_empty(),
    };
    let usable = !foreign && !contradicts;
    let wanted = match (usable, record.spec.effect) {
        (false, _) => matches!(view, Ledger::NotUsable),
        (true, None) => matches!(view, Ledger::Open { .. }),
        (true, Some(Effect::NotPerformed)) => {
            view == Ledger::Settled(Effect::NotPerformed)
                || matches!(view, Ledger::Retryable { not_before, .. }
                    if not_before <= now.saturating_add(WAITS.backoff.max).unwrap() && proves_retry(record))
        }
        (true, Some(effect)) => view == Ledger::Settled(effect),
    };
    assert!(wanted, "{view:?} of {record:?}");
    let status = status::status(&request(), Some(record), &status::ended(Some(record), Some(UID)), now);
    statuses::check(&status.conditions);
}

/// Returns true if the last attempt's own evidence says that another one may follow, and the record
/// is not closed.
fn proves_retry(record: &PasswordResetRecord) -> bool {
    if record.spec.closed.is_some() {
        return false;
    }
    let last = record.spec.attempts.last().unwrap();
    match last.evidence {
        Some(Evidence::NeverSent | Evidence::Unreachable) => true,
        Some(Evidence::CognitoResponse) => {
            let known = last.exception_code.as_deref().and_then(Exception::from_code);
            matches!(known.map(Class::of), Some(Class::Throttled | Class::Blocked))
        }
        _ => false,
    }
}

/// Checks that knowledge only grows, and only in the attempt of the finding.
fn check_settling(record: &PasswordResetRecord, finding: &Finding, now: Timestamp) {
    let Settling::Write(settled) = ledger::settled(record, finding, now) else { return };
    let grown = match record.spec.effect {
        None => true,
        Some(Effect::Unknown) => settled.spec.effect == Some(Effect::Performed),
        Some(Effect::NotPerformed | Effect::Performed) => false,
    };
    assert!(grown && settled.spec.closed.is_none(), "{record:?} becomes {settled:?}");
    assert_eq!(ledger::last(record).map(|last| &last.id), Some(&finding.attempt_id));
    let (before, after) = (&record.spec.attempts, &settled.spec.attempts);
    assert_eq!(before.len(), after.len());
    assert_eq!(before[..before.len() - 1], after[..after.len() - 1]);
    let claimed = ledger::claimed(Some(&settled), &identity(), before[0].clone());
    assert!(claimed.spec.attempts.len() <= MAX_ATTEMPTS && claimed.spec.effect.is_none());
}

/// Checks that the settlement of a response goes into a new record, and that the status says what
/// the record says.
pub fn check_reported(settlement: Settlement, code: Option<&str>, request_id: Option<String>) {
    let now = at(1_800_000_000);
    let entry = Entry {
        id: "ours".into(),
        ours: true,
        claimed_at: now.as_second(),
        settled_at: None,
        before: None,
        after: None,
        evidence: None,
        code: None,
        request_id: None,
    };
    let open = ledger::claimed(None, &identity(), entry.attempt());
    let finding = Finding {
        attempt_id: entry.id,
        settlement,
        cause: None,
        code: code.map(str::to_owned),
        sent_at: None,
        aws_request_id: request_id,
        user_status_after: None,
    };
    let Settling::Write(record) = ledger::settled(&open, &finding, now) else { panic!("an open claim is not settled") };
    assert_eq!(ledger::last(&record).and_then(|last| last.exception_code.as_deref()), code);
    check_record(&record, &identity(), now);
    let update = status::ended(Some(&record), Some(UID));
    let succeeded = update.outcome == cognito_reset_api::Outcome::Succeeded;
    assert_eq!(succeeded, settlement.effect == Effect::Performed, "{update:?}");
}

fn request() -> PasswordResetRequest {
    let Identity { action: _, request, user_pool_id, username } = identity();
    let spec = PasswordResetRequestSpec {
        user_pool_id,
        username,
        client_metadata: None,
        reason: None,
        ticket: None,
        on_behalf_of: None,
        requested_by: RequestedBy::default(),
        if_reset_required: cognito_reset_api::IfResetRequired::Resend,
        not_after: None,
        deadline_seconds: None,
        ttl_seconds_after_finished: None,
        suspend: false,
        approved: false,
        approved_by: None,
    };
    let mut made = PasswordResetRequest::new(&request.name, spec);
    made.metadata.namespace = Some(request.namespace);
    made
}
