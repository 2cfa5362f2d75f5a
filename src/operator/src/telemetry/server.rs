//! Serves `/livez`, `/readyz` and `/metrics` on one port.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use cognito_reset_core::refusal::Refuser;
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    cli::Listen,
    kube::{lease::Leadership, requests::ApiRequests},
    tasks::TaskError,
    telemetry::exposition::Format,
};

/// The name of the task that serves.
pub(crate) const TASK: &str = "http-server";
/// The number of liveness timeouts for which a process lives that holds effects.
const LONGER_WITH_EFFECTS: u32 = 12;

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The progress of the operator.
#[derive(Clone, Debug)]
enum Phase {
    Checking,
    Reading,
    Serving { leadership: watch::Receiver<Leadership>, lease_refuser: watch::Receiver<Option<Refuser>>, checks: Checks },
    Stopping,
}

/// Checks that are made when a page is read.
#[derive(Clone)]
pub(crate) struct Checks {
    /// Returns true if grants and holds are being confirmed.
    pub(crate) are_grants_confirmed: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Returns true if this process alone knows the effect of a call.
    pub(crate) holds_effects: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { are_grants_confirmed, holds_effects } = self;
        let mut checks = f.debug_struct("Checks");
        checks.field("are_grants_confirmed", &are_grants_confirmed());
        checks.field("holds_effects", &holds_effects()).finish()
    }
}

/// The state that the endpoints report.
#[derive(Clone, Debug)]
pub struct Health {
    phase: watch::Sender<Phase>,
    registry: Arc<Registry>,
    api: ApiRequests,
    /// The maximum time without a response of the API server.
    liveness_timeout: Duration,
}

impl Health {
    /// Creates the state of an operator that checks the cluster, and that serves these metrics.
    #[must_use]
    pub fn new(registry: Arc<Registry>, api: ApiRequests, liveness_timeout: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Checking), registry, api, liveness_timeout }
    }

    /// Records that the cluster check passed, and that grants and namespaces are being read.
    pub(crate) fn reading(&self) {
        self.phase.send_replace(Phase::Reading);
    }

    /// Records that the operator can work on requests if it is the leader. A rejected Lease may
    /// prevent that.
    pub(crate) fn serving(
        &self,
        leadership: watch::Receiver<Leadership>,
        lease_refuser: watch::Receiver<Option<Refuser>>,
        checks: Checks,
    ) {
        self.phase.send_replace(Phase::Serving { leadership, lease_refuser, checks });
    }

    /// Records that the operator accepts no more work.
    pub(crate) fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// Returns the response of `/livez`. A certificate authority that was replaced is read only at
    /// the start, so that a restart ends a silence that nothing else would end. A restart would
    /// lose an effect that is known and not stored yet, so it comes later then.
    fn liveness(&self) -> (StatusCode, String) {
        let silence = self.api.since_response();
        let holds_effects = matches!(&*self.phase.borrow(), Phase::Serving { checks, .. } if (checks.holds_effects)());
        let limit = self.liveness_timeout.saturating_mul(if holds_effects { LONGER_WITH_EFFECTS } else { 1 });
        if silence <= limit {
            return (StatusCode::OK, "ok\n".into());
        }
        let text = format!("not alive: no response from the API server for {} s\n", silence.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// Returns the response of `/readyz`.
    fn readiness(&self) -> (StatusCode, String) {
        let no = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
        match &*self.phase.borrow() {
            Phase::Checking => no("not ready: the operator is checking that the cluster has what it needs"),
            Phase::Reading => no("not ready: the grants and namespaces are not read yet"),
            Phase::Stopping => no("not ready: the operator is stopping"),
            Phase::Serving { leadership, lease_refuser, checks } => {
                let leadership = *leadership.borrow();
                match (leadership, &*lease_refuser.borrow()) {
                    (Leadership::Leader, _) if !(checks.are_grants_confirmed)() => {
                        no("not ready: the grants and holds are not confirmed; nothing is sent")
                    }
                    (Leadership::Leader | Leadership::Standby, _) => {
                        (StatusCode::OK, format!("{}\n", leadership.as_str()))
                    }
                    (Leadership::NoLeaderSeen, None) => no(leadership.as_str()),
                    (Leadership::NoLeaderSeen, Some(refuser)) => {
                        no(&format!("{}: the write of the Lease was rejected by {refuser}", leadership.as_str()))
                    }
                }
            }
        }
    }
}

/// Binds the address, so that a port in use is reported at the start.
///
/// # Errors
/// Returns an error if the address cannot be bound.
pub(crate) fn bind(listen: Listen) -> io::Result<TcpListener> {
    match listen {
        Listen::At(address) => bind_at(address),
        Listen::Everywhere(port) => bind_everywhere(port, bind_at),
    }
}

/// Binds one socket for IPv4 and IPv6, or for IPv4 alone if the kernel has no IPv6.
fn bind_everywhere<T>(port: u16, bind_at: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind_at((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if is_without_ipv6(&error) => bind_at((Ipv4Addr::UNSPECIFIED, port).into()),
        bound => bound,
    }
}

/// Returns true if the kernel has no sockets or no addresses of IPv6.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Some kernels are configured to separate the families (net.ipv6.bindv6only).
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until the process ends.
///
/// # Errors
/// Returns an error if the listener fails.
pub(crate) async fn serve(listener: TcpListener, health: Health) -> Result<(), TaskError> {
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(exposition))
        .with_state(health);
    let served = axum::serve(listener, router).await;
    served.map_err(|error| TaskError::Ended { task: TASK, cause: error.to_string() })
}

async fn live(State(health): State<Health>) -> impl IntoResponse {
    health.liveness()
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    health.readiness()
}

async fn exposition(State(health): State<Health>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::negotiate(&headers);
    match format.write(&health.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests;
