//! Stops a run between two steps, and never in the middle of one: what a step has asked AWS to make
//! has to be known before everything is removed.

use std::{future::Future, io, time::Duration};

use cognito_reset_core::panics::{Panicked, caught};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::say;

/// A run was stopped.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The wish to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(CancellationToken);

impl Stop {
    /// Returns a wish that SIGINT, SIGTERM and SIGHUP express. They have no other effect then.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let (mut signals, stop) = (signal(kind)?, stop.clone());
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    say("stopping: what was made is removed first");
                    stop.0.cancel();
                }
            });
        }
        Ok(stop)
    }

    /// Fails if the run is to stop.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.is_cancelled() { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits, unless the run is to stop.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Interrupted> {
        tokio::select! {
            () = self.0.cancelled() => Err(Interrupted),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }
}

/// Does the work, and then always the rest, also if the work panics.
pub(crate) async fn then_always<T, R>(
    work: impl Future<Output = T>,
    rest: impl Future<Output = R>,
) -> (Result<T, Panicked>, R) {
    let done = caught(work).await;
    (done, rest.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rest_is_done_after_success_failure_and_panic() {
        for ends in ["well", "with an error", "with a panic"] {
            let work = async move {
                assert_ne!(ends, "with a panic", "on purpose");
                if ends == "well" { Ok(()) } else { Err(Interrupted) }
            };
            let (done, rest) = then_always(work, async { "removed" }).await;
            assert_eq!(rest, "removed");
            assert_eq!(done.is_err(), ends == "with a panic");
        }
    }

    #[tokio::test]
    async fn a_pause_ends_with_the_wish_to_stop() {
        let stop = Stop::default();
        assert!(stop.check().is_ok() && stop.pause(Duration::ZERO).await.is_ok());
        stop.0.cancel();
        assert!(stop.check().is_err());
        assert!(stop.pause(Duration::MAX).await.is_err());
    }
}
