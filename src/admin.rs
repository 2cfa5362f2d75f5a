//! `/livez`, `/readyz` and `/metrics` on one port.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::{net::TcpListener, sync::watch};

use crate::{lease::Leadership, metrics::Metrics};

/// What the endpoints tell of.
#[derive(Clone, Debug)]
pub struct Health {
    ready: Arc<AtomicBool>,
    leadership: watch::Receiver<Leadership>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(leadership: watch::Receiver<Leadership>, metrics: Arc<Metrics>) -> Self {
        Self { ready: Arc::default(), leadership, metrics }
    }

    /// Whether the operator can work on requests, should it be the leader.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

/// Listens on the address, so that a port in use is told at the start.
///
/// # Errors
/// Where the address cannot be bound.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process ends.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).await
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    if !health.ready.load(Ordering::Relaxed) {
        let text = "not ready: the grants and namespaces are not read yet, or the operator is stopping\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let leadership = *health.leadership.borrow();
    let status = match leadership {
        Leadership::Leader | Leadership::Standby => StatusCode::OK,
        Leadership::NoLeaderSeen => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", leadership.as_str()))
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.metrics.text() {
        Ok(text) => {
            let type_ = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (type_, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
