//! The journal of the requests that passed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::HeaderName};
use serde_json::Value;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const RESET: &str = "AdminResetUserPassword";
/// A longer body is not kept in the journal; the rules still see it.
const KEPT_BODY: usize = 64 * 1024;

/// A request, as the rules see it.
#[derive(Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers, as sent.
    pub headers: HeaderMap,
    /// The whole body; empty in the journal when it was longer than 64 KiB.
    pub body: Bytes,
}

impl Seen {
    /// The AWS operation (what follows the dot in `x-amz-target`), if it is one.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        let target = self.headers.get(TARGET)?.to_str().ok()?;
        Some(target.rsplit_once('.').map_or(target, |(_, operation)| operation))
    }

    /// The body as JSON; null when it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The pool and the user an AWS request is about.
    #[must_use]
    pub fn user(&self) -> Option<(String, String)> {
        let body = self.json();
        let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
        text("UserPoolId").zip(text("Username"))
    }
}

/// The headers are left out: they carry credentials.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation().unwrap_or_default();
        write!(f, "{} {} {operation} {}", self.method, self.path, String::from_utf8_lossy(&self.body))
    }
}

/// A request of the past.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The request.
    pub seen: Seen,
    /// The time when it had arrived whole.
    pub at: Instant,
    /// The fault that met it.
    pub fault: Option<String>,
    /// True if it was sent on.
    pub forwarded: bool,
    /// The status of the other side's response, regardless of the response to the sender.
    pub status: Option<StatusCode>,
}

/// The counts of one user's resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetCount {
    /// Calls that arrived at the proxy.
    pub received: usize,
    /// Calls that were sent on to Cognito.
    pub forwarded: usize,
    /// Calls that Cognito accepted.
    pub accepted: usize,
}

/// The requests so far.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    first: usize,
    requests: Vec<Recorded>,
}

impl Journal {
    /// Notes a request; the number is for what becomes known later.
    pub(super) fn received(&self, seen: &Seen, fault: Option<String>) -> usize {
        let mut seen = seen.clone();
        if seen.body.len() > KEPT_BODY {
            seen.body = Bytes::new();
        }
        let mut entries = self.entries();
        entries.requests.push(Recorded { seen, at: Instant::now(), fault, forwarded: false, status: None });
        entries.first + entries.requests.len() - 1
    }

    pub(super) fn forwarded(&self, number: usize) {
        self.amend(number, |request| request.forwarded = true);
    }

    pub(super) fn responded(&self, number: usize, status: StatusCode) {
        self.amend(number, |request| request.status = Some(status));
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.entries().requests.clone()
    }

    pub(super) fn resets(&self) -> BTreeMap<(String, String), ResetCount> {
        let mut counts = BTreeMap::<_, ResetCount>::new();
        for request in &self.entries().requests {
            if request.seen.operation() != Some(RESET) {
                continue;
            }
            let Some(user) = request.seen.user() else { continue };
            let count = counts.entry(user).or_default();
            count.received += 1;
            count.forwarded += usize::from(request.forwarded);
            count.accepted += usize::from(request.status == Some(StatusCode::OK));
        }
        counts
    }

    pub(super) fn forget(&self) {
        let mut entries = self.entries();
        entries.first += entries.requests.len();
        entries.requests.clear();
    }

    /// Takes out the requests that came before `end`, in order of arrival.
    pub(super) fn take_before(&self, end: Instant) -> Vec<Recorded> {
        let mut entries = self.entries();
        let count = entries.requests.partition_point(|request| request.at < end);
        entries.first += count;
        entries.requests.drain(..count).collect()
    }

    fn amend(&self, number: usize, change: impl FnOnce(&mut Recorded)) {
        let mut entries = self.entries();
        let index = number.checked_sub(entries.first);
        if let Some(request) = index.and_then(|index| entries.requests.get_mut(index)) {
            change(request);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
