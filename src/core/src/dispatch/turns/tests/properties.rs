use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::{
    super::*,
    limits, place,
    reference::{Reference, Stage},
    request, response,
};
use crate::{
    action::{
        port::ReadError,
        response::{Code, ResetResponse},
    },
    dispatch::{key::UserKey, lane::QuotaCategory, meaning::Meaning},
};
use cognito_reset_api::FailureCause;

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Put { uid: u32, namespace: u32, pool: u32, place: u32, blocked: bool, look: bool, deadline: Option<u64> },
    Remove(u32),
    Reconsider(u32),
    Retain(Vec<u32>),
    Next,
    Begin(usize),
    Read(usize, usize),
    Respond(usize, usize, Option<u64>),
    Finish(usize, usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..24u32, 0..3u32, 0..3u32, 0..48u32, 0..8u32, proptest::option::weighted(0.2, 0..5000u64)).prop_map(
        |(uid, namespace, pool, place, flags, deadline)| Step::Put {
            uid,
            namespace,
            pool,
            place,
            blocked: flags == 1,
            look: flags == 2,
            deadline,
        },
    );
    let step = prop_oneof![
        4 => prop_oneof![0..30u64, 0..300u64, 0..100_000u64].prop_map(Step::Advance),
        8 => put,
        1 => (0..24u32).prop_map(Step::Remove),
        1 => (0..24u32).prop_map(Step::Reconsider),
        1 => proptest::collection::vec(0..24u32, 12..24).prop_map(Step::Retain),
        8 => Just(Step::Next),
        4 => any::<usize>().prop_map(Step::Begin),
        1 => (any::<usize>(), 0..5usize).prop_map(|(turn, result)| Step::Read(turn, result)),
        3 => (any::<usize>(), 0..12usize, proptest::option::of(0..5000u64)).prop_map(|(a, b, c)| Step::Respond(a, b, c)),
        4 => (any::<usize>(), 0..5usize, 0..2000u64).prop_map(|(a, b, c)| Step::Finish(a, b, c)),
    ];
    proptest::collection::vec(step, 0..250)
}

/// The responses, most of which are good.
fn responses(number: usize) -> ResetResponse {
    let exception = |code| ResetResponse::Exception(Code::parse(code).unwrap());
    match number {
        0 => ResetResponse::NoResponse,
        1 => exception("ServiceUnavailable"),
        2 => exception("LimitExceededException"),
        3 => exception("TooManyRequestsException"),
        4 => exception("UserNotFoundException"),
        5 => exception("AccessDeniedException"),
        _ => ResetResponse::Accepted,
    }
}

/// A dispatcher beside its reference.
struct Both {
    real: Dispatcher,
    reference: Reference,
    now: Instant,
    /// The turns, and the time at which the call of each began.
    turns: Vec<(Turn, Option<Instant>)>,
}

impl Both {
    fn new() -> Self {
        let now = Instant::now();
        let real = Dispatcher::new(limits(), now);
        Self { real, reference: Reference::new(limits()), now, turns: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Advance(millis) => self.advance(Duration::from_millis(millis)),
            Step::Put { uid, namespace, pool, place: number, blocked, look, deadline } => {
                let request = Request {
                    deadline: deadline.map(|millis| now + Duration::from_millis(millis)),
                    // Some share a user.
                    user: (uid % 4 != 0).then(|| UserKey::of("pool", &(uid / 5).to_string())),
                    ..request(uid, namespace, i64::from(uid % 3))
                };
                let blocked = blocked.then_some(WaitReason::Suspended);
                let place = place(number, pool);
                self.reference.put(&request, &place, blocked, look, now);
                self.real.put(request, place, blocked, look, now);
            }
            Step::Remove(uid) => {
                let key = request(uid, 0, 0).key;
                self.reference.remove(key);
                self.real.remove(key, now);
            }
            Step::Reconsider(uid) => {
                let key = request(uid, 0, 0).key;
                self.reference.reconsider(key, now);
                self.real.reconsider([key], now);
            }
            Step::Retain(uids) => {
                let keys: HashSet<_> = uids.into_iter().map(|uid| request(uid, 0, 0).key).collect();
                let gone: Vec<_> = self.reference.requests.keys().filter(|key| !keys.contains(key)).copied().collect();
                gone.into_iter().for_each(|key| self.reference.remove(key));
                self.real.retain(&keys, now);
            }
            Step::Next => self.next(),
            Step::Begin(index) => self.begin(index),
            Step::Read(index, number) => self.read(index, number),
            Step::Respond(index, number, retry_after) => self.respond(index, number, retry_after),
            Step::Finish(index, number, millis) => self.finish(index, number, Duration::from_millis(millis)),
        }
    }

    /// Lets time pass. Before the dispatcher wants to be woken, nobody can have a turn.
    fn advance(&mut self, time: Duration) {
        self.now += time;
        if self.real.wake_at().is_none_or(|wake| wake > self.now) {
            let mut later = self.reference.clone();
            later.expire(self.now);
            let missed = later.candidates(self.now, true);
            assert!(missed.is_empty(), "nobody is woken for {missed:?}");
        }
    }

    fn next(&mut self) {
        self.reference.expire(self.now);
        let (may, must) = (self.reference.candidates(self.now, false), self.reference.candidates(self.now, true));
        let Some(turn) = self.real.next(self.now) else {
            assert!(must.is_empty(), "no turn for {must:?}");
            return;
        };
        assert!(may.contains(&turn.key), "no turn is due for {turn:?}");
        let known = &self.reference.requests[&turn.key];
        let order = |known: &super::reference::Known| (known.request.created, known.request.key);
        for other in may.iter().map(|key| &self.reference.requests[key]) {
            assert!(other.flow() != known.flow() || order(known) <= order(other), "out of order");
            let is_single_in_lane = other.flow().0 == turn.lane && other.flow().1 == Class::Single;
            assert!(
                known.flow().1 == Class::Single || !is_single_in_lane || !must.contains(&other.request.key),
                "bulk"
            );
        }
        assert_eq!((&turn.lane, &turn.pool), (&known.flow().0, &known.flow().3));
        self.reference.begin(&turn, self.now);
        self.turns.push((turn, None));
    }

    fn begin(&mut self, index: usize) {
        if self.turns.is_empty() {
            return;
        }
        let index = index % self.turns.len();
        let (turn, begun) = &mut self.turns[index];
        let may_begin = self.real.may_begin(turn, self.now);
        assert_eq!(may_begin.is_ok(), self.reference.may_begin(turn, self.now), "{may_begin:?}");
        if may_begin.is_ok() && turn.lane != Lane::Api {
            begun.get_or_insert(self.now);
        }
    }

    fn read(&mut self, index: usize, number: usize) {
        let number_of_turns = self.turns.len().max(1);
        let Some((turn, _)) = self.turns.get(index % number_of_turns) else { return };
        let error = match number {
            0 => Some(ReadError::NoResponse),
            1 => Some(ReadError::Exception(Code::parse("TooManyRequestsException").unwrap())),
            2 => Some(ReadError::NotSent(FailureCause::Request)),
            _ => None,
        };
        let meaning = Meaning::of_read(error.as_ref(), QuotaCategory::UserRead);
        let response = Response { begun: self.now, meaning, retry_after: None };
        self.reference.responded(turn, &response, self.now);
        self.real.responded(turn, &response, self.now);
    }

    fn respond(&mut self, index: usize, number: usize, retry_after: Option<u64>) {
        let calls = self.turns.iter_mut().filter(|(_, begun)| begun.is_some()).collect::<Vec<_>>();
        let number_of_calls = calls.len().max(1);
        let Some((turn, begun)) = calls.into_iter().nth(index % number_of_calls) else { return };
        let Some(begun) = begun.take() else { return };
        let retry_after = retry_after.map(Duration::from_millis);
        let response = Response { retry_after, ..response(&responses(number), begun) };
        self.reference.responded(turn, &response, self.now);
        self.real.responded(turn, &response, self.now);
    }

    fn finish(&mut self, index: usize, number: usize, time: Duration) {
        if self.turns.is_empty() {
            return;
        }
        let (turn, _) = self.turns.swap_remove(index % self.turns.len());
        let finish = match number {
            0 => Finish::Again,
            3 => Finish::Look { until: self.now + time },
            1 => Finish::Wait { reason: WaitReason::CognitoUnreachable, until: None },
            2 => Finish::Wait { reason: WaitReason::CognitoUnreachable, until: Some(self.now + time) },
            _ => Finish::Done,
        };
        self.reference.finished(&turn, &finish, self.now);
        self.real.finished(&turn, finish, self.now);
    }

    fn assert_alike(&self) {
        let keys: BTreeSet<_> = self.reference.requests.keys().copied().collect();
        assert_eq!(self.real.len(), keys.len());
        for (key, known) in &self.reference.requests {
            let reason = self.real.reason_of(*key, self.now);
            match known.stage {
                Stage::Running(_) => assert_eq!(reason, None),
                Stage::Waiting(_) => {
                    assert!(matches!(reason, Some(WaitsFor::Reason(_) | WaitsFor::Look)), "{reason:?}");
                }
                Stage::Ready => {
                    assert!(!matches!(reason, None | Some(WaitsFor::Reason(_) | WaitsFor::Look)), "{reason:?}")
                }
            }
        }
    }

    /// Ends all turns well, for as long as it takes. Every request that can has its turn.
    fn drain(&mut self) {
        for _ in 0..4000 {
            self.next();
            while !self.turns.is_empty() {
                self.begin(0);
                self.respond(0, usize::MAX, None);
                self.finish(0, usize::MAX, Duration::ZERO);
            }
            let Some(wake) = self.real.wake_at() else { break };
            self.now = self.now.max(wake);
        }
        let left = self.reference.requests.values().filter(|known| known.stage != Stage::Waiting(None));
        assert_eq!(left.count(), 0, "a request was never given a turn: {:?}", self.real);
    }

    /// Removes the rest. Nothing may be left of it.
    fn clear(&mut self) {
        self.real.retain(&HashSet::new(), self.now + Duration::from_hours(24));
        let Dispatcher { entries, users, running, due, listed, .. } = &self.real;
        assert!(self.real.is_empty() && entries.first_timer().is_none() && users.is_empty() && *running == 0);
        assert_eq!((due.len(), listed.len()), (0, 0), "{due:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn dispatcher_does_what_a_plain_search_would(steps in steps()) {
        let mut both = Both::new();
        for step in steps {
            both.step(step);
            both.assert_alike();
        }
        both.drain();
        both.clear();
    }
}
