//! Keeps what decides about pending requests, as the watch shows them, and gives it to the
//! dispatcher.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{PasswordResetRequest, UserStateSource, conditions::WaitReason};
use cognito_reset_core::{
    action::port::Cognito,
    dispatch::{
        key::Key,
        plan::{Content, Moment, plan},
        turns::{Finish, Place, Request, Turn},
    },
    grants::{NamespacedName, Outlook, Watched},
    ledger::Identity,
    machine::{Next, ReconcileError},
};
use jiff::Timestamp;
use kube::{ResourceExt, runtime::watcher::Event};
use uuid::Uuid;

use crate::{controllers::request::context::Context, kube::trimmed::TrimmedRequest};

/// The pause before a request that was gone or finished is read again if the watch still shows it
/// as pending, because a proxy may have invented a 404. Also the pause before an invalid request is
/// reported if too many are waiting for that.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// The expected wait for a turn from which on a request is looked at first, in case its record
/// knows its end.
const LOOK_FIRST: Duration = Duration::from_secs(2);
/// The pause of a request that was evaluated by grants that were not confirmed, if they are by the
/// end of its turn, once in a row.
const CONFIRMED_MEANWHILE: Duration = Duration::from_secs(1);
/// The longest time to the next look that a reconcile gives: what the request waits for is seen by
/// the watches.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The time after which a request is looked at in any case.
const LOOK_ANYWAY: Duration = Duration::from_secs(24 * 3600);

/// The pending requests.
pub(super) struct Pending<C: Cognito> {
    context: Arc<Context<C>>,
    /// The account of the operator's own credentials, once it is known.
    own_account: Option<Arc<str>>,
    known: HashMap<Key, Known>,
    keys: HashMap<NamespacedName, Key>,
    /// The requests of a list that is being read.
    listed: BTreeSet<NamespacedName>,
    listed_uids: HashSet<String>,
    /// The new requests of that list, which is in another order than that of creation.
    new: Option<Vec<Key>>,
    /// Requests that cannot be parsed, and are not reported yet.
    unreported: BTreeMap<NamespacedName, TrimmedRequest>,
    /// The time to try that again.
    report_at: Option<Instant>,
}

/// A request.
struct Known {
    watched: Watched,
    outlook: Outlook,
    /// True once the dispatcher knows it, which for the requests of a list is when the list is
    /// complete.
    is_placed: bool,
    /// The account and the source that a reconcile has found, and the fingerprint of the outlook
    /// that says otherwise.
    found: Option<(u64, Option<Arc<str>>, UserStateSource)>,
    deadline: Option<Instant>,
    content: Content,
    /// True if the request probably has no record.
    assume_unclaimed: bool,
    /// The number of turns in a row that ended with an error.
    failures: usize,
    /// True if the last pause was cut short because grants were confirmed meanwhile.
    is_hurried: bool,
}

impl Known {
    /// Returns the outlook, corrected by what a reconcile has found beside the same grants and
    /// holds.
    fn effective(&self, outlook: &Outlook) -> Outlook {
        match &self.found {
            Some((fingerprint, account, source)) if *fingerprint == outlook.fingerprint => {
                Outlook { blocked: None, account: account.clone(), source: *source, ..outlook.clone() }
            }
            _ => outlook.clone(),
        }
    }
}

/// The parts of a request that a turn needs.
pub(super) struct Work {
    pub(super) identity: Identity,
    pub(super) assume_unclaimed: bool,
    pub(super) own_account: Option<Arc<str>>,
}

impl<C: Cognito> Pending<C> {
    pub(super) fn new(context: Arc<Context<C>>) -> Self {
        Self {
            context,
            own_account: None,
            known: HashMap::new(),
            keys: HashMap::new(),
            listed: BTreeSet::new(),
            listed_uids: HashSet::new(),
            new: None,
            unreported: BTreeMap::new(),
            report_at: None,
        }
    }

    /// Takes in an event of the watch. Returns true if a list is complete.
    pub(super) fn follow(&mut self, event: Event<TrimmedRequest>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                self.listed_uids.clear();
                // A list may begin again before it is complete.
                self.new.get_or_insert_default();
            }
            Event::InitApply(object) => {
                self.listed.insert(name(&object));
                self.listed_uids.extend(object.0.uid());
                self.put(object);
            }
            Event::InitDone => {
                self.retain_listed();
                return true;
            }
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => {
                if let Some(uid) = object.0.uid() {
                    self.context.release_closing(&uid);
                }
                self.remove(&name(&object));
            }
        }
        false
    }

    /// Takes in a request. One that is being deleted waits for nothing; of one that cannot be read,
    /// nobody knows for whom it is.
    fn put(&mut self, object: TrimmedRequest) {
        let name = name(&object);
        match &object.0.0 {
            Ok(request) if request.metadata.deletion_timestamp.is_none() => {
                self.unreported.remove(&name);
                self.context.metrics.pending().put(request);
                let moved_up = self.context.grants.change_pending(|index| index.put_pending(request));
                self.put_known(name, request);
                self.moved_up(moved_up);
            }
            Ok(_) => self.remove(&name),
            Err(_) => {
                self.remove(&name);
                self.report(name, object);
            }
        }
    }

    fn put_known(&mut self, name: NamespacedName, request: &PasswordResetRequest) {
        let key = Key::of_uid(request.metadata.uid.as_deref().unwrap_or_default());
        if let Some(earlier) = self.keys.insert(name, key).filter(|earlier| *earlier != key) {
            self.forget(earlier);
        }
        let (watched, content) = (Watched::of(request), Content::of(request));
        let outlook = self.context.grants.read(|index| index.outlook(&watched));
        match self.known.get_mut(&key) {
            Some(known) => {
                let is_changed = content.leads_to_a_look_after(&known.content);
                known.content = content;
                self.place(key, watched, outlook, is_changed);
            }
            None => {
                let known = Known {
                    watched,
                    outlook,
                    is_placed: false,
                    found: None,
                    deadline: None,
                    // The status of one that has waited before shows that it was read.
                    assume_unclaimed: !content.has_status(),
                    content,
                    failures: 0,
                    is_hurried: false,
                };
                self.known.insert(key, known);
                match &mut self.new {
                    Some(new) => new.push(key),
                    None => self.place_new(key),
                }
            }
        }
    }

    /// Gives the dispatcher a request that it does not know.
    fn place_new(&mut self, key: Key) {
        let Some((watched, outlook)) = self.known.get(&key).map(|it| (it.watched.clone(), it.outlook.clone())) else {
            return;
        };
        let (request, place) = self.plan(key, &watched, &outlook);
        if let Some(known) = self.known.get_mut(&key) {
            (known.is_placed, known.deadline) = (true, request.deadline);
        }
        self.context.turns.with(|dispatcher, now| {
            let wait = dispatcher.expected_wait(&place.lane, &place.pool, now);
            let looks = outlook.blocked.is_some() || wait.is_none_or(|wait| wait > LOOK_FIRST);
            dispatcher.put(request, place, outlook.blocked, looks, now);
        });
    }

    /// Gives the dispatcher the new place of a known request, and has the request looked at if
    /// something has changed that its status may show.
    fn place(&mut self, key: Key, watched: Watched, outlook: Outlook, is_changed: bool) {
        let Some(known) = self.known.get_mut(&key) else { return };
        if !known.is_placed {
            (known.watched, known.outlook) = (watched, outlook);
            return;
        }
        let is_changed = is_changed || known.outlook != outlook || known.watched != watched;
        let same_deadline = known.watched.not_after == watched.not_after
            && known.watched.deadline_seconds == watched.deadline_seconds
            && known.outlook.approval_required == outlook.approval_required;
        let kept = same_deadline.then_some(known.deadline);
        let effective = known.effective(&outlook);
        let (mut request, place) = self.plan(key, &watched, &effective);
        request.deadline = kept.unwrap_or(request.deadline);
        if let Some(known) = self.known.get_mut(&key) {
            (known.deadline, known.watched) = (request.deadline, watched);
            known.outlook = outlook;
        }
        self.context.turns.with(|dispatcher, now| {
            dispatcher.put(request, place, effective.blocked, false, now);
            if is_changed {
                dispatcher.reconsider([key], now);
            }
        });
    }

    /// Takes in the account by which a reconcile would make the call, and the source by which it
    /// would read the user. Grants and holds were asked about the request and the user as they were
    /// read, so the outlook is corrected if it says otherwise.
    fn found(&mut self, key: Key, account: Option<&str>, source: UserStateSource) {
        let Some((watched, outlook)) = self.present(key) else { return };
        if let Some(known) = self.known.get_mut(&key) {
            let is_same = (outlook.account.as_deref(), outlook.source) == (account, source);
            let agrees = outlook.blocked.is_none() && is_same;
            known.found = (!agrees).then(|| (outlook.fingerprint, account.map(Into::into), source));
        }
        self.place(key, watched, outlook, false);
    }

    /// Returns a known request with its present outlook.
    fn present(&self, key: Key) -> Option<(Watched, Outlook)> {
        let watched = self.known.get(&key)?.watched.clone();
        let outlook = self.context.grants.read(|index| index.outlook(&watched));
        Some((watched, outlook))
    }

    fn plan(&self, key: Key, watched: &Watched, outlook: &Outlook) -> (Request, Place) {
        let now = Moment { wall: Timestamp::now(), monotonic: Instant::now() };
        plan(key, watched, outlook, self.own_account.as_deref(), now)
    }

    /// Compares the outlook of all requests, because grants, holds or namespaces have changed or
    /// are confirmed again.
    pub(super) fn grants_changed(&mut self) {
        let changed: Vec<_> = self.context.grants.read(|index| {
            let outlooks = self.known.iter().map(|(key, known)| (*key, known, index.outlook(&known.watched)));
            let changed = outlooks.filter(|(_, known, outlook)| known.outlook != *outlook);
            changed.map(|(key, known, outlook)| (key, known.watched.clone(), outlook)).collect()
        });
        for (key, watched, outlook) in changed {
            self.place(key, watched, outlook, true);
        }
        if self.context.grants.is_confirmed() {
            self.context.turns.with(|dispatcher, now| dispatcher.end_waits(WaitReason::GrantsNotConfirmed, now));
        }
    }

    /// Compares the outlook of requests whose place in a limited queue has changed.
    pub(super) fn moved_up(&mut self, names: impl IntoIterator<Item = NamespacedName>) {
        for name in names {
            let Some(key) = self.keys.get(&name).copied() else { continue };
            let Some((watched, outlook)) = self.present(key) else { continue };
            self.place(key, watched, outlook, true);
        }
    }

    fn remove(&mut self, name: &NamespacedName) {
        self.unreported.remove(name);
        if let Some(key) = self.keys.remove(name) {
            self.forget(key);
        }
        self.context.metrics.pending().remove(name);
        let moved_up = self.context.grants.change_pending(|index| index.remove_pending(name));
        self.moved_up(moved_up);
    }

    fn forget(&mut self, key: Key) {
        self.known.remove(&key);
        self.context.turns.with(|dispatcher, now| dispatcher.remove(key, now));
    }

    fn retain_listed(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        self.context.retain_closings(&std::mem::take(&mut self.listed_uids));
        self.keys.retain(|name, _| listed.contains(name));
        self.unreported.retain(|name, _| listed.contains(name));
        let keys: HashSet<_> = self.keys.values().copied().collect();
        self.known.retain(|key, _| keys.contains(key));
        let mut new = self.new.take().unwrap_or_default();
        new.sort_by_key(|key| self.known.get(key).map(|known| known.watched.created));
        new.into_iter().for_each(|key| self.place_new(key));
        self.context.turns.with(|dispatcher, now| dispatcher.retain(&keys, now));
        self.context.metrics.pending().retain(&listed);
        let moved_up = self.context.grants.change_pending(|index| index.retain_pending(&listed));
        self.moved_up(moved_up);
    }

    /// Returns what a turn needs. `None` if the request is gone.
    pub(super) fn work(&self, turn: &Turn) -> Option<Work> {
        let Known { watched, assume_unclaimed, .. } = self.known.get(&turn.key)?;
        let own_account = self.own_account.clone();
        Some(Work { identity: watched.identity(), assume_unclaimed: *assume_unclaimed, own_account })
    }

    /// Ends a turn.
    pub(super) fn finished(&mut self, turn: Turn, end: Result<Next, ReconcileError>) {
        if let Ok(Next::NeedsTurn { account, source, .. }) = &end {
            self.found(turn.key, account.as_deref(), *source);
        }
        let finish = self.finish(turn.key, end);
        self.context.turns.with(|dispatcher, now| dispatcher.finished(turn, finish, now));
        if self.own_account.is_none()
            && let Some(account) = self.context.cognito().own_account()
        {
            self.own_account = Some(account.into());
            self.place_all();
        }
    }

    /// Gives the dispatcher the places of all requests, because roles of the operator's own account
    /// share the quota of its own credentials.
    fn place_all(&mut self) {
        let known: Vec<_> =
            self.known.iter().map(|(key, known)| (*key, known.watched.clone(), known.outlook.clone())).collect();
        for (key, watched, outlook) in known {
            self.place(key, watched, outlook, false);
        }
    }

    fn finish(&mut self, key: Key, end: Result<Next, ReconcileError>) -> Finish {
        let Some(known) = self.known.get_mut(&key) else { return Finish::Done };
        let now = Instant::now();
        match end {
            Ok(Next::NeedsTurn { is_unclaimed, .. }) => {
                known.assume_unclaimed = is_unclaimed;
                Finish::Again
            }
            Ok(Next::Done) => {
                (known.failures, known.assume_unclaimed) = (0, false);
                Finish::Look { until: now + LOOK_AGAIN }
            }
            Ok(Next::Wait { reason, after }) => {
                (known.failures, known.assume_unclaimed) = (0, false);
                let is_over = reason == WaitReason::GrantsNotConfirmed && self.context.grants.is_confirmed();
                known.is_hurried = is_over && !known.is_hurried;
                let after = match after {
                    _ if known.is_hurried => CONFIRMED_MEANWHILE,
                    after if after >= LONGEST_WAIT => LOOK_ANYWAY,
                    after => after,
                };
                Finish::Wait { reason, until: now.checked_add(after) }
            }
            Err(_) => {
                self.context.metrics.error();
                known.assume_unclaimed = false;
                known.failures += 1;
                let pause = self.context.backoff().after(known.failures - 1, &Uuid::new_v4().to_string());
                Finish::Look { until: now + pause.unsigned_abs() }
            }
        }
    }

    /// Reports a request that cannot be parsed, now or later.
    fn report(&mut self, name: NamespacedName, object: TrimmedRequest) {
        if let Err(invalid) = &object.0.0
            && !self.context.invalid_objects.request(&object.0, &invalid.error)
        {
            self.unreported.insert(name, object);
            self.report_at.get_or_insert_with(|| Instant::now() + LOOK_AGAIN);
        }
    }

    /// Returns the time of [`Self::report_again`].
    pub(super) const fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Reports the requests that could not be reported before, if it is time.
    pub(super) fn report_again(&mut self) {
        if self.report_at.is_some_and(|time| time <= Instant::now()) {
            self.report_at = None;
            for (name, object) in std::mem::take(&mut self.unreported) {
                self.report(name, object);
            }
        }
    }
}

fn name(object: &TrimmedRequest) -> NamespacedName {
    (object.namespace().unwrap_or_default(), object.name_any())
}
