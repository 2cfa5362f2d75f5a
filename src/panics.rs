//! Panics of code that is not ours: caught where it is called, and logged as one line.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use thiserror::Error;
use tracing::error;

/// Code that was called has panicked. What it was about stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a panic ended the call; the log has its place in the code")]
pub struct Panicked;

/// Runs a future, and ends it where it panics.
///
/// What it shares with others must be consistent at every point where it may panic: here those are locks that are held for
/// single statements.
///
/// # Errors
/// Where it panics.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|_| Panicked)
}

/// From now on a panic is logged as one line, in the format of the log, wherever it happens.
///
/// A text that was made for the occasion may quote anything, also a user's name, and is left out; one that stands in the code is not.
pub fn log_them() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(%place, text = fixed_text(panic.payload()), "a panic");
    }));
}

fn fixed_text(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(made for the occasion, and so not shown)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_that_panics_ends_as_an_error_and_one_that_does_not_as_its_output() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let panicking = async { panic!("a test") };
        assert_eq!(caught::<_>(panicking).await.map(|(): ()| ()), Err(Panicked));
    }

    #[test]
    fn only_a_text_that_stands_in_the_code_is_shown() {
        let fixed: Box<dyn Any + Send> = Box::new("not valid");
        let made: Box<dyn Any + Send> = Box::new("alice is not valid".to_owned());
        assert_eq!(fixed_text(&*fixed), "not valid");
        assert!(!fixed_text(&*made).contains("alice"));
    }
}
