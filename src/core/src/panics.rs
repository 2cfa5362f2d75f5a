//! Catches panics of other code where it is called.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use thiserror::Error;

/// A call has panicked. The log has the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a panic ended the call; the log has its place in the code")]
pub struct Panicked;

/// Runs a future, and returns an error if it panics.
///
/// State that the future shares with other tasks must be consistent at every point where it may
/// panic. Here that state is behind locks that are held for single statements.
///
/// # Errors
/// Returns an error if the future panics.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicking_future_returns_an_error_and_others_their_output() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let panicking = async { panic!("a test") };
        assert_eq!(caught::<_>(panicking).await.map(|(): ()| ()), Err(Panicked));
    }
}
