//! The watch of the API server: attaches again after a lost connection, and lists everything again
//! then, so that nothing is missed.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    ResourceExt as _,
    api::DynamicObject,
    runtime::watcher::{self, DefaultBackoff, Event, watcher},
};
use tokio::time::Instant;

use crate::{
    cluster::{Cluster, Target},
    failure::{Failure, sources},
    request::Request,
    selection::{self, Listed},
    terminal::shown,
    watch::watched::Watched,
};

/// The time, in seconds, for which the API server keeps one watch open. A connection that was lost
/// without a trace is noticed 5 s later.
const KEPT_OPEN: u32 = 30;
/// The shortest time for one request: a watch may be without events for as long as it is kept open.
const SHORTEST: Duration = Duration::from_secs(60);
/// The code of a version that the API server does not have any more.
const GONE: u16 = 410;
/// The first code that a server responds with which may respond otherwise later.
const TOO_MANY_REQUESTS: u16 = 429;
/// The longest time between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// An event of the watch.
#[derive(Debug)]
pub enum Step {
    /// All requests are listed from the beginning.
    ListBegins,
    /// A request was listed, created or updated.
    Put(Box<Request>),
    /// A request was deleted.
    Deleted(Box<Request>),
    /// All requests were listed.
    ListEnds,
    /// The connection was lost, for this reason.
    Lost(String),
}

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<DynamicObject>>> + Send>>;

/// A watch of requests.
pub struct Attachment<'a> {
    cluster: &'a Cluster,
    watched: &'a Watched,
    events: Events,
    backoff: DefaultBackoff,
    /// The moment of the next try.
    resume: Instant,
    was_attached: bool,
    is_lost: bool,
}

/// Returns the same target with a time for one request that a watch can live with.
#[must_use]
pub fn patient(target: &Target) -> Target {
    Target { request_timeout: target.request_timeout.max(SHORTEST), ..target.clone() }
}

impl<'a> Attachment<'a> {
    /// Attaches to the requests. A cluster that was never reached is a failure, unless
    /// `was_attached` says that it was just a moment ago.
    #[must_use]
    pub fn new(cluster: &'a Cluster, watched: &'a Watched, was_attached: bool) -> Self {
        let events = events(cluster, watched);
        let (backoff, resume) = (DefaultBackoff::default(), Instant::now());
        Self { cluster, watched, events, backoff, resume, was_attached, is_lost: false }
    }

    /// Returns the next event. Nothing is lost if this is dropped before it is ready.
    ///
    /// # Errors
    /// When the API server refuses the watch, or was never reached.
    pub async fn next(&mut self) -> Result<Step, Failure> {
        loop {
            tokio::time::sleep_until(self.resume).await;
            match self.events.next().await {
                // The API server was not asked yet.
                Some(Ok(Event::Init)) => return Ok(Step::ListBegins),
                Some(Ok(Event::InitApply(object) | Event::Apply(object))) => {
                    if self.watched.takes(&object) {
                        return parsed(object).map(Step::Put);
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    if self.watched.takes(&object) {
                        return parsed(object).map(Step::Deleted);
                    }
                }
                Some(Ok(Event::InitDone)) => {
                    self.was_attached = true;
                    return Ok(Step::ListEnds);
                }
                Some(Err(error)) => {
                    if let Some(lost) = self.lost(&error)? {
                        return Ok(lost);
                    }
                }
                None => self.events = events(self.cluster, self.watched),
            }
        }
    }

    /// Returns true, once, if the connection was lost before. To be called after a list.
    pub const fn is_back(&mut self) -> bool {
        std::mem::replace(&mut self.is_lost, false)
    }

    fn lost(&mut self, error: &watcher::Error) -> Result<Option<Step>, Failure> {
        let api = api_error(error);
        let code = match (api, error) {
            (Some(kube::Error::Api(status)), _) => Some(status.code),
            (_, watcher::Error::WatchError(status)) => Some(status.code),
            _ => None,
        };
        let is_expired = code == Some(GONE);
        let is_refused = !is_expired && code.is_some_and(|code| (400..TOO_MANY_REQUESTS).contains(&code));
        if let Some(api) = api.filter(|_| is_refused || !self.was_attached) {
            return Err(Failure::of_api(api, "watch requests"));
        }
        self.events = events(self.cluster, self.watched);
        let pause = self.backoff.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        self.resume = Instant::now() + pause;
        // Nothing was lost if the version that the watch would go on from is too old.
        let is_new = !is_expired && !std::mem::replace(&mut self.is_lost, !is_expired);
        Ok(is_new.then(|| Step::Lost(sources(error))))
    }
}

fn events(cluster: &Cluster, watched: &Watched) -> Events {
    let requests = selection::api(cluster, watched.selection.all_namespaces);
    watcher(requests, watched.config().timeout(KEPT_OPEN)).boxed()
}

/// Returns a request. Without its outcome the watch would never end.
fn parsed(object: DynamicObject) -> Result<Box<Request>, Failure> {
    let name = object.name_any();
    Listed::from(object).request.map(Box::new).ok_or_else(|| {
        Failure::refused(format!(
            "this plugin cannot parse the request {}, so it cannot follow it: update the plugin; the operator goes on",
            shown(&name)
        ))
    })
}

const fn api_error(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}
