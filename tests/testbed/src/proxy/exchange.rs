//! One request through the proxy: matched with the rules, broken by their fault, forwarded, and
//! replied to.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;

use super::{Fault, Matcher, Pour, Reply, Rule, Seen, journal::Journal, rules::Word, wire::RawReply};
use crate::http_client::HttpClient;

/// The loss of a connection, which ends without a reply.
#[derive(Debug)]
pub(super) struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is lost")
    }
}

impl std::error::Error for Lost {}

type ProxyResponse = Response<BoxBody<Bytes, Lost>>;

/// The rules, the journal and the way to the other side.
#[derive(Debug)]
pub(super) struct Exchange {
    upstream: Uri,
    client: HttpClient,
    rules: Mutex<Vec<Rule>>,
    journal: Journal,
}

impl Exchange {
    pub(super) fn new(upstream: &str, ca_pem: Option<&str>) -> Result<Self> {
        let upstream = upstream.parse().with_context(|| format!("{upstream} is not a URL"))?;
        let client = HttpClient::new(ca_pem)?;
        Ok(Self { upstream, client, rules: Mutex::default(), journal: Journal::default() })
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn add_rule(&self, matcher: Matcher, fault: Fault, times: usize) -> Rule {
        let rule = Rule::new(matcher, fault, times);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|rule| !rule.is_spent());
        rules.push(rule.clone());
        rule
    }

    fn rule_for(&self, seen: &Seen) -> Option<(Rule, Fault)> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter().find_map(|rule| Some((rule.clone(), rule.take(seen)?)))
    }

    /// Replies to a request. The connection drops this future when the sender is gone.
    pub(super) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        raw: RawReply,
    ) -> Result<ProxyResponse, Lost> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let seen = Seen { method: head.method, path, headers: head.headers, body };
        let matched = self.rule_for(&seen);
        let number = self.journal.received(&seen, matched.as_ref().map(|(_, fault)| format!("{fault:?}")));
        let call = Call { exchange: self, seen, number };
        match matched {
            None => call.forward().await.map(stream),
            Some((rule, fault)) => call.broken(&rule, fault, &raw).await,
        }
    }
}

/// A request that is on its way.
#[derive(Clone)]
struct Call {
    exchange: Arc<Exchange>,
    seen: Seen,
    number: usize,
}

impl Call {
    async fn broken(self, rule: &Rule, fault: Fault, raw: &RawReply) -> Result<ProxyResponse, Lost> {
        match fault {
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.forward().await.map(stream)
            }
            Fault::Late(delay) => {
                let late = tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    self.forward().await
                });
                late.await.map_err(|_| Lost)?.map(stream)
            }
            Fault::Hold => match rule.wait_for_release(&self.seen).await {
                Word::Release => self.forward().await.map(stream),
                Word::Lose => Err(Lost),
            },
            Fault::HoldReply => {
                let reply = self.clone().forward_whole().await?;
                match rule.wait_for_release(&self.seen).await {
                    Word::Release => Ok(whole(reply)),
                    Word::Lose => Err(Lost),
                }
            }
            Fault::Respond(reply) => made_up(reply),
            Fault::Compute(responder) => made_up(responder.reply(&self.seen)),
            Fault::ForwardThenRespond(reply) => {
                self.forward_whole().await?;
                made_up(reply)
            }
            Fault::LoseBefore => Err(Lost),
            Fault::ForwardThenLose => {
                self.forward_whole().await?;
                Err(Lost)
            }
            Fault::Truncate => {
                raw.set(Pour { first: half(&self.forward_whole().await?), ..Pour::default() });
                Ok(Response::default())
            }
            Fault::Pour(pour) => {
                raw.set(pour);
                Ok(Response::default())
            }
            Fault::Garbage(first) => {
                raw.set(Pour { first, ..Pour::default() });
                Ok(Response::default())
            }
            Fault::Cut(after) => self.forward().await.map(|reply| broken_off(reply, after, Break::Ends)),
            Fault::Freeze(after) => self.forward().await.map(|reply| broken_off(reply, after, Break::Hangs)),
            Fault::Lag(delay) => self.forward().await.map(|reply| lagging(reply, delay)),
        }
    }

    /// Sends the request on, in a task of its own: it arrives regardless of what happens to its
    /// sender.
    async fn forward(self) -> Result<Response<Incoming>, Lost> {
        tokio::spawn(self.forward_here()).await.map_err(|_| Lost)?
    }

    async fn forward_whole(self) -> Result<Response<Bytes>, Lost> {
        let forwarding = tokio::spawn(async move {
            let (head, body) = self.forward_here().await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await.map_err(|_| Lost)?.to_bytes()))
        });
        forwarding.await.map_err(|_| Lost)?
    }

    async fn forward_here(self) -> Result<Response<Incoming>, Lost> {
        let mut parts = self.exchange.upstream.clone().into_parts();
        parts.path_and_query = Some(self.seen.path.parse().map_err(|_| Lost)?);
        let mut request = Request::new(Full::new(self.seen.body));
        *request.method_mut() = self.seen.method;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Lost)?;
        *request.headers_mut() = self.seen.headers;
        request.headers_mut().remove(header::HOST);
        remove_hop_by_hop(request.headers_mut());
        self.exchange.journal.forwarded(self.number);
        let mut response = self.exchange.client.send(request).await.map_err(|_| Lost)?;
        self.exchange.journal.responded(self.number, response.status());
        remove_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::TRAILER, header::UPGRADE] {
        headers.remove(name);
    }
}

fn stream(response: Response<Incoming>) -> ProxyResponse {
    response.map(|body| body.map_err(|_| Lost).boxed())
}

/// The way in which a reply breaks off.
#[derive(Clone, Copy)]
enum Break {
    Ends,
    Hangs,
}

/// Streams a reply, of which nothing comes through any more some time after it has begun.
fn broken_off(response: Response<Incoming>, after: Duration, how: Break) -> ProxyResponse {
    let end = tokio::time::Instant::now() + after;
    let parts = move |state: Option<Incoming>| async move {
        let mut body = state?;
        let part = tokio::time::timeout_at(end, body.frame()).await.ok();
        // The parts that are there at once pass regardless of the time.
        match part.filter(|_| tokio::time::Instant::now() < end) {
            Some(part) => Some((part?.map_err(|_| Lost), Some(body))),
            None => match how {
                Break::Ends => Some((Err(Lost), None)),
                Break::Hangs => std::future::pending().await,
            },
        }
    };
    response.map(|body| BodyExt::boxed(StreamBody::new(futures::stream::unfold(Some(body), parts))))
}

/// Streams a reply, each part of it late.
fn lagging(response: Response<Incoming>, delay: Duration) -> ProxyResponse {
    let parts = move |mut body: Incoming| async move {
        let part = body.frame().await?;
        tokio::time::sleep(delay).await;
        Some((part.map_err(|_| Lost), body))
    };
    response.map(|body| BodyExt::boxed(StreamBody::new(futures::stream::unfold(body, parts))))
}

fn whole(response: Response<Bytes>) -> ProxyResponse {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

fn made_up(reply: Reply) -> Result<ProxyResponse, Lost> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body).map(whole).map_err(|_| Lost)
}

/// A reply as bytes, its body cut in the middle.
fn half(response: &Response<Bytes>) -> Bytes {
    let body = response.body();
    let mut text = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", response.status(), body.len().max(1));
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH {
            text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body.get(..body.len() / 2).unwrap_or_default());
    bytes.into()
}
