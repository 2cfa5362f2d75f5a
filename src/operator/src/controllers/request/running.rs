//! The tasks that reconcile requests, and their turns.

use std::{collections::HashMap, sync::Arc};

use cognito_reset_core::{
    dispatch::turns::Turn,
    machine::{Next, ReconcileError},
};
use tokio::task::{Id, JoinSet};
use tracing::error;

/// The end of a reconcile.
pub(super) type End = Result<Next, ReconcileError>;

/// The tasks at work. A turn is kept here as well, so that it ends with its task however that ends.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: JoinSet<End>,
    turns: HashMap<Id, Arc<Turn>>,
}

impl Running {
    /// Starts a task for a turn.
    pub(super) fn spawn<F>(&mut self, turn: Turn, work: impl FnOnce(Arc<Turn>) -> F)
    where
        F: Future<Output = End> + Send + 'static,
    {
        let turn = Arc::new(turn);
        let task = self.tasks.spawn(work(Arc::clone(&turn)));
        self.turns.insert(task.id(), turn);
    }

    /// Waits until a task ends. Returns its turn and the end; `None` if no task is at work.
    pub(super) async fn ended(&mut self) -> Option<(Arc<Turn>, End)> {
        loop {
            let (id, end) = match self.tasks.join_next_with_id().await? {
                Ok(ended) => ended,
                Err(failed) => {
                    error!(error = %failed, "a task of a request ended without a result");
                    (failed.id(), Err(ReconcileError::Panicked))
                }
            };
            if let Some(turn) = self.turns.remove(&id) {
                return Some((turn, end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use cognito_reset_api::UserStateSource;
    use cognito_reset_core::dispatch::{
        key::Key,
        lane::{Lane, LaneLimits, Limits},
        pace::Rate,
        turns::{Class, Dispatcher, Finish, Place, Request},
    };
    use jiff::Timestamp;

    use super::*;

    /// A dispatcher with one slot and two requests.
    fn dispatcher(now: Instant) -> Dispatcher {
        let api = LaneLimits { budget: Rate::per_second(10_000.0), slots: 1 };
        let limits = Limits { api, budgets: Vec::new(), slots: 1, slots_of_all: 1, shown_after: None };
        let mut dispatcher = Dispatcher::new(limits, now);
        for uid in ["1", "2"] {
            let (namespace, created) = ("support".into(), Timestamp::UNIX_EPOCH);
            let request = Request { key: Key::of_uid(uid), namespace, created, deadline: None, user: None };
            let source = UserStateSource::None;
            let place = Place { lane: Lane::Api, pool: "pool".into(), source, grant: None, class: Class::Single };
            dispatcher.put(request, place, None, false, now);
        }
        dispatcher
    }

    #[tokio::test]
    async fn task_that_panics_or_is_aborted_gives_its_turn_back() {
        let mut now = Instant::now();
        let mut dispatcher = dispatcher(now);
        for is_aborted in [false, true] {
            let turn = dispatcher.next(now).unwrap();
            assert!(dispatcher.next(now + Duration::from_secs(1)).is_none(), "the only slot is taken");
            let mut running = Running::default();
            running.spawn(turn, move |_| async move {
                assert!(is_aborted, "a test");
                std::future::pending().await
            });
            if is_aborted {
                running.tasks.abort_all();
            }
            let (turn, end) = running.ended().await.unwrap();
            assert_eq!(end, Err(ReconcileError::Panicked));
            assert!(running.ended().await.is_none() && running.turns.is_empty());
            now += Duration::from_secs(1);
            dispatcher.finished(&turn, Finish::Done, now);
        }
        assert!(dispatcher.is_empty());
    }
}
