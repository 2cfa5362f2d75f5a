use proptest::prelude::*;

use super::*;

fn flow(namespace: u32, pool: u32, group: Option<u32>) -> Flow {
    Flow {
        namespace: format!("namespace-{namespace}").into(),
        pool: format!("pool-{pool}").into(),
        group: group.map(|group| format!("grant-{group}").into()),
    }
}

fn order(created: i64, uid: u32) -> Order {
    (Timestamp::from_second(created).unwrap(), Key::of_uid(&uid.to_string()))
}

/// Takes the next request.
fn take(queue: &mut FairQueue) -> Option<(Flow, Order)> {
    let (flow, order) = queue.peek()?;
    queue.serve(&flow, order);
    Some((flow, order))
}

/// Takes this many requests, and returns one part of each flow.
fn taken<T>(queue: &mut FairQueue, number: usize, part: impl Fn(&Flow) -> T) -> Vec<T> {
    (0..number).filter_map(|_| take(queue)).map(|(flow, _)| part(&flow)).collect()
}

/// A queue with this many requests in each of these flows.
fn filled(flows: &[(u32, u32, Option<u32>)], each: u32) -> FairQueue {
    let mut queue = FairQueue::default();
    for (number, (namespace, pool, group)) in flows.iter().enumerate() {
        for uid in 0..each {
            queue.insert(&flow(*namespace, *pool, *group), order(0, uid + u32::try_from(number).unwrap() * each));
        }
    }
    queue
}

fn assert_nothing_is_left(queue: &FairQueue) {
    let FairQueue { rounds, namespaces, groups, heads, admissions: _, stopped: _, pools, len } = queue;
    assert!(
        rounds.is_reset()
            && namespaces.is_empty()
            && groups.is_empty()
            && heads.is_empty()
            && pools.is_empty()
            && *len == 0,
        "{queue:?}"
    );
}

#[test]
fn namespaces_take_turns_and_then_their_pools() {
    let mut queue = filled(&[(1, 1, None), (1, 2, None), (2, 1, None)], 4);
    let places = taken(&mut queue, 9, |flow| format!("{} {}", flow.namespace, flow.pool).replace("namespace-", ""));
    let wanted =
        ["1 pool-1", "2 pool-1", "1 pool-2", "2 pool-1", "1 pool-1", "2 pool-1", "1 pool-2", "2 pool-1", "1 pool-1"];
    assert_eq!(places, wanted);
}

#[test]
fn requests_of_a_pool_go_by_creation_and_then_by_key() {
    let mut queue = FairQueue::default();
    let here = flow(1, 1, None);
    let mut orders: Vec<_> = (0..100).map(|uid| order(i64::from(uid * 7 % 10), uid)).collect();
    orders.iter().for_each(|order| queue.insert(&here, *order));
    orders.sort_unstable();
    let taken: Vec<_> = std::iter::from_fn(|| take(&mut queue)).map(|(_, order)| order).collect();
    assert_eq!(taken, orders);
    assert_nothing_is_left(&queue);
}

#[test]
fn request_in_another_namespace_is_next_beside_a_backlog() {
    let mut queue = filled(&[(1, 1, None), (1, 2, None), (2, 1, None)], 1000);
    for number in 0..100 {
        taken(&mut queue, 7, |_| ());
        queue.insert(&flow(3 + number, 1, None), order(1000, number));
        assert_eq!(queue.peek().map(|(next, _)| next), Some(flow(3 + number, 1, None)));
    }
}

#[test]
fn churn_gets_its_share_and_moves_no_turn_on() {
    let mut queue = filled(&[(1, 1, None)], 1000);
    let noisy = flow(2, 1, None);
    let mut of_backlog = 0;
    for uid in 0..1000 {
        // Many are created and deleted for each that is taken.
        for gone in 0..5 {
            queue.insert(&noisy, order(i64::from(gone), 5000 + gone));
        }
        for gone in 0..5 {
            queue.remove(&noisy, order(i64::from(gone), 5000 + gone));
        }
        queue.insert(&noisy, order(0, 9000 + uid));
        let (taken, _) = take(&mut queue).unwrap();
        of_backlog += i32::from(taken != noisy);
        queue.remove(&noisy, order(0, 9000 + uid));
        assert!((of_backlog * 2 - 1 - i32::try_from(uid).unwrap()).abs() <= 1, "{of_backlog} of {uid}");
    }
}

#[test]
fn pool_with_one_request_at_a_time_has_half_of_the_turns() {
    let mut queue = filled(&[(1, 1, None)], 100);
    let mut of_backlog = 0;
    for uid in 0..100 {
        queue.insert(&flow(1, 2, None), order(0, 9000 + uid));
        of_backlog += i32::from(take(&mut queue).unwrap().0 == flow(1, 1, None));
        queue.remove(&flow(1, 2, None), order(0, 9000 + uid));
    }
    assert!((49..=51).contains(&of_backlog), "{of_backlog}");
}

#[test]
fn stopped_pool_keeps_up_nobody() {
    let mut queue = filled(&[(1, 1, None), (1, 2, None), (2, 1, None)], 4);
    queue.stop_pool(&"pool-1".into());
    queue.insert(&flow(3, 1, None), order(0, 100));
    assert_eq!(taken(&mut queue, 9, |flow| flow.pool.to_string()), ["pool-2"; 4]);
    assert!(!queue.is_ready() && queue.peek().is_none() && !queue.is_empty());
    queue.start_pool(&"pool-1".into());
    assert_eq!(taken(&mut queue, 99, |_| ()).len(), 9);
    assert_nothing_is_left(&queue);
}

#[test]
fn closed_group_keeps_up_nobody() {
    let mut queue = filled(&[(1, 1, Some(1)), (1, 1, None), (2, 2, Some(1)), (3, 2, Some(2))], 3);
    queue.set_admission(&"grant-1".into(), Admission::Closed);
    queue.insert(&flow(4, 1, Some(1)), order(0, 100));
    let groups = taken(&mut queue, 99, |flow| flow.group.clone().unwrap_or_default().to_string());
    assert_eq!(groups, ["", "grant-2", "", "grant-2", "", "grant-2"]);
    assert!(!queue.is_ready() && queue.peek().is_none() && !queue.is_empty());
    queue.set_admission(&"grant-1".into(), Admission::Open);
    assert_eq!(taken(&mut queue, 99, |_| ()).len(), 7);
    assert_nothing_is_left(&queue);
}

#[test]
fn group_that_yields_is_taken_when_no_other_can_be() {
    let mut queue = filled(&[(1, 1, Some(1)), (1, 1, None), (2, 2, Some(1)), (3, 2, Some(2))], 2);
    queue.set_admission(&"grant-1".into(), Admission::Yields);
    queue.set_admission(&"grant-2".into(), Admission::Closed);
    queue.insert(&flow(4, 1, Some(1)), order(0, 100));
    assert_eq!(taken(&mut queue, 2, |flow| flow.group.is_none()), [true, true]);
    let namespaces = taken(&mut queue, 3, |flow| flow.namespace.to_string());
    assert_eq!(namespaces, ["namespace-2", "namespace-4", "namespace-1"], "in rotation");
    queue.insert(&flow(1, 1, None), order(9, 101));
    assert_eq!(taken(&mut queue, 1, |flow| flow.group.is_none()), [true]);
    queue.set_admission(&"grant-2".into(), Admission::Open);
    let groups = taken(&mut queue, 99, |flow| flow.group.clone().unwrap_or_default().to_string());
    assert_eq!(groups, ["grant-2", "grant-2", "grant-1", "grant-1"]);
    assert_nothing_is_left(&queue);
}

#[test]
fn pool_in_two_groups_takes_turns_between_them() {
    let mut queue = filled(&[(1, 1, Some(1)), (1, 1, Some(2)), (1, 2, None)], 2);
    let groups = taken(&mut queue, 6, |flow| flow.group.clone().unwrap_or_default().to_string());
    assert_eq!(groups, ["grant-1", "grant-2", "", "grant-1", "grant-2", ""]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u32, Option<u32>, i64),
    Remove(usize),
    Take,
    Stop(u32),
    Start(u32),
    Set(u32, Admission),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = proptest::option::of(0..3u32);
    let admission = prop_oneof![Just(Admission::Open), Just(Admission::Yields), Just(Admission::Closed)];
    let step = prop_oneof![
        6 => (0..4u32, 0..3u32, group, 0..5i64).prop_map(|(n, p, g, created)| Step::Insert(n, p, g, created)),
        2 => any::<usize>().prop_map(Step::Remove),
        4 => Just(Step::Take),
        1 => (0..3u32).prop_map(Step::Stop),
        1 => (0..3u32).prop_map(Step::Start),
        2 => (0..3u32, admission).prop_map(|(group, admission)| Step::Set(group, admission)),
    ];
    proptest::collection::vec(step, 0..200)
}

/// A queue that keeps no order, and looks through all requests.
#[derive(Default)]
struct Reference {
    requests: Vec<(Flow, Order)>,
    stopped: HashSet<Arc<str>>,
    admissions: HashMap<Arc<str>, Admission>,
}

impl Reference {
    fn admission(&self, flow: &Flow) -> Admission {
        flow.group.as_ref().and_then(|group| self.admissions.get(group)).copied().unwrap_or(Admission::Open)
    }

    /// Returns the requests that may be taken next: the first of each flow. Those that yield are
    /// among them only if there are no others.
    fn candidates(&self) -> BTreeSet<(Flow, Order)> {
        let mut first = BTreeMap::new();
        for (flow, order) in &self.requests {
            if self.admission(flow) != Admission::Closed && !self.stopped.contains(&flow.pool) {
                let least = first.entry(flow.clone()).or_insert(*order);
                *least = (*least).min(*order);
            }
        }
        let best = first.keys().map(|flow| self.admission(flow)).min();
        first.into_iter().filter(|(flow, _)| Some(self.admission(flow)) == best).collect()
    }

    fn remove(&mut self, order: Order) {
        self.requests.retain(|(_, other)| *other != order);
    }
}

proptest! {
    #[test]
    fn queue_gives_what_a_plain_list_would_and_leaves_nothing(steps in steps()) {
        let (mut queue, mut list, mut uid) = (FairQueue::default(), Reference::default(), 0);
        for step in steps {
            match step {
                Step::Insert(namespace, pool, group, created) => {
                    uid += 1;
                    let (flow, order) = (flow(namespace, pool, group), order(created, uid));
                    queue.insert(&flow, order);
                    list.requests.push((flow, order));
                }
                Step::Remove(index) => if !list.requests.is_empty() {
                    let (flow, order) = list.requests.swap_remove(index % list.requests.len());
                    queue.remove(&flow, order);
                    queue.remove(&flow, order);
                }
                Step::Take => if let Some((_, order)) = take(&mut queue) {
                    list.remove(order);
                }
                Step::Stop(pool) => {
                    let pool = flow(0, pool, None).pool;
                    queue.stop_pool(&pool);
                    list.stopped.insert(pool);
                }
                Step::Start(pool) => {
                    let pool = flow(0, pool, None).pool;
                    queue.start_pool(&pool);
                    list.stopped.remove(&pool);
                }
                Step::Set(group, admission) => {
                    let group = flow(0, 0, Some(group)).group.unwrap();
                    queue.set_admission(&group, admission);
                    list.admissions.insert(group, admission);
                }
            }
            let candidates = list.candidates();
            let next = queue.peek();
            prop_assert_eq!(next.is_some(), !candidates.is_empty());
            prop_assert_eq!(queue.is_ready(), next.is_some());
            prop_assert_eq!(queue.is_empty(), list.requests.is_empty());
            prop_assert!(next.is_none_or(|next| candidates.contains(&next)));
        }
        for (flow, order) in list.requests {
            queue.remove(&flow, order);
        }
        assert_nothing_is_left(&queue);
    }

    /// Each namespace that has a request which may be taken has a turn before another one that has
    /// waited for as long has its third.
    #[test]
    fn nobody_is_passed_by_more_than_twice_by_another_namespace(steps in steps()) {
        let (mut queue, mut list, mut uid) = (FairQueue::default(), Reference::default(), 0);
        let mut passed: HashMap<Arc<str>, HashMap<Arc<str>, u32>> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(namespace, pool, group, created) => {
                    uid += 1;
                    let (flow, order) = (flow(namespace, pool, group), order(created, uid));
                    queue.insert(&flow, order);
                    list.requests.push((flow, order));
                }
                Step::Remove(index) => if !list.requests.is_empty() {
                    let (flow, order) = list.requests.swap_remove(index % list.requests.len());
                    queue.remove(&flow, order);
                }
                Step::Take => if let Some((flow, order)) = take(&mut queue) {
                    list.remove(order);
                    passed.remove(&flow.namespace);
                    for (waiting, by) in &mut passed {
                        let times = by.entry(Arc::clone(&flow.namespace)).or_default();
                        *times += 1;
                        prop_assert!(*times <= 2, "{} passes {waiting}", flow.namespace);
                    }
                }
                Step::Stop(_) | Step::Start(_) | Step::Set(..) => {}
            }
            let waiting: HashSet<_> = list.candidates().into_iter().map(|(flow, _)| flow.namespace).collect();
            passed.retain(|namespace, _| waiting.contains(namespace));
            waiting.into_iter().for_each(|namespace| _ = passed.entry(namespace).or_default());
        }
    }
}
