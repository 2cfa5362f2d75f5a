//! A fair queue: round robin over namespaces, within a namespace over pools, and within a pool by
//! creation.
//!
//! Two things keep requests from being taken without keeping up others. A *stopped pool* is skipped
//! in each namespace. It changes rarely, so that stopping it may cost a step for each namespace. A
//! *closed group* is skipped as a whole: the requests of a grant that has a rate of its own form a
//! group, which closes with each of its turns. This costs one step, regardless of the number of
//! namespaces. Each other operation costs a number of steps that grows with the logarithm of the
//! number of requests, and with the number of groups in the namespace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use crate::dispatch::{
    key::Key,
    rounds::{Position, Rounds, Seat},
};

/// A group of requests: those of a grant with a rate or weight of its own, or `None` for all
/// others.
pub(super) type Group = Option<Arc<str>>;

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
    /// The first namespace of each open group.
    heads: BTreeSet<(Position, Group)>,
    closed: HashSet<Arc<str>>,
    stopped: HashSet<Arc<str>>,
    /// The flows of each pool.
    pools: HashMap<Arc<str>, BTreeSet<Flow>>,
    len: usize,
}

/// The namespaces of a group that have a request in a pool that is not stopped.
type OrderedNamespaces = BTreeMap<Position, Arc<str>>;

#[derive(Debug)]
struct Namespace {
    seat: Seat,
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
    seat: Seat,
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
                pools.order.insert(seat.position, Arc::clone(pool));
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
            pools.order.remove(&seat.position);
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
        let (first, _) = self.heads.first()?;
        // The other open groups of the same namespace have the same position.
        let groups = self.heads.iter().take_while(|(position, _)| position == first);
        let candidates = groups.filter_map(|(position, group)| {
            let name = self.groups.get(group)?.get(position)?;
            let pools = self.namespaces.get(name)?.groups.get(group)?;
            let (position, pool) = pools.order.first_key_value()?;
            let order = *pools.waiting.get(pool)?.requests.first()?;
            let flow = Flow { namespace: Arc::clone(name), pool: Arc::clone(pool), group: group.clone() };
            Some((*position, flow, order))
        });
        candidates.min_by_key(|(position, ..)| *position).map(|(_, flow, order)| (flow, order))
    }

    /// Removes a request that [`Self::peek`] returned, and moves its namespace and its pool to the
    /// end of the round.
    pub(super) fn serve(&mut self, flow: &Flow, order: Order, weight: u32) {
        self.move_pool(flow);
        self.move_namespace(&flow.namespace, weight);
        self.remove(flow, order);
    }

    fn move_pool(&mut self, flow: &Flow) {
        let Some(namespace) = self.namespaces.get_mut(&flow.namespace) else { return };
        let Some(pools) = namespace.groups.get_mut(&flow.group) else { return };
        let Some(waiting) = pools.waiting.get_mut(&flow.pool) else { return };
        let earlier = waiting.seat.position;
        waiting.seat = namespace.rounds.served(waiting.seat, 1);
        if let Some(pool) = pools.order.remove(&earlier) {
            pools.order.insert(waiting.seat.position, pool);
        }
    }

    fn move_namespace(&mut self, name: &Arc<str>, weight: u32) {
        let Self { namespaces, groups, heads, closed, rounds, .. } = self;
        let Some(namespace) = namespaces.get_mut(name) else { return };
        let earlier = namespace.seat.position;
        namespace.seat = rounds.served(namespace.seat, weight);
        for group in namespace.groups.keys() {
            let Some(order) = groups.get_mut(group) else { continue };
            with_head(heads, closed, group, order, |order| {
                if let Some(name) = order.remove(&earlier) {
                    order.insert(namespace.seat.position, name);
                }
            });
        }
    }

    /// Changes the pools of a flow that are not stopped, and with them the place of its namespace
    /// in the group.
    fn change(&mut self, flow: &Flow, change: impl FnOnce(&mut Pools)) {
        let Self { namespaces, groups, heads, closed, .. } = self;
        let Some(namespace) = namespaces.get_mut(&flow.namespace) else { return };
        let Some(pools) = namespace.groups.get_mut(&flow.group) else { return };
        change(pools);
        let (position, is_ready) = (namespace.seat.position, !pools.order.is_empty());
        let order = groups.entry(flow.group.clone()).or_default();
        with_head(heads, closed, &flow.group, order, |order| {
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
                if let Some(position) = pools.waiting.get(pool).map(|waiting| waiting.seat.position) {
                    change(pools, position, pool);
                }
            });
        }
    }

    /// Skips a group from now on.
    pub(super) fn close_group(&mut self, group: &Arc<str>) {
        if self.closed.insert(Arc::clone(group)) {
            let group = Some(Arc::clone(group));
            if let Some((position, _)) = self.groups.get(&group).and_then(BTreeMap::first_key_value) {
                self.heads.remove(&(*position, group));
            }
        }
    }

    /// Skips a group no longer.
    pub(super) fn open_group(&mut self, group: &Arc<str>) {
        if self.closed.remove(group) {
            let group = Some(Arc::clone(group));
            if let Some((position, _)) = self.groups.get(&group).and_then(BTreeMap::first_key_value) {
                self.heads.insert((*position, group));
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

/// Changes the order of a group, and with it the head of an open one.
fn with_head(
    heads: &mut BTreeSet<(Position, Group)>,
    closed: &HashSet<Arc<str>>,
    group: &Group,
    order: &mut OrderedNamespaces,
    change: impl FnOnce(&mut OrderedNamespaces),
) {
    let head = |order: &OrderedNamespaces| order.first_key_value().map(|(position, _)| *position);
    let before = head(order);
    change(order);
    let after = head(order);
    if before != after && group.as_ref().is_none_or(|group| !closed.contains(group)) {
        if let Some(position) = before {
            heads.remove(&(position, group.clone()));
        }
        if let Some(position) = after {
            heads.insert((position, group.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
