use std::sync::atomic::{AtomicUsize, Ordering};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::HttpRequest,
        result::ConnectorError,
    },
    shared::IntoShared,
};

use super::*;

const USER: UserRef<'_> = UserRef { pool: "eu-west-1_Example01", username: "alice-smith" };
const TIMEOUT: Duration = Duration::from_secs(30);

/// The behaviour of the transport with a request.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Fails,
    TimesOut,
    TakesItForUnusable,
    Panics,
}

/// Makes one call with this transport. Returns the response, and the number of requests that the
/// transport received.
async fn reset_by(
    transport: Transport,
    configure: impl Fn(ConfigLoader) -> ConfigLoader + Send + Sync + 'static,
    credentials: Credentials,
    region: &str,
) -> (ResetResponse, usize) {
    let (aws, session, handed) = calling(transport, configure, credentials, region).await;
    (aws.reset(&session, USER, None).await.response, handed.load(Ordering::SeqCst))
}

/// Reads a user with this transport. Returns the error, and the number of requests that the
/// transport received.
async fn read_by(transport: Transport, credentials: Credentials) -> (ReadError, usize) {
    let (aws, session, handed) = calling(transport, |loader| loader, credentials, "eu-west-1").await;
    (aws.user(&session, USER).await.unwrap_err(), handed.load(Ordering::SeqCst))
}

/// Returns the parts of a call with this transport, and the number of requests that it receives.
async fn calling(
    transport: Transport,
    configure: impl Fn(ConfigLoader) -> ConfigLoader + Send + Sync + 'static,
    credentials: Credentials,
    region: &str,
) -> (Aws, AwsSession, Arc<AtomicUsize>) {
    let handed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handed);
    let connect = move |_: HttpRequest| {
        counted.fetch_add(1, Ordering::SeqCst);
        HttpConnectorFuture::new(async move {
            match transport {
                Transport::Fails => Err(ConnectorError::io("reset by peer".into())),
                Transport::TimesOut => Err(ConnectorError::timeout("too late".into())),
                Transport::TakesItForUnusable => Err(ConnectorError::user("not for me".into())),
                Transport::Panics => Err(ConnectorError::other(panicking().into(), None)),
            }
        })
    };
    let connector: SharedHttpConnector = Connect(Arc::new(connect)).into_shared();
    let client = http_client_fn(move |_, _| connector.clone());
    let own = credentials.clone();
    let loader = move || {
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new("eu-west-1"));
        configure(loader.http_client(client.clone()).credentials_provider(own.clone()))
    };
    let timeouts = Timeouts { connect: TIMEOUT, call: TIMEOUT, read: TIMEOUT };
    let aws = Aws::load(loader, timeouts).await.unwrap();
    // The session is built here, because `session` returns none with credentials that no request
    // can carry.
    let session = AwsSession { client: aws.client(region), credentials };
    (aws, session, handed)
}

fn panicking() -> String {
    panic!("a test")
}

struct Connect(Arc<dyn Fn(HttpRequest) -> HttpConnectorFuture + Send + Sync>);

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connect")
    }
}

impl aws_smithy_runtime_api::client::http::HttpConnector for Connect {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        (self.0)(request)
    }
}

fn key(id: &str) -> Credentials {
    Credentials::new(id, "secret", None, None, "test")
}

#[tokio::test]
async fn call_never_handed_to_the_transport_was_not_sent() {
    let not_sent = (ResetResponse::NotSent(FailureCause::Request), 0);
    let plain = |loader: ConfigLoader| loader;
    // The SDK panics while signing.
    assert_eq!(reset_by(Transport::Fails, plain, key("AKIATEST\n"), "eu-west-1").await, not_sent);
    // The endpoint rules reject the Region.
    assert_eq!(reset_by(Transport::Fails, plain, key("AKIATEST"), "no region").await, not_sent);
    for variant in [(|loader: ConfigLoader| loader.use_fips(true)) as fn(ConfigLoader) -> ConfigLoader, |loader| {
        loader.use_dual_stack(true)
    }] {
        let with_endpoint = move |loader| variant(loader).endpoint_url("https://example.com");
        assert_eq!(reset_by(Transport::Fails, with_endpoint, key("AKIATEST"), "eu-west-1").await, not_sent);
    }
    // There is no valid address to send to.
    let nowhere = |loader: ConfigLoader| loader.endpoint_url("::not a url\n");
    assert_eq!(reset_by(Transport::Fails, nowhere, key("AKIATEST"), "eu-west-1").await, not_sent);
}

#[tokio::test]
async fn read_is_not_sent_if_it_was_never_handed_over() {
    let nothing_sent = ReadError::NotSent(FailureCause::Request);
    assert_eq!(read_by(Transport::Fails, key("AKIATEST\n")).await, (nothing_sent, 0));
    // A read whose connection ends is repeated once.
    let ended = ReadError::Connection(FailureCause::Network);
    assert_eq!(read_by(Transport::Fails, key("AKIATEST")).await, (ended, 2));
    assert_eq!(read_by(Transport::Panics, key("AKIATEST")).await, (ReadError::NoResponse, 1));
}

#[tokio::test]
async fn call_handed_over_once_may_have_been_sent() {
    for transport in [Transport::Fails, Transport::TimesOut, Transport::TakesItForUnusable, Transport::Panics] {
        let result = reset_by(transport, |loader| loader, key("AKIATEST"), "eu-west-1").await;
        assert_eq!(result, (ResetResponse::NoResponse, 1), "{transport:?}");
    }
}

#[test]
fn code_that_repeats_the_user_name_is_withheld() {
    for (text, username, wanted) in [
        ("AliceSmithException", "alice.smith", true),
        ("no-alice-smith", "Alice.Smith@example.com", false),
        ("0f-alicesmithexamplecom-9", "Alice.Smith@example.com", true),
        ("UserBlockedException", "user", false),
        ("BrandNewException", "名前", false),
    ] {
        assert_eq!(repeats(text, username), wanted, "{text} {username}");
    }
    let classified = |code| ResetResponse::Exception(Code::parse(code).unwrap());
    assert_eq!(without_name(classified("NoAliceSmithException"), "alice-smith"), classified("Withheld"));
    assert_eq!(without_name(classified("BrandNewException"), "alice-smith"), classified("BrandNewException"));
    assert_eq!(without_name(classified("UserNotFoundException"), "usernotfound"), classified("UserNotFoundException"));
}

#[test]
fn a_text_for_the_log_holds_no_user_name() {
    assert_eq!(without_name_in("tls: UnknownIssuer".into(), "alice"), "tls: UnknownIssuer");
    for text in ["no al for you", "about Alice.Smith"] {
        let username = if text.contains("al ") { "al" } else { "alice-smith" };
        assert_eq!(without_name_in(text.into(), username), "Withheld");
    }
}
