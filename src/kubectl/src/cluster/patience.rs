//! Waits while the API server sheds load: it responds with 429 or 503, and says by Retry-After when
//! to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::client::Body;
use tower::{BoxError, retry::Policy};

use crate::terminal::remark;

/// The longest time that one request waits, unless `--request-timeout` is shorter.
const LONGEST: Duration = Duration::from_secs(60);
/// The first wait without Retry-After, and the longest one. It doubles each time.
const FIRST: Duration = Duration::from_millis(250);
const NEXT: Duration = Duration::from_secs(8);
/// The time of waiting after which people hear of it. Completion has no more than that.
pub const NOTICED: Duration = Duration::from_secs(2);

/// The waiting of one request.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    limit: Duration,
    attempts: u32,
    waited: Duration,
    /// True once somebody heard of it. All requests of a client share it.
    is_known: Arc<AtomicBool>,
}

impl Patience {
    /// Returns the waiting with a timeout for one request; zero means that there is none.
    pub(super) fn new(timeout: Duration) -> Self {
        let limit = if timeout.is_zero() { LONGEST } else { timeout.min(LONGEST) };
        Self { limit, attempts: 0, waited: Duration::ZERO, is_known: Arc::default() }
    }

    /// Returns the time to wait after a response; `None` if it counts.
    fn next(&self, method: &Method, status: StatusCode, retry_after: Option<Duration>) -> Option<Duration> {
        let is_busy = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            // The API server may have done what was asked.
            StatusCode::GATEWAY_TIMEOUT => method == Method::GET,
            _ => false,
        };
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.attempts)).min(NEXT);
        let wait = retry_after.map_or(wait, |asked| asked.max(FIRST));
        (is_busy && self.waited.saturating_add(wait) <= self.limit).then_some(wait)
    }

    /// Counts a wait. Returns true if people should hear of it now.
    fn count(&mut self, wait: Duration) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        self.waited = self.waited.saturating_add(wait);
        self.waited > NOTICED && !self.is_known.swap(true, Ordering::Relaxed)
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Patience {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status();
        let wait = self.next(request.method(), status, after.map(Duration::from_secs))?;
        if self.count(wait) {
            let (code, limit) = (status.as_u16(), self.limit.as_secs());
            remark!("the API server is busy (HTTP {code}): each request waits for it up to {limit}s");
        }
        Some(tokio::time::sleep(wait))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let mut copy = Request::new(request.body().try_clone()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_a_busy_server_is_asked_again() {
        for (method, status, after, wanted) in [
            (Method::GET, 429, Some(3), Some(seconds(3))),
            (Method::POST, 429, Some(3), Some(seconds(3))),
            (Method::POST, 503, None, Some(FIRST)),
            (Method::GET, 503, Some(0), Some(FIRST)),
            (Method::GET, 429, Some(61), None),
            (Method::GET, 429, Some(u64::MAX), None),
            (Method::GET, 504, None, Some(FIRST)),
            (Method::POST, 504, None, None),
            (Method::GET, 500, Some(1), None),
            (Method::GET, 200, Some(1), None),
            (Method::POST, 409, None, None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let wait = Patience::new(Duration::ZERO).next(&method, status, after.map(seconds));
            assert_eq!(wait, wanted, "{method} {status} {after:?}");
        }
    }

    #[test]
    fn the_waits_grow_and_have_an_end() {
        for (timeout, longest) in [(seconds(0), 60), (seconds(5), 5), (seconds(600), 60)] {
            let mut patience = Patience::new(timeout);
            let mut waits = Vec::new();
            while let Some(wait) = patience.next(&Method::GET, StatusCode::SERVICE_UNAVAILABLE, None) {
                patience.count(wait);
                waits.push(wait);
            }
            let sum: Duration = waits.iter().sum();
            assert!(sum <= seconds(longest) && sum + NEXT > seconds(longest), "{waits:?}");
            assert!(waits.is_sorted() && waits.iter().all(|wait| *wait <= NEXT), "{waits:?}");
        }
    }

    #[test]
    fn people_hear_of_it_once_and_not_of_short_waits() {
        let patience = Patience::new(Duration::ZERO);
        let (mut one, mut two) = (patience.clone(), patience);
        assert_eq!([one.count(seconds(1)), one.count(seconds(1)), one.count(seconds(1))], [false, false, true]);
        assert_eq!([one.count(seconds(9)), two.count(seconds(9))], [false, false]);
        let mut of_completion = Patience::new(NOTICED);
        while let Some(wait) = of_completion.next(&Method::GET, StatusCode::SERVICE_UNAVAILABLE, None) {
            assert!(!of_completion.count(wait), "completion says nothing");
        }
    }
}
