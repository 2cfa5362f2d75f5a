//! Cognito at the other end of a wire that is not a network: the production port with its SDK,
//! hyper, and any bytes. Only the calls to an endpoint without a server use the network.

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use cognito_reset_aws::{
    client::{Aws, AwsSession, Timeouts},
    transport::with_body_limit,
};
use cognito_reset_core::action::port::{Access, Cognito, Purpose, ReadError, Reply, User, UserRef};
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::{Builder, Runtime},
};

/// A reply as the SDK received it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The result of a call.
#[derive(Debug)]
pub struct Call<T> {
    /// The port's reading of the reply.
    pub result: T,
    /// The reply as the SDK received it; `None` if it could not be read as HTTP.
    pub seen: Option<Seen>,
    /// The number of HTTP requests that were sent.
    pub requests: usize,
}

/// Calls AdminResetUserPassword, and responds with these bytes.
pub fn reset(bytes: &[u8]) -> Call<Reply> {
    call(bytes, async |port, session| port.reset(session, USER, None).await)
}

/// Calls in a Region of this name.
pub fn reset_in(region: &str, bytes: &[u8]) -> Call<Reply> {
    let access = access(region);
    call(bytes, async |port, _| {
        let session = port.session(&access).await.unwrap();
        port.reset(&session, USER, None).await
    })
}

/// Calls AdminResetUserPassword by the SDK's own HTTP client, at an endpoint of this machine.
pub fn reset_at(endpoint: &str) -> Reply {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = {
            let endpoint = endpoint.to_owned();
            Aws::load(move || loader().endpoint_url(endpoint.clone()), TIMEOUTS).await.unwrap()
        };
        let session = port.session(&access("eu-west-1")).await.unwrap();
        port.reset(&session, USER, None).await
    })
}

/// Calls AdminGetUser, and responds with these bytes.
pub fn user(bytes: &[u8]) -> Call<Result<User, ReadError>> {
    call(bytes, async |port, session| port.user(session, USER).await)
}

const USER: UserRef<'_> = UserRef { pool: "eu-west-1_Example01", username: "alice-smith" };

const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: Timeouts = Timeouts { connect: TIMEOUT, call: TIMEOUT, read: TIMEOUT };

fn loader() -> ConfigLoader {
    // The settings of the user who runs the tests do not apply to these calls.
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .empty_test_environment()
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "fuzz"))
}

fn access(region: &str) -> Access {
    let purpose = Purpose::Reset { namespace: "team-a".into(), name: "reset-alice".into(), uid: "uid".into() };
    Access { region: region.into(), role: None, purpose }
}

/// One port for all calls, as the operator has one.
struct Bench {
    runtime: Runtime,
    wire: Wire,
    port: Aws,
    session: AwsSession,
}

static BENCH: LazyLock<Mutex<Bench>> = LazyLock::new(|| Mutex::new(Bench::new()));

fn call<T>(bytes: &[u8], send: impl AsyncFnOnce(&Aws, &AwsSession) -> T) -> Call<T> {
    // A failed check leaves no state that affects the next call.
    let bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    *bench.wire.line() = Line { reply: bytes.into(), seen: None, requests: 0 };
    let result = bench.runtime.block_on(send(&bench.port, &bench.session));
    let line = bench.wire.line();
    Call { result, seen: line.seen.clone(), requests: line.requests }
}

impl Bench {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let wire = Wire::default();
        let connector = SharedHttpConnector::new(wire.clone());
        let client = with_body_limit(http_client_fn(move |_, _| connector.clone()));
        let loader = move || loader().http_client(client.clone());
        let (port, session) = runtime.block_on(async {
            let port = Aws::load(loader, TIMEOUTS).await.unwrap();
            let session = port.session(&access("eu-west-1")).await.unwrap();
            (port, session)
        });
        Self { runtime, wire, port, session }
    }
}

/// Takes the place of the SDK's HTTP client.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    reply: Arc<[u8]>,
    seen: Option<Seen>,
    requests: usize,
}

impl Wire {
    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let (near, far) = duplex(1 << 16);
        let reply = {
            let mut line = self.line();
            line.requests += 1;
            Arc::clone(&line.reply)
        };
        tokio::spawn(serve(far, reply));
        let lost = |error: hyper::Error| ConnectorError::io(error.into());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.map_err(lost)?;
        tokio::spawn(connection);
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = sender.send_request(request).await.map_err(lost)?.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        let seen = Seen { status: head.status.as_u16(), headers: head.headers.clone(), body: body.clone() };
        let whole = Full::new(body).map_err(|never: Infallible| match never {});
        // The conversion fails for a header that is no text.
        let response = HttpResponse::try_from(http::Response::from_parts(head, SdkBody::from_body_1_x(whole)))
            .map_err(|error| ConnectorError::other(error.into(), None))?;
        self.line().seen = Some(seen);
        Ok(response)
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

/// Waits for the request, sends the bytes, and closes the connection. It ignores that the other end
/// may be gone.
async fn serve(mut stream: DuplexStream, reply: Arc<[u8]>) {
    let _ = stream.read(&mut [0; 1 << 12]).await;
    let _ = stream.write_all(&reply).await;
    let _ = stream.shutdown().await;
}
