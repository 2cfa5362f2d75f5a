//! Waiting for a state, never for a time.

use std::{fmt::Display, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

const INTERVAL: Duration = Duration::from_millis(50);

/// One look at the state. `Some(value)` or `Ok(value)` is the wanted state. `Err` describes the
/// state that was seen instead.
pub trait Attempt {
    /// The value of the wanted state.
    type Value;

    /// The value, or what was seen instead.
    ///
    /// # Errors
    /// Not the wanted state yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Display> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:#}"))
    }
}

/// Looks again and again until the state is the wanted one.
///
/// # Errors
/// After `limit`, naming `what` was waited for and what was seen last.
pub async fn eventually<A: Attempt>(
    limit: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> A,
) -> Result<A::Value> {
    let deadline = Instant::now() + limit;
    let mut last = "nothing, not even once".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, look()).await.map(Attempt::outcome) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = seen,
            Err(_) => {}
        }
        if Instant::now() + INTERVAL > deadline {
            bail!("waited {limit:?} in vain for {what}; last seen: {last}");
        }
        sleep(INTERVAL).await;
    }
}
