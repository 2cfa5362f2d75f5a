//! The supervised tasks of the operator.
//!
//! Every long-running part of the operator is a named task in one set. No task may end before the
//! operator is asked to stop: if one does, by returning, with an error or with a panic, the
//! operator stops in an orderly way and its last line names the task.

use std::{collections::HashMap, future::Future};

use thiserror::Error;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// An error that ends a task, and with it the operator.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The task ended although nobody asked it to.
    #[error("the task {task} ended unexpectedly: {cause}")]
    Ended {
        /// The name of the task.
        task: &'static str,
        /// The cause.
        cause: String,
    },
    /// The Lease is lost; another replica may be leading by now.
    #[error("failed to keep the lease: it could not be renewed in time or another replica has it")]
    LeaseLost,
}

/// A set of named tasks. All of them are aborted when it is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<Result<(), TaskError>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), TaskError>> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Starts a task that runs until it is aborted, or until it has finished its work after the
    /// operator was asked to stop.
    pub(crate) fn spawn_loop(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, async {
            task.await;
            Ok(())
        });
    }

    /// Waits for `work`. Returns `None` if `stop` is cancelled before.
    ///
    /// # Errors
    /// Returns an error if any task ends before.
    pub(crate) async fn until<T>(
        &mut self,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>, TaskError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(None),
            (task, result) = self.next() => {
                result?;
                Err(TaskError::Ended { task, cause: "it returned".into() })
            }
            value = work => Ok(Some(value)),
        }
    }

    /// Waits until all tasks with one of these names have ended. The loss of the Lease does not end
    /// the wait, because these tasks do not depend on it.
    ///
    /// # Errors
    /// Returns an error if one of them fails, if another task ends, or in the end if the Lease was
    /// lost.
    pub(crate) async fn finish(&mut self, names: &[&str]) -> Result<(), TaskError> {
        let mut finished = Ok(());
        while self.names.values().any(|name| names.contains(name)) {
            let (task, result) = self.next().await;
            match result {
                Err(TaskError::LeaseLost) => finished = Err(TaskError::LeaseLost),
                Err(error) => return Err(error),
                Ok(()) if names.contains(&task) => {}
                Ok(()) => return Err(TaskError::Ended { task, cause: "it returned".into() }),
            }
        }
        finished
    }

    /// Waits until the task of this name has ended, regardless of the others.
    pub(crate) async fn join(&mut self, name: &str) {
        while self.names.values().any(|it| *it == name) {
            if let (task, Err(error)) = self.next().await {
                warn!(task, %error, "a task failed during the shutdown");
            }
        }
    }

    /// Waits for the next task to end; never returns if there is none.
    async fn next(&mut self) -> (&'static str, Result<(), TaskError>) {
        let Some(ended) = self.set.join_next_with_id().await else { return std::future::pending().await };
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let task = self.names.remove(&id).unwrap_or("of no name");
        match ended {
            Ok((_, result)) => (task, result),
            Err(error) => (task, Err(TaskError::Ended { task, cause: cause_of(&error) })),
        }
    }
}

/// Describes a panic without its text, which may quote a user name; the log has its place in the
/// code.
fn cause_of(error: &JoinError) -> String {
    if error.is_panic() { "it panicked; the log has the place in the code".into() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::Pin};

    use super::*;

    type Task = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_named_with_its_cause() {
        let rows: [(Task, &str); 3] = [
            (Box::pin(async { Ok(()) }), "the task odd ended unexpectedly: it returned"),
            (
                Box::pin(async { panic!("alice") }),
                "the task odd ended unexpectedly: it panicked; the log has the place in the code",
            ),
            (Box::pin(async { Err(TaskError::LeaseLost) }), "failed to keep the lease"),
        ];
        for (task, wanted) in rows {
            let mut tasks = Tasks::default();
            tasks.spawn_loop("even", pending());
            tasks.spawn("odd", task);
            let error = tasks.until(&CancellationToken::new(), pending::<()>()).await.unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn work_goes_on_until_it_is_done_or_a_stop_is_asked_for() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        assert_eq!(tasks.until(&stop, async { 7 }).await.unwrap(), Some(7), "without any task");
        tasks.spawn_loop("task", pending());
        assert_eq!(tasks.until(&stop, async { 7 }).await.unwrap(), Some(7));
        stop.cancel();
        assert_eq!(tasks.until(&stop, async { 7 }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn those_that_are_to_finish_are_waited_for_and_no_other() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn_loop("watch", pending());
        for name in ["requests", "claims"] {
            tasks.spawn_loop(name, stop.clone().cancelled_owned());
        }
        stop.cancel();
        tasks.finish(&["requests", "claims"]).await.unwrap();
        tasks.finish(&["requests", "claims"]).await.unwrap();
        let (finish, finishing) = tokio::sync::oneshot::channel();
        tasks.spawn_loop("requests", async {
            let _ = finishing.await;
        });
        tasks.spawn("lease", async { Err(TaskError::LeaseLost) });
        {
            let mut wait = std::pin::pin!(tasks.finish(&["requests"]));
            for _ in 0..3 {
                assert!(futures::poll!(wait.as_mut()).is_pending(), "a lost lease ends no wait");
                tokio::task::yield_now().await;
            }
            finish.send(()).unwrap();
            assert!(matches!(wait.await, Err(TaskError::LeaseLost)));
        }
        tasks.spawn_loop("requests", pending());
        tasks.spawn_loop("events", async {});
        let error = tasks.finish(&["requests"]).await.unwrap_err();
        assert_eq!(error.to_string(), "the task events ended unexpectedly: it returned");
    }
}
