//! A replacement for Amazon Cognito, as fast as a scenario demands. It has a quota for each
//! category of operations, and counts the resets of each user.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// The prefix of the header that names an operation.
const TARGET: &str = "AWSCognitoIdentityProviderService.";

/// A category of Cognito's quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// AdminResetUserPassword and ForgotPassword, among others.
    UserAccountRecovery,
    /// AdminGetUser.
    UserRead,
}

impl Category {
    fn of(operation: &str) -> Option<Self> {
        match operation {
            "AdminResetUserPassword" | "ForgotPassword" => Some(Self::UserAccountRecovery),
            "AdminGetUser" => Some(Self::UserRead),
            _ => None,
        }
    }
}

/// The counts since the last call of [`Cognito::forget`].
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The time of each accepted reset.
    pub resets: Vec<Instant>,
    /// The number of accepted resets by user.
    pub by_user: HashMap<String, u32>,
    /// The number of calls by operation, including throttled ones.
    pub calls: BTreeMap<String, u64>,
    /// The number of throttled calls.
    pub throttled: u64,
}

impl Counts {
    /// Returns the accepted resets per second, from the first one to the last one.
    pub fn pace(&self) -> f64 {
        let seconds =
            self.resets.first().zip(self.resets.last()).map_or(0.0, |(first, last)| (*last - *first).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
        let pauses = self.resets.len().saturating_sub(1) as f64;
        if seconds > 0.0 { pauses / seconds } else { 0.0 }
    }

    /// Returns the longest time between two accepted resets.
    pub fn longest_pause(&self) -> Duration {
        let pauses = self.resets.iter().zip(self.resets.iter().skip(1));
        pauses.map(|(one, next)| next.duration_since(*one)).max().unwrap_or_default()
    }

    /// Returns the number of accepted resets of the user with most of them.
    pub fn most_of_a_user(&self) -> u32 {
        self.by_user.values().copied().max().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct State {
    latency: Duration,
    /// The maximum number of calls in any second; a category without one has no limit.
    quotas: HashMap<Category, usize>,
    /// The accepted calls of the last second.
    recent: HashMap<Category, VecDeque<Instant>>,
    counts: Counts,
}

/// A running stand-in. It ends when dropped.
#[derive(Debug)]
pub struct Cognito {
    url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Cognito {
    /// Starts a stand-in without latency and quotas, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Returns an error if there is no free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::<Mutex<State>>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { url, state, server })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets the time that each call takes.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// Sets the maximum number of calls per second of a category.
    pub fn set_quota(&self, category: Category, per_second: usize) {
        self.state.lock().quotas.insert(category, per_second);
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts.clone()
    }

    /// Returns the number of accepted resets so far.
    pub fn resets(&self) -> usize {
        self.state.lock().counts.resets.len()
    }

    /// Begins to count again.
    pub fn forget(&self) {
        self.state.lock().counts = Counts::default();
    }
}

impl Drop for Cognito {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        // A failure shows in the figures: the caller gets no response.
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, Arc::clone(&state)));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(TARGET).unwrap_or(target).to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let username = body["Username"].as_str().unwrap_or_default();
    let (reply, latency) = {
        let mut state = state.lock();
        (state.reply(&operation, username, Instant::now()), state.latency)
    };
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let (status, body) = reply.map_or_else(|exception| (400, json!({ "__type": exception })), |body| (200, body));
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amzn-requestid", header::HeaderValue::from_static("00000000-0000-4000-8000-000000000000"));
    Ok(response)
}

impl State {
    /// Counts a call, and returns the body of its response, or the exception.
    fn reply(&mut self, operation: &str, username: &str, now: Instant) -> Result<Value, &'static str> {
        *self.counts.calls.entry(operation.to_owned()).or_default() += 1;
        let Some(category) = Category::of(operation) else { return Err("UnknownOperationException") };
        if !self.takes(category, now) {
            self.counts.throttled += 1;
            return Err("TooManyRequestsException");
        }
        let resets = self.counts.by_user.get(username).copied().unwrap_or_default();
        Ok(match operation {
            "AdminResetUserPassword" => {
                self.counts.resets.push(now);
                self.counts.by_user.insert(username.to_owned(), resets + 1);
                json!({})
            }
            "AdminGetUser" => {
                let status = if resets > 0 { "RESET_REQUIRED" } else { "CONFIRMED" };
                let sub = json!([{ "Name": "sub", "Value": username }]);
                json!({ "Username": username, "UserStatus": status, "UserAttributes": sub })
            }
            _ => json!({}),
        })
    }

    /// Returns true if the quota of the category has room for one more call in this second.
    fn takes(&mut self, category: Category, now: Instant) -> bool {
        let Some(quota) = self.quotas.get(&category) else { return true };
        let recent = self.recent.entry(category).or_default();
        while recent.front().is_some_and(|call| now.duration_since(*call) >= Duration::from_secs(1)) {
            recent.pop_front();
        }
        let has_room = recent.len() < *quota;
        if has_room {
            recent.push_back(now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quota_limits_each_second_of_its_category_alone() {
        let (start, mut state) = (Instant::now(), State::default());
        state.quotas.insert(Category::UserAccountRecovery, 2);
        let at = |millis| start + Duration::from_millis(millis);
        let mut reset = |user: &str, millis| state.reply("AdminResetUserPassword", user, at(millis)).is_ok();
        assert_eq!(
            [reset("a", 0), reset("b", 500), reset("c", 999), reset("c", 1000), reset("d", 1499)],
            [true, true, false, true, false]
        );
        assert!(state.reply("AdminGetUser", "a", at(1499)).is_ok_and(|user| user["UserStatus"] == "RESET_REQUIRED"));
        assert_eq!((state.counts.throttled, state.counts.most_of_a_user()), (2, 1));
    }
}
