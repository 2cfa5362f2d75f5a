//! A fair queue: round robin over namespaces, within a namespace over pools, and within a pool by
//! creation.
//!
//! Two things keep requests from being taken without keeping up others. A *stopped pool* is skipped
//! in each namespace. It changes rarely, so that stopping it may cost a step for each namespace.
//! The requests of a grant that has limits of its own form a *group*, which is skipped as a whole
//! while it is closed, and is taken after all others while it yields. A group may change with each
//! of its turns. This costs one step, regardless of the number of namespaces. Each other operation
//! costs a number of steps that grows with the logarithm of the number of requests, and with the
//! number of groups in the namespace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::dispatch::{
    key::Key,
    rounds::{Position, Rounds},
};

/// A group of requests: those of a grant with limits of its own, or `None` for all others.
pub(super) type Group = Option<Arc<str>>;

/// The admission of a group. One that yields is after all that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Admission {
    /// Its requests are taken in their order.
    Open,
    /// Its requests are taken when no request of an open group can be.
    Yields,
    /// Its requests are not taken.
    Closed,
}

/// The order within a pool: by creation, so that a new leader keeps it.
pub(super) type Order = (Timestamp, Key);

/// The requests that are in one order: those of a namespace, a pool and a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) namespace: Arc<str>,
    pub(super) pool: Arc<str>,
    pub(super) group: Group,
}

/// A fair queue.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    rounds: Rounds<Arc<str>>,
    namespaces: HashMap<Arc<str>, Namespace>,
    groups: HashMap<Group, OrderedNamespaces>,
    /// The first namespace of each group that is not closed.
    heads: BTreeSet<(Admission, Position, Group)>,
    /// The groups that are not open.
    admissions: Admissions,
    stopped: HashSet<Arc<str>>,
    /// The flows of each pool.
    pools: HashMap<Arc<str>, BTreeSet<Flow>>,
    len: usize,
}

/// The namespaces of a group that have a request in a pool that is not stopped.
type OrderedNamespaces = BTreeMap<Position, Arc<str>>;

type Admissions = HashMap<Arc<str>, Admission>;

#[derive(Debug)]
struct Namespace {
    seat: Position,
    rounds: Rounds<(Arc<str>, Group)>,
    groups: BTreeMap<Group, Pools>,
}

/// The pools of a namespace in one group.
#[derive(Debug, Default)]
struct Pools {
    /// The pools that are not stopped.
    order: BTreeMap<Position, Arc<str>>,
    waiting: HashMap<Arc<str>, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    seat: Position,
    requests: BTreeSet<Order>,
}

impl FairQueue {
    /// Adds a request.
    pub(super) fn insert(&mut self, flow: &Flow, order: Order) {
        let Flow { namespace: name, pool, group } = flow;
        let rounds = &mut self.rounds;
        let namespace = self.namespaces.entry(Arc::clone(name)).or_insert_with(|| Namespace {
            seat: rounds.join(name),
            rounds: Rounds::default(),
            groups: BTreeMap::new(),
        });
        let pools = namespace.groups.entry(group.clone()).or_default();
        if let Some(waiting) = pools.waiting.get_mut(pool) {
            self.len += usize::from(waiting.requests.insert(order));
            return;
        }
        self.len += 1;
        let seat = namespace.rounds.join(&(Arc::clone(pool), group.clone()));
        pools.waiting.insert(Arc::clone(pool), Waiting { seat, requests: [order].into() });
        self.pools.entry(Arc::clone(pool)).or_default().insert(flow.clone());
        if !self.stopped.contains(pool) {
            self.change(flow, |pools| {
                pools.order.insert(seat, Arc::clone(pool));
            });
        }
    }

    /// Removes a request.
    pub(super) fn remove(&mut self, flow: &Flow, order: Order) {
        let Flow { namespace: name, pool, group } = flow;
        let Some(namespace) = self.namespaces.get_mut(name) else { return };
        let Some(pools) = namespace.groups.get_mut(group) else { return };
        let Some(waiting) = pools.waiting.get_mut(pool) else { return };
        self.len -= usize::from(waiting.requests.remove(&order));
        if !waiting.requests.is_empty() {
            return;
        }
        let seat = waiting.seat;
        pools.waiting.remove(pool);
        namespace.rounds.leave((Arc::clone(pool), group.clone()), seat);
        if let Some(flows) = self.pools.get_mut(pool) {
            flows.remove(flow);
            if flows.is_empty() {
                self.pools.remove(pool);
            }
        }
        self.change(flow, |pools| {
            pools.order.remove(&seat);
        });
        self.drop_empty(flow);
    }

    fn drop_empty(&mut self, flow: &Flow) {
        let Some(namespace) = self.namespaces.get_mut(&flow.namespace) else { return };
        if namespace.groups.get(&flow.group).is_some_and(|pools| pools.waiting.is_empty()) {
            namespace.groups.remove(&flow.group);
        }
        if namespace.groups.is_empty()
            && let Some(Namespace { seat, .. }) = self.namespaces.remove(&flow.namespace)
        {
            self.rounds.leave(Arc::clone(&flow.namespace), seat);
        }
        if self.namespaces.is_empty() {
            self.rounds.reset();
        }
    }

    /// Returns the next request.
    pub(super) fn peek(&self) -> Option<(Flow, Order)> {
        self.peek_in_flow(BTreeSet::first)
    }

    /// Returns the last request of the flow whose turn it is, where [`Self::peek`] returns the
    /// first.
    pub(super) fn peek_last(&self) -> Option<(Flow, Order)> {
        self.peek_in_flow(BTreeSet::last)
    }

    fn peek_in_flow(&self, choose: fn(&BTreeSet<Order>) -> Option<&Order>) -> Option<(Flow, Order)> {
        let (admission, first, _) = self.heads.first()?;
        // The other groups of the same namespace and admission have the same position.
        let groups = self.heads.iter().take_while(|head| (&head.0, &head.1) == (admission, first));
        let candidates = groups.filter_map(|(_, position, group)| {
            let name = self.groups.get(group)?.get(position)?;
            let pools = self.namespaces.get(name)?.groups.get(group)?;
            let (position, pool) = pools.order.first_key_value()?;
            let order = *choose(&pools.waiting.get(pool)?.requests)?;
            let flow = Flow { namespace: Arc::clone(name), pool: Arc::clone(pool), group: group.clone() };
            Some((*position, flow, order))
        });
        candidates.min_by_key(|(position, ..)| *position).map(|(_, flow, order)| (flow, order))
    }

    /// Removes a request that was peeked at, and moves its namespace and its pool to the
    /// end of the round.
    pub(super) fn serve(&mut self, flow: &Flow, order: Order) {
        self.move_pool(flow);
        self.move_namespace(&flow.namespace);
        self.remove(flow, order);
    }

    fn move_pool(&mut self, flow: &Flow) {
        let Some(namespace) = self.namespaces.get_mut(&flow.namespace) else { return };
        let Some(pools) = namespace.groups.get_mut(&flow.group) else { return };
        let Some(waiting) = pools.waiting.get_mut(&flow.pool) else { return };
        let earlier = waiting.seat;
        waiting.seat = namespace.rounds.served(waiting.seat);
        if let Some(pool) = pools.order.remove(&earlier) {
            pools.order.insert(waiting.seat, pool);
        }
    }

    fn move_namespace(&mut self, name: &Arc<str>) {
        let Self { namespaces, groups, heads, admissions, rounds, .. } = self;
        let Some(namespace) = namespaces.get_mut(name) else { return };
        let earlier = namespace.seat;
        namespace.seat = rounds.served(namespace.seat);
        for group in namespace.groups.keys() {
            let Some(order) = groups.get_mut(group) else { continue };
            with_head(heads, admissions, group, order, |order| {
                if let Some(name) = order.remove(&earlier) {
                    order.insert(namespace.seat, name);
                }
            });
        }
    }

    /// Changes the pools of a flow that are not stopped, and with them the place of its namespace
    /// in the group.
    fn change(&mut self, flow: &Flow, change: impl FnOnce(&mut Pools)) {
        let Self { namespaces, groups, heads, admissions, .. } = self;
        let Some(namespace) = namespaces.get_mut(&flow.namespace) else { return };
        let Some(pools) = namespace.groups.get_mut(&flow.group) else { return };
        change(pools);
        let (position, is_ready) = (namespace.seat, !pools.order.is_empty());
        let order = groups.entry(flow.group.clone()).or_default();
        with_head(heads, admissions, &flow.group, order, |order| {
            if is_ready {
                order.entry(position).or_insert_with(|| Arc::clone(&flow.namespace));
            } else {
                order.remove(&position);
            }
        });
        if order.is_empty() {
            groups.remove(&flow.group);
        }
    }

    /// Skips a pool from now on.
    pub(super) fn stop_pool(&mut self, pool: &Arc<str>) {
        if self.stopped.insert(Arc::clone(pool)) {
            self.change_pool(pool, |pools, position, _| {
                pools.order.remove(&position);
            });
        }
    }

    /// Skips a pool no longer.
    pub(super) fn start_pool(&mut self, pool: &Arc<str>) {
        if self.stopped.remove(pool) {
            self.change_pool(pool, |pools, position, pool| {
                pools.order.insert(position, Arc::clone(pool));
            });
        }
    }

    fn change_pool(&mut self, pool: &Arc<str>, change: impl Fn(&mut Pools, Position, &Arc<str>)) {
        for flow in self.pools.get(pool).cloned().unwrap_or_default() {
            self.change(&flow, |pools| {
                if let Some(position) = pools.waiting.get(pool).map(|waiting| waiting.seat) {
                    change(pools, position, pool);
                }
            });
        }
    }

    /// Changes the admission of a group.
    pub(super) fn set_admission(&mut self, group: &Arc<str>, admission: Admission) {
        let earlier = match admission {
            Admission::Open => self.admissions.remove(group),
            Admission::Yields | Admission::Closed => self.admissions.insert(Arc::clone(group), admission),
        };
        let earlier = earlier.unwrap_or(Admission::Open);
        let group = Some(Arc::clone(group));
        if earlier != admission
            && let Some((position, _)) = self.groups.get(&group).and_then(BTreeMap::first_key_value)
        {
            self.heads.remove(&(earlier, *position, group.clone()));
            if admission != Admission::Closed {
                self.heads.insert((admission, *position, group));
            }
        }
    }

    /// Returns the number of requests.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns true if a request can be taken.
    pub(super) fn is_ready(&self) -> bool {
        !self.heads.is_empty()
    }

    /// Returns true if no request waits.
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

/// Changes the order of a group, and with it its head, unless it is closed.
fn with_head(
    heads: &mut BTreeSet<(Admission, Position, Group)>,
    admissions: &Admissions,
    group: &Group,
    order: &mut OrderedNamespaces,
    change: impl FnOnce(&mut OrderedNamespaces),
) {
    let head = |order: &OrderedNamespaces| order.first_key_value().map(|(position, _)| *position);
    let before = head(order);
    change(order);
    let after = head(order);
    let admission = group.as_ref().and_then(|group| admissions.get(group)).copied().unwrap_or(Admission::Open);
    if before != after && admission != Admission::Closed {
        if let Some(position) = before {
            heads.remove(&(admission, position, group.clone()));
        }
        if let Some(position) = after {
            heads.insert((admission, position, group.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
