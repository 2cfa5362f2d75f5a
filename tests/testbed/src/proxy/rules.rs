//! The rules: which requests the proxy breaks, and how.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Seen;

/// The fault that meets a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is sent on after this time, if the sender is still there.
    Delay(Duration),
    /// The request is sent on after this time, even if the sender is gone by then: a late call.
    Late(Duration),
    /// The request waits, not yet sent on, until the test releases it or the sender is gone. See
    /// [`Rule::held`].
    Hold,
    /// The request is sent on, and the reply waits until the test releases it or the sender is
    /// gone. See [`Rule::held`].
    HoldReply,
    /// The proxy responds itself, and does not send the request on.
    Respond(Reply),
    /// The same, with a reply that depends on the request.
    Compute(Responder),
    /// The request is sent on, and this response replaces the reply.
    ForwardThenRespond(Reply),
    /// The request is not sent on; the connection ends without a reply.
    LoseBefore,
    /// The request is sent on; the connection ends without a reply once the other side has
    /// responded.
    ForwardThenLose,
    /// The request is sent on; half of the reply's body comes back under the full length, then the
    /// connection ends.
    Truncate,
    /// The request is not sent on; these bytes come back in place of HTTP, then the connection
    /// ends.
    Garbage(Bytes),
    /// The request is not sent on; the bytes in place of HTTP have no end, or come slowly.
    Pour(Pour),
    /// The request is sent on, and the connection ends this long after the reply has begun: a watch
    /// that is cut.
    Cut(Duration),
    /// The request is sent on. This long after the reply has begun nothing more of it comes
    /// through, without an end.
    Freeze(Duration),
    /// The request is sent on, and each part of the reply comes through this much later: a watch
    /// that lags.
    Lag(Duration),
}

/// Bytes that come back piece by piece: `first`, and then `again` this many times, each after the
/// pause. Then the connection ends.
#[derive(Clone, Debug, Default)]
pub struct Pour {
    /// The beginning.
    pub first: Bytes,
    /// The bytes that follow, again and again.
    pub again: Bytes,
    /// The number of repetitions.
    pub times: usize,
    /// The time before each.
    pub pause: Duration,
}

/// A function that makes the reply to a request.
#[derive(Clone)]
pub struct Responder(Arc<dyn Fn(&Seen) -> Reply + Send + Sync>);

impl Responder {
    /// Responds with what this returns.
    pub fn new(respond: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(respond))
    }

    pub(super) fn reply(&self, seen: &Seen) -> Reply {
        (self.0)(seen)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// A reply that the test makes.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, besides those of the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A reply with a body and no headers.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// An error as Cognito reports it.
    #[must_use]
    pub fn aws_error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "__type": code, "message": "made up by the test" }).to_string();
        Self::new(status, body).header("content-type", "application/x-amz-json-1.1").header("x-amzn-errortype", code)
    }

    /// An error as the API server reports it.
    #[must_use]
    pub fn kubernetes_error(status: u16, reason: &str) -> Self {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "made up by the test", "reason": reason, "code": status,
        });
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Decides which requests a rule is about.
pub struct Matcher(Box<dyn Fn(&Seen) -> bool + Send + Sync>);

impl Matcher {
    /// Requests for which `matches` is true.
    pub fn new(matches: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(matches))
    }

    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::new(|_| true)
    }

    /// One AWS operation, such as `AdminGetUser`.
    #[must_use]
    pub fn operation(operation: &'static str) -> Self {
        Self::new(move |seen| seen.operation() == Some(operation))
    }

    /// The resets of one user.
    #[must_use]
    pub fn reset_of(username: &str) -> Self {
        let username = username.to_owned();
        Self::operation("AdminResetUserPassword").and(move |seen| seen.user().is_some_and(|(_, name)| name == username))
    }

    /// Matches one method on paths that contain `part`, the way to name a request to the API
    /// server.
    #[must_use]
    pub fn path(method: http::Method, part: &str) -> Self {
        let part = part.to_owned();
        Self::new(move |seen| seen.method == method && seen.path.contains(&part))
    }

    /// Returns true if this request matches.
    #[must_use]
    pub fn is_about(&self, seen: &Seen) -> bool {
        (self.0)(seen)
    }

    /// Matches only the requests for which this is true as well.
    #[must_use]
    pub fn and(self, also: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        Self::new(move |seen| (self.0)(seen) && also(seen))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matcher")
    }
}

/// A rule that was added. Dropping this does not remove it.
#[derive(Clone, Debug)]
pub struct Rule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    matcher: Matcher,
    fault: Fault,
    left: AtomicUsize,
    hits: AtomicUsize,
    hold: mpsc::UnboundedSender<Held>,
    held: Mutex<mpsc::UnboundedReceiver<Held>>,
}

impl Rule {
    pub(super) fn new(matcher: Matcher, fault: Fault, times: usize) -> Self {
        let (hold, held) = mpsc::unbounded_channel();
        let (left, hits, held) = (AtomicUsize::new(times), AtomicUsize::new(0), Mutex::new(held));
        Self(Arc::new(Inner { matcher, fault, left, hits, hold, held }))
    }

    /// The fault for this request, which is counted, if the rule is about it.
    pub(super) fn take(&self, seen: &Seen) -> Option<Fault> {
        if self.is_spent() || !self.0.matcher.is_about(seen) {
            return None;
        }
        let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        self.0.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok()?;
        self.0.hits.fetch_add(1, Ordering::SeqCst);
        Some(self.0.fault.clone())
    }

    /// Returns true if it meets no further request.
    pub(super) fn is_spent(&self) -> bool {
        self.0.left.load(Ordering::SeqCst) == 0
    }

    /// Waits for the test's decision. Never ends if the test drops the [`Held`] without one: the
    /// sender ends it by giving up.
    pub(super) async fn wait_for_release(&self, seen: &Seen) -> Word {
        let (say, word) = oneshot::channel();
        // The receiver lives in the same allocation, so it is there.
        let _ = self.0.hold.send(Held { seen: seen.clone(), say });
        match word.await {
            Ok(word) => word,
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the number of requests that it has met.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.0.hits.load(Ordering::SeqCst)
    }

    /// The next request that is being held (or, by [`Fault::HoldReply`], whose reply is).
    ///
    /// # Errors
    /// When there is none within the limit.
    pub async fn held(&self, limit: Duration) -> Result<Held> {
        let mut held = self.0.held.lock().await;
        let next = tokio::time::timeout(limit, held.recv()).await;
        next.ok().flatten().with_context(|| format!("no request was held within {limit:?} ({:?})", self.0.fault))
    }

    /// Meets no further request.
    pub fn remove(&self) {
        self.0.left.store(0, Ordering::SeqCst);
    }

    /// Meets no further request, and releases those it holds that no test has taken.
    pub async fn release_all(&self) {
        self.remove();
        let mut held = self.0.held.lock().await;
        while let Ok(held) = held.try_recv() {
            held.release();
        }
    }
}

/// The decision about a request that was held.
#[derive(Debug)]
pub(super) enum Word {
    Release,
    Lose,
}

/// A request that is being held. It stays held until its sender is gone if this value is dropped
/// without a decision.
#[derive(Debug)]
pub struct Held {
    /// The request.
    pub seen: Seen,
    say: oneshot::Sender<Word>,
}

impl Held {
    /// Lets it (or its reply) through.
    pub fn release(self) {
        let _ = self.say.send(Word::Release);
    }

    /// Ends its connection, without sending anything on.
    pub fn lose(self) {
        let _ = self.say.send(Word::Lose);
    }

    /// Returns true if the sender has given up.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.say.is_closed()
    }

    /// Waits until the sender has given up.
    ///
    /// # Errors
    /// When it has not within the limit.
    pub async fn abandoned(mut self, limit: Duration) -> Result<()> {
        let gone = tokio::time::timeout(limit, self.say.closed()).await;
        gone.with_context(|| format!("the sender still waits after {limit:?}: {:?}", self.seen))
    }
}
