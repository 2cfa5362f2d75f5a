//! Every step of the replicas from a state, by the production functions, and what API server, network and Cognito make of
//! it; `around.rs` has the rest. Each thing that goes wrong or is done by people costs one of the faults that are left.

use cognito_reset_api::{Exception, FailureCause, Outcome, SessionTags, UserStatus, conditions::Reason};
use cognito_reset_core::{
    action::{
        port::{Reply, Role, User},
        response::{Answer, Code},
    },
    grants::Authorization,
    ledger::{self, Claimed, Finding, Settling},
    machine::{
        decide::{Step, decide},
        knowledge::Knowledge,
        state::{Budget, Credentials, Request as Asked, Snapshot},
        status,
    },
};
use jiff::SignedDuration;

use crate::world::{Frozen, Message, NOW, PROBES, Pass, Phase, ROLES, Record, Request, Truth, WAITS, World, Written};

/// What happened, for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    pub replica: Option<usize>,
    pub what: &'static str,
    /// Whether it is the operator's or the network's doing when all is well; else it costs a fault.
    pub fair: bool,
}

/// The step that ends every wait.
pub const DEADLINE: &str = "expiry and deadline pass";

/// The step that nothing but a stale view gives cause to.
pub const CAUSELESS: &str = "starts a pass without a cause";

/// No rule looks at who holds a claim: with one name for all, fewer states differ.
const HOLDER: &str = "holder";

/// The answers that Cognito may give without having performed a reset, and whether it may have.
const ANSWERS: &[(&str, Exception, bool)] = &[
    ("refused", Exception::UserNotFound, false),
    ("throttled", Exception::TooManyRequests, false),
    ("blocked", Exception::AccessDenied, false),
    ("internal error", Exception::InternalError, true),
    ("code not delivered", Exception::CodeDeliveryFailure, true),
];

pub struct Steps<'a> {
    pub from: &'a World,
    pub found: Vec<(Label, World)>,
}

/// All steps from here.
pub fn steps(from: &World) -> Vec<(Label, World)> {
    let mut steps = Steps { from, found: Vec::new() };
    for replica in 0..from.replicas.len() {
        match &from.replicas[replica] {
            None => steps.start(replica),
            Some(pass) => steps.go_on(replica, pass),
        }
    }
    steps.network();
    steps.people();
    steps.found
}

impl Steps<'_> {
    pub fn add(&mut self, replica: Option<usize>, what: &'static str, fair: bool, change: impl FnOnce(&mut World)) {
        if fair || self.from.faults > 0 {
            self.push(Label { replica, what, fair }, |world| {
                world.faults -= u8::from(!fair);
                change(world);
            });
        }
    }

    pub fn push(&mut self, label: Label, change: impl FnOnce(&mut World)) {
        let mut world = self.from.clone();
        change(&mut world);
        self.found.push((label, world));
    }

    /// A pass may begin at any time, over any request: its cause may be as stale as it likes. That an end comes must
    /// not rest on one without a cause: the watch shows what is pending, and the sweep finds open claims.
    fn start(&mut self, replica: usize) {
        for subject in 0..self.from.requests.len() {
            let known = Knowledge::none(World::identity(subject), PROBES, None);
            let pass = Pass { subject, known: Frozen::new(known), phase: Phase::Deciding, session: None, snapshot: 0 };
            // Replicas are alike: an idle one with a higher number waits for those before it.
            if self.from.replicas[..replica].iter().any(Option::is_none) {
                continue;
            }
            let pending = self.from.outcome(subject) == Some(Outcome::Pending);
            let open = self.from.records[subject].as_ref().is_some_and(|record| record.spec.effect.is_none());
            let what = if pending || open { "starts a pass" } else { CAUSELESS };
            self.add(Some(replica), what, true, |world| world.replicas[replica] = Some(pass));
        }
    }

    fn go_on(&mut self, replica: usize, pass: &Pass) {
        self.add(Some(replica), "crashes", false, |world| world.replicas[replica] = None);
        match &pass.phase {
            Phase::Deciding => self.decide(replica, pass),
            Phase::Reading { request, record } => self.read_on(replica, pass, request.clone(), record.clone()),
            Phase::Claiming(wanted) => self.claim(replica, pass, wanted),
            Phase::Calling(attempt) => self.answer(replica, pass, attempt),
            Phase::Settling { known, current, finding } => self.settle(replica, pass, known, current, finding),
        }
    }

    fn decide(&mut self, replica: usize, pass: &Pass) {
        let now = self.from.now(replica);
        let mut known = Knowledge::clone(&pass.known);
        let mut session = pass.session.clone();
        let step = loop {
            match decide(&known.situation, now) {
                Step::AskBudget => known.situation.budget = Budget::Granted,
                Step::LoadCredentials => {
                    known.situation.credentials = Credentials::Loaded;
                    let role = known.allowed.as_ref().and_then(|allowed| allowed.role.as_ref());
                    session = role.map(|role| Frozen::new(role.arn.clone()));
                }
                step => break step,
            }
        };
        let to = |known: Knowledge, phase| {
            let session = session.clone();
            Pass { known: Frozen::new(known), phase, session, ..pass.clone() }
        };
        match step {
            Step::AskBudget | Step::LoadCredentials => unreachable!("taken above"),
            Step::Gather => {
                let (request, record) =
                    (self.from.requests[pass.subject].clone(), self.from.records[pass.subject].clone());
                let first = to(known.clone(), Phase::Reading { request: Some(request), record: None });
                let second = to(known, Phase::Reading { request: None, record: Some(record) });
                self.add(Some(replica), "reads the request", true, |world| world.replicas[replica] = Some(first));
                self.add(Some(replica), "reads the record", true, |world| world.replicas[replica] = Some(second));
            }
            Step::TakeSnapshot => {
                for (stale, moment) in self.from.moments(0) {
                    let mut known = known.clone();
                    known.snapshot(Ok(User { status: self.from.status_at(moment), sub: None }), NOW);
                    let next = Pass { snapshot: moment, ..to(known, Phase::Deciding) };
                    self.add(Some(replica), "takes a snapshot", !stale, |world| world.replicas[replica] = Some(next));
                }
                known.situation.before = Snapshot::Unreadable { until: NOW };
                let next = to(known, Phase::Deciding);
                self.add(Some(replica), "cannot take a snapshot", false, |world| world.replicas[replica] = Some(next));
            }
            Step::Claim => {
                let earlier = self.from.attempts.values().filter(|truth| truth.subject == pass.subject).count();
                let attempt = format!("attempt-{}-{earlier}", pass.subject);
                let wanted = known.claim(attempt.clone(), HOLDER.into(), NOW).expect("the request is known");
                let truth = Truth { subject: pass.subject, performed: 0, snapshot: pass.snapshot };
                let next = to(known, Phase::Claiming(Frozen::new(wanted)));
                self.add(Some(replica), "goes to claim", true, |world| {
                    world.attempts.insert(attempt, truth);
                    world.replicas[replica] = Some(next);
                });
            }
            Step::Send => self.send(replica, pass, known),
            Step::Probe => self.probe(replica, pass, &known),
            Step::Settle(settlement) => {
                let Some((record, finding)) = known.finding(settlement) else {
                    known.settled(PROBES);
                    let next = to(known, Phase::Deciding);
                    return self.add(Some(replica), "has nothing to settle", true, |world| {
                        world.replicas[replica] = Some(next);
                    });
                };
                let record = Frozen::new(record.clone());
                let phase = Phase::Settling { known: record.clone(), current: record, finding: Frozen::new(finding) };
                let next = to(known, phase);
                self.add(Some(replica), "goes to settle", true, |world| world.replicas[replica] = Some(next));
            }
            Step::Close(evidence) => {
                let id = format!("closing-{replica}");
                let wanted = known.close(evidence, id, HOLDER.into(), NOW).expect("the request is known");
                self.close(replica, pass, &known, &Frozen::new(wanted));
            }
            Step::Remember(_) => {
                let wanted = known.remember().expect("request and record are known");
                self.close(replica, pass, &known, &Frozen::new(wanted));
            }
            Step::Tell => self.tell(replica, pass, known),
            Step::Wait { reason, .. } => self.wait(replica, pass, &known, reason),
            Step::Leave => self.add(Some(replica), "ends its pass", true, |world| world.replicas[replica] = None),
        }
    }

    fn read_on(
        &mut self,
        replica: usize,
        pass: &Pass,
        request: Option<Option<Request>>,
        record: Option<Option<Record>>,
    ) {
        let request = request.unwrap_or_else(|| self.from.requests[pass.subject].clone());
        let record = record.unwrap_or_else(|| self.from.records[pass.subject].clone());
        let mut known = Knowledge::clone(&pass.known);
        known.situation.read_at = self.from.now(replica);
        let granted = self.from.granted;
        let role = Role { arn: ROLES[self.from.role].into(), external_id: None, session_tags: SessionTags::Full };
        known.read_request(request.map(|request| request.to_owned_object()), |_| {
            if granted { Ok(Authorization { role: Some(role), grants: vec![] }) } else { Err(Reason::NoMatchingGrant) }
        });
        known.read_record(
            record.map(|record| record.to_owned_object()),
            &WAITS,
            |_| SignedDuration::ZERO,
            self.from.now(replica),
        );
        let next = Pass { known: Frozen::new(known), phase: Phase::Deciding, ..pass.clone() };
        self.add(Some(replica), "reads the other of the two", true, |world| world.replicas[replica] = Some(next));
    }

    fn claim(&mut self, replica: usize, pass: &Pass, wanted: &Record) {
        let claimed = |claimed: Claimed, in_time: bool| {
            let mut known = Knowledge::clone(&pass.known);
            known.claimed(wanted.to_owned_object(), claimed, in_time);
            Some(Pass { known: Frozen::new(known), phase: Phase::Deciding, ..pass.clone() })
        };
        let subject = pass.subject;
        for (what, in_time) in [("writes the claim", true), ("writes the claim too late", false)] {
            self.add(Some(replica), what, in_time, |world| {
                let result = match world.write_record(subject, wanted) {
                    Written::Stored => {
                        Claimed::Ours(Box::new(world.records[subject].as_ref().unwrap().to_owned_object()))
                    }
                    Written::Conflict | Written::Gone => {
                        let standing = world.records[subject].as_ref().map(Frozen::to_owned_object);
                        ledger::after_conflict(wanted, standing)
                    }
                };
                world.replicas[replica] = claimed(result, in_time);
            });
        }
        self.add(Some(replica), "writes the claim, and the reply is lost", false, |world| {
            world.write_record(subject, wanted);
        });
        self.add(Some(replica), "gives up on a claim that is still on its way", false, |world| {
            world.wire.push(Message::Record { subject, wanted: wanted.clone() });
            world.replicas[replica] = claimed(Claimed::TooLate, false);
        });
    }

    fn send(&mut self, replica: usize, pass: &Pass, known: Knowledge) {
        for (what, in_time) in [("sends the call", true), ("finds that it is too late to send", false)] {
            let mut known = known.clone();
            let consumed = known.consume(in_time);
            let phase = consumed.clone().map_or(Phase::Deciding, Phase::Calling);
            let next = Pass { known: Frozen::new(known), phase, ..pass.clone() };
            let subject = pass.subject;
            self.add(Some(replica), what, in_time, |world| {
                if let Some(attempt) = consumed {
                    world.check_call(subject, &attempt, pass.session.as_ref().map(|role| role.as_str()));
                    world.wire.push(Message::Call { attempt, performed: false });
                }
                world.replicas[replica] = Some(next);
            });
        }
    }

    fn answer(&mut self, replica: usize, pass: &Pass, attempt: &str) {
        let answered = |answer: Answer| {
            let mut known = Knowledge::clone(&pass.known);
            known.answered(Reply { answer, request_id: None });
            Some(Pass { known: Frozen::new(known), phase: Phase::Deciding, ..pass.clone() })
        };
        let place = self.from.call(attempt).expect("a call that is waited for is on the wire");
        let performed = matches!(self.from.wire[place], Message::Call { performed: true, .. });
        let mut end = |what, fair, answer: Answer| {
            let next = answered(answer);
            self.add(Some(replica), what, fair, |world| {
                world.wire.remove(place);
                world.replicas[replica] = next;
            });
        };
        if performed {
            end("is told: accepted", true, Answer::Accepted);
            for (what, exception, _) in ANSWERS.iter().filter(|(.., may_have_performed)| *may_have_performed) {
                end(what, false, Answer::Exception(Code::Known(*exception)));
            }
            end("loses the reply", false, Answer::Lost);
        } else {
            for (what, exception, _) in ANSWERS {
                end(what, false, Answer::Exception(Code::Known(*exception)));
            }
            end("finds no connection", false, Answer::NotSent(FailureCause::Refused));
            end("loses its call", false, Answer::Lost);
            self.add(Some(replica), "Cognito performs", true, |world| world.perform(place));
        }
        let next = answered(Answer::Lost);
        self.add(Some(replica), "gives up on a call that is still on its way", false, |world| {
            world.replicas[replica] = next;
        });
    }

    fn probe(&mut self, replica: usize, pass: &Pass, known: &Knowledge) {
        let last = known.record.as_ref().and_then(ledger::last).map(|last| last.id.clone());
        let since = last.and_then(|attempt| self.from.attempts.get(&attempt)).map_or(0, |truth| truth.snapshot);
        let seen: Vec<(bool, Option<UserStatus>)> = self
            .from
            .moments(since)
            .map(|(stale, moment)| (!stale, Some(self.from.status_at(moment))))
            .chain([(false, None)])
            .collect();
        for (fair, status) in seen {
            let mut known = known.clone();
            known.probed(status);
            let next = Pass { known: Frozen::new(known), phase: Phase::Deciding, ..pass.clone() };
            self.add(Some(replica), "probes", fair, |world| world.replicas[replica] = Some(next));
        }
    }

    fn close(&mut self, replica: usize, pass: &Pass, known: &Knowledge, wanted: &Record) {
        let subject = pass.subject;
        self.add(Some(replica), "closes the record", true, |world| {
            let mut known = known.clone();
            match world.write_record(subject, wanted) {
                Written::Stored => {
                    let stored = world.records[subject].as_ref().map(Frozen::to_owned_object);
                    known.read_record(stored, &WAITS, |_| SignedDuration::ZERO, world.now(replica));
                }
                Written::Conflict | Written::Gone => known.outdated(),
            }
            world.replicas[replica] = Some(Pass { known: Frozen::new(known), ..pass.clone() });
        });
        self.add(Some(replica), "closes the record, and the reply is lost", false, |world| {
            world.write_record(subject, wanted);
            world.replicas[replica] = None;
        });
        self.add(Some(replica), "gives up on a closing that is still on its way", false, |world| {
            world.wire.push(Message::Record { subject, wanted: wanted.clone() });
            world.replicas[replica] = None;
        });
    }

    fn settle(&mut self, replica: usize, pass: &Pass, known: &Record, current: &Record, finding: &Frozen<Finding>) {
        let subject = pass.subject;
        let ended = |record: &Record| {
            let mut after = Knowledge::clone(&pass.known);
            after.settled(PROBES);
            after.read_record(Some(record.to_owned_object()), &WAITS, |_| SignedDuration::ZERO, NOW);
            Some(Pass { known: Frozen::new(after), phase: Phase::Deciding, ..pass.clone() })
        };
        let again = |world: &World| {
            let standing = world.records[subject].as_ref().map(Frozen::to_owned_object);
            let current = Frozen::new(ledger::to_settle(known, standing));
            Some(Pass {
                phase: Phase::Settling { known: known.clone(), current, finding: finding.clone() },
                ..pass.clone()
            })
        };
        let Settling::Write(wanted) = ledger::settled(current, finding, NOW) else {
            let next = ended(current);
            return self.add(Some(replica), "finds as much recorded", true, |world| world.replicas[replica] = next);
        };
        let wanted = Frozen::new(*wanted);
        self.add(Some(replica), "writes the effect", true, |world| {
            world.replicas[replica] = match world.write_record(subject, &wanted) {
                Written::Stored => ended(world.records[subject].as_ref().unwrap()),
                Written::Conflict | Written::Gone => again(world),
            };
        });
        self.add(Some(replica), "writes the effect, and the reply is lost", false, |world| {
            world.write_record(subject, &wanted);
            world.replicas[replica] = again(world);
        });
        self.add(Some(replica), "fails to write the effect", false, |world| world.replicas[replica] = again(world));
        self.add(Some(replica), "gives up on an effect that is still on its way", false, |world| {
            world.wire.push(Message::Record { subject, wanted: wanted.clone() });
            world.replicas[replica] = again(world);
        });
    }

    fn wait(&mut self, replica: usize, pass: &Pass, known: &Knowledge, reason: Reason) {
        let pending = matches!(known.situation.request, Asked::Pending(_));
        let wanted = known.told(&status::waiting(reason), NOW).filter(|_| pending).map(Frozen::new);
        let Some(wanted) = wanted else {
            return self.add(Some(replica), "waits", true, |world| world.replicas[replica] = None);
        };
        let subject = pass.subject;
        self.add(Some(replica), "shows why it waits", true, |world| {
            world.write_status(subject, &wanted);
            world.replicas[replica] = None;
        });
        self.add(Some(replica), "gives up on showing why it waits, which is still on its way", false, |world| {
            world.wire.push(Message::Status { subject, wanted: wanted.clone() });
            world.replicas[replica] = None;
        });
    }

    fn tell(&mut self, replica: usize, pass: &Pass, mut known: Knowledge) {
        let telling = known.ended();
        let subject = pass.subject;
        let Some(wanted) = known.told(&telling, NOW).map(Frozen::new) else {
            return self.add(Some(replica), "has told", true, |world| world.replicas[replica] = None);
        };
        known.outdated();
        let outdated = Pass { known: Frozen::new(known), phase: Phase::Deciding, ..pass.clone() };
        self.add(Some(replica), "tells the end", true, |world| {
            world.replicas[replica] = match world.write_status(subject, &wanted) {
                Written::Stored | Written::Gone => None,
                Written::Conflict => Some(outdated),
            };
        });
        self.add(Some(replica), "tells the end, and the reply is lost", false, |world| {
            world.write_status(subject, &wanted);
            world.replicas[replica] = None;
        });
        self.add(Some(replica), "gives up on a status that is still on its way", false, |world| {
            world.wire.push(Message::Status { subject, wanted: wanted.clone() });
            world.replicas[replica] = None;
        });
    }
}
