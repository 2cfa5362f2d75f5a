//! Keeps what decides about pending requests, as the watch shows them, and gives it to the
//! dispatcher.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::conditions::WaitReason;
use cognito_reset_core::{
    action::port::Cognito,
    dispatch::{
        key::Key,
        plan::{Content, Moment, plan},
        turns::{Finish, Place, Request, Turn},
    },
    grants::{Outlook, Watched},
    ledger::Identity,
    machine::Next,
    shared::Shared,
    watched_namespaces::Scope,
};
use jiff::Timestamp;
use kube::{ResourceExt, runtime::watcher::Event};
use uuid::Uuid;

use crate::{
    controllers::request::{
        context::Context,
        invalid::Unreported,
        known::{Found, Known},
        lists::{List, Lists},
        running::End,
    },
    kube::trimmed::TrimmedRequest,
};

/// The pause before a request that was gone or finished is read again if the watch still shows it
/// as pending, because a proxy may have invented a 404.
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
    /// An ordered map, whose memory grows evenly.
    known: BTreeMap<Key, Known>,
    names: Shared<str>,
    lists: Lists,
    unreported: Unreported,
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
            unreported: Unreported::new(context.invalid_objects.clone()),
            context,
            own_account: None,
            known: BTreeMap::new(),
            names: Shared::default(),
            lists: Lists::default(),
        }
    }

    /// Takes in an event of a watch. Returns true if a list is complete.
    pub(super) fn follow(&mut self, scope: &Scope, event: Event<TrimmedRequest>) -> bool {
        match event {
            Event::Init => self.lists.begin(scope),
            Event::InitApply(object) => {
                self.lists.add(scope, key(&object));
                self.put(scope, object);
            }
            Event::InitDone => {
                self.retain_listed(scope);
                return true;
            }
            Event::Apply(object) => self.put(scope, object),
            Event::Delete(object) => self.remove(key(&object)),
        }
        false
    }

    /// Takes in a request. One that is being deleted waits for nothing; of one that cannot be read,
    /// nobody knows for whom it is.
    fn put(&mut self, scope: &Scope, object: TrimmedRequest) {
        let key = key(&object);
        match &object.0.0 {
            Ok(request) if request.metadata.deletion_timestamp.is_none() => {
                self.unreported.forget(key);
                self.context.metrics.pending().put(key, request);
                let watched = Arc::new(Watched::of(request, &mut self.names));
                let moved_up = self.context.grants.change_pending(|index| index.put_pending(&watched));
                self.put_known(scope, watched, Content::of(request));
                self.moved_up(moved_up);
            }
            Ok(_) => self.remove(key),
            Err(_) => {
                self.remove(key);
                self.unreported.report(key, object);
            }
        }
    }

    fn put_known(&mut self, scope: &Scope, watched: Arc<Watched>, content: Content) {
        let key = watched.key;
        let outlook = self.context.grants.read(|index| index.outlook(&watched));
        match self.known.get_mut(&key) {
            Some(known) => {
                let is_changed = content.leads_to_a_look_after(&known.content);
                known.content = content;
                self.place(watched, outlook, is_changed);
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
                if !self.lists.is_waiting(scope, key) {
                    self.place_new(key);
                }
            }
        }
    }

    /// Gives the dispatcher a request that it does not know.
    fn place_new(&mut self, key: Key) {
        let Some((watched, outlook)) = self.known.get(&key).map(|it| (Arc::clone(&it.watched), it.outlook.clone()))
        else {
            return;
        };
        let (request, place) = self.plan(&watched, &outlook);
        if let Some(known) = self.known.get_mut(&key) {
            (known.is_placed, known.deadline) = (true, request.deadline);
        }
        self.context.turns.with(|dispatcher, now| {
            let wait = dispatcher.expected_wait(&place, now);
            let looks = outlook.blocked.is_some() || wait.is_none_or(|wait| wait > LOOK_FIRST);
            dispatcher.put(request, place, outlook.blocked, looks, now);
        });
    }

    /// Gives the dispatcher the new place of a known request, and has the request looked at if
    /// something has changed that its status may show.
    fn place(&mut self, watched: Arc<Watched>, outlook: Outlook, is_changed: bool) {
        let key = watched.key;
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
        let (mut request, place) = self.plan(&watched, &effective);
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

    /// Takes in the call that a reconcile would make. Grants and holds were asked about the request
    /// and the user as they were read, so the outlook is corrected if it says otherwise.
    fn found(&mut self, key: Key, found: Found) {
        let Some((watched, outlook)) = self.present(key) else { return };
        if let Some(known) = self.known.get_mut(&key) {
            known.found = (!found.agrees(&outlook)).then(|| Box::new((outlook.fingerprint, found)));
        }
        self.place(watched, outlook, false);
    }

    /// Returns a known request with its present outlook.
    fn present(&self, key: Key) -> Option<(Arc<Watched>, Outlook)> {
        let watched = Arc::clone(&self.known.get(&key)?.watched);
        let outlook = self.context.grants.read(|index| index.outlook(&watched));
        Some((watched, outlook))
    }

    fn plan(&self, watched: &Watched, outlook: &Outlook) -> (Request, Place) {
        let now = Moment { wall: Timestamp::now(), monotonic: Instant::now() };
        plan(watched, outlook, self.own_account.as_deref(), now)
    }

    /// Compares the outlook of all requests, because grants, holds or namespaces have changed or
    /// are confirmed again.
    pub(super) fn grants_changed(&mut self) {
        let changed: Vec<_> = self.context.grants.read(|index| {
            let outlooks = self.known.values().map(|known| (known, index.outlook(&known.watched)));
            let changed = outlooks.filter(|(known, outlook)| known.outlook != *outlook);
            changed.map(|(known, outlook)| (Arc::clone(&known.watched), outlook)).collect()
        });
        for (watched, outlook) in changed {
            self.place(watched, outlook, true);
        }
        if self.context.grants.is_confirmed() {
            self.context.turns.with(|dispatcher, now| dispatcher.end_waits(WaitReason::GrantsNotConfirmed, now));
        }
    }

    /// Compares the outlook of requests whose place in a limited queue has changed.
    pub(super) fn moved_up(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            let Some((watched, outlook)) = self.present(key) else { continue };
            self.place(watched, outlook, true);
        }
    }

    /// Forgets a request that has ended, is gone or being deleted, or cannot be parsed any more.
    fn remove(&mut self, key: Key) {
        self.unreported.forget(key);
        self.known.remove(&key);
        self.context.turns.with(|dispatcher, now| dispatcher.remove(key, now));
        self.context.release_closing(key);
        self.context.metrics.pending().remove(key);
        let moved_up = self.context.grants.change_pending(|index| index.remove_pending(key));
        self.moved_up(moved_up);
    }

    /// Completes a list. Requests of other namespaces are in lists of their own.
    fn retain_listed(&mut self, scope: &Scope) {
        let List { mut listed, mut new } = self.lists.end(scope);
        if let Some(namespace) = scope {
            let elsewhere = self.known.iter().filter(|(_, known)| known.watched.namespace != *namespace);
            listed.extend(elsewhere.map(|(key, _)| *key));
            listed.extend(self.unreported.outside(namespace));
        }
        self.context.retain_closings(&listed);
        self.unreported.retain(&listed);
        self.known.retain(|key, _| listed.contains(key));
        new.sort_by_key(|key| self.known.get(key).map(|known| known.watched.created));
        new.into_iter().for_each(|key| self.place_new(key));
        self.context.turns.with(|dispatcher, now| dispatcher.retain(&listed, now));
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
    pub(super) fn finished(&mut self, turn: &Turn, end: End) {
        if let Ok(Next::NeedsTurn { account, source, limits, .. }) = &end {
            let account = account.as_deref().map(Into::into);
            self.found(turn.key, Found { account, source: *source, limits: limits.clone() });
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
            self.known.values().map(|known| (Arc::clone(&known.watched), known.outlook.clone())).collect();
        for (watched, outlook) in known {
            self.place(watched, outlook, false);
        }
    }

    fn finish(&mut self, key: Key, end: End) -> Finish {
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

    /// Returns the time of [`Self::report_again`].
    pub(super) const fn report_at(&self) -> Option<Instant> {
        self.unreported.report_at()
    }

    /// Reports the requests that could not be parsed, and not be reported before, if it is time.
    pub(super) fn report_again(&mut self) {
        self.unreported.report_again();
    }
}

fn key(object: &TrimmedRequest) -> Key {
    Key::of_uid(&object.uid().unwrap_or_default())
}
