//! A proxy that injects faults on request, and records every request.
//!
//! It is used before the emulator and before the API server alike. It accepts HTTP/1.1, sends http
//! or https, passes headers on, reads requests whole, and streams replies (so that watches work). A
//! request that was forwarded reaches the other side even if its sender is gone by then, as on a
//! real network.

mod exchange;
mod journal;
mod rules;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use anyhow::Result;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Mutex,
    task::{JoinHandle, JoinSet},
};

use self::{exchange::Exchange, wire::Wire};
pub use self::{
    journal::{Recorded, ResetCount, Seen},
    rules::{Fault, Held, Matcher, Pour, Reply, Responder, Rule},
};
use crate::port::{Listener, Port};

/// The proxy. It stops when dropped, and every connection with it.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    exchange: Arc<Exchange>,
    /// The task that accepts connections, while the port is open.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl FaultProxy {
    /// Starts a proxy before `upstream` (`http://…` or `https://…`, then with the authority to
    /// trust).
    ///
    /// # Errors
    /// When the upstream is not a URL, the authority is not PEM, or there is no free port.
    pub async fn start(upstream: &str, ca_pem: Option<&str>) -> Result<Self> {
        let proxy = Self::reserve(upstream, ca_pem)?;
        proxy.open().await?;
        Ok(proxy)
    }

    /// Like [`start`](Self::start), but connections are refused until [`open`](Self::open).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn reserve(upstream: &str, ca_pem: Option<&str>) -> Result<Self> {
        let exchange = Arc::new(Exchange::new(upstream, ca_pem)?);
        Ok(Self { port: Port::reserve()?, exchange, accepting: Mutex::new(None) })
    }

    /// Takes connections (again), on the same address.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn open(&self) -> Result<()> {
        let mut accepting = self.accepting.lock().await;
        if accepting.is_none() {
            *accepting = Some(accept(self.port.listen()?, &self.exchange));
        }
        Ok(())
    }

    /// Refuses connections from now on, and cuts those that exist.
    pub async fn close(&self) {
        if let Some(accepting) = self.accepting.lock().await.take() {
            accepting.abort();
            // The listener is gone when this ends: the kernel refuses connections from then on.
            let _ = accepting.await;
        }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Breaks every request that matches. The first rule that was added and still holds decides.
    pub fn always(&self, matcher: Matcher, fault: Fault) -> Rule {
        self.exchange.add_rule(matcher, fault, usize::MAX)
    }

    /// Breaks the next request that matches.
    pub fn once(&self, matcher: Matcher, fault: Fault) -> Rule {
        self.exchange.add_rule(matcher, fault, 1)
    }

    /// Breaks the next `count` requests that match.
    pub fn times(&self, count: usize, matcher: Matcher, fault: Fault) -> Rule {
        self.exchange.add_rule(matcher, fault, count)
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.exchange.journal().requests()
    }

    /// The requests of one AWS operation, such as `AdminGetUser`.
    #[must_use]
    pub fn operation(&self, operation: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.seen.operation() == Some(operation)).collect()
    }

    /// Returns the counts of the resets, by pool and username.
    #[must_use]
    pub fn resets(&self) -> BTreeMap<(String, String), ResetCount> {
        self.exchange.journal().resets()
    }

    /// Returns the counts of one user's resets.
    #[must_use]
    pub fn resets_of(&self, pool: &str, username: &str) -> ResetCount {
        self.resets().remove(&(pool.to_owned(), username.to_owned())).unwrap_or_default()
    }

    /// Returns the number of resets of users of this name in all pools that arrived.
    #[must_use]
    pub fn resets_of_user(&self, username: &str) -> usize {
        let resets = self.resets();
        resets.iter().filter(|((_, user), _)| user == username).map(|(_, count)| count.received).sum()
    }

    /// Takes the requests that came before `end` out of the journal. What becomes of them later is
    /// not noted any more.
    #[must_use]
    pub fn take_before(&self, end: Instant) -> Vec<Recorded> {
        self.exchange.journal().take_before(end)
    }

    /// Forgets the requests so far, not the rules.
    pub fn forget(&self) {
        self.exchange.journal().forget();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.get_mut() {
            accepting.abort();
        }
    }
}

/// Accepts until aborted; the connections end with it.
fn accept(listener: Listener, exchange: &Arc<Exchange>) -> JoinHandle<()> {
    let exchange = Arc::clone(exchange);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok(stream) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&exchange)));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn serve(stream: TcpStream, exchange: Arc<Exchange>) {
    let _ = stream.set_nodelay(true);
    let (wire, raw) = Wire::new(stream);
    let service = service_fn(move |request| Arc::clone(&exchange).respond(request, raw.clone()));
    // An error here is a connection that was lost, by a fault or by its peer.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
}
