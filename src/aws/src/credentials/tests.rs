use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};

use super::*;

fn credentials(key: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(key, secret, token.map(Into::into), None, "test")
}

#[test]
fn unusable_credentials_are_reported_without_their_value() {
    for (key, secret, token, wanted) in [
        ("AKIATEST", "secret/+=", None, None),
        ("AKIATEST", "secret", Some("token=="), None),
        ("AKIATEST\n", "secret", None, Some("character 9 of 9 of the access key id")),
        ("AKIATEST\n ", "secret", None, Some("character 9 of 10 of the access key id")),
        (" AKIATEST", "secret", None, Some("character 1 of 9 of the access key id")),
        ("AKIATEST", "s3cr3t\r\n", None, Some("character 7 of 8 of the secret access key")),
        ("AKIATEST", "s3cr3t", Some("t0k\u{e9}n"), Some("character 4 of 5 of the session token")),
        ("AKIATEST", "s3cr3t", Some("t0k\0n"), Some("character 4 of 5 of the session token")),
        ("", "secret", None, Some("the access key id is empty")),
    ] {
        let found = misfit(&credentials(key, secret, token));
        match wanted {
            None => assert_eq!(found, None, "{key:?}"),
            Some(wanted) => {
                let found = found.unwrap();
                assert!(
                    found.starts_with(wanted)
                        && !found.contains("AKIA")
                        && !found.contains("t0k")
                        && !found.contains("s3cr"),
                    "{found}"
                );
            }
        }
    }
}

#[test]
fn a_response_of_sts_says_what_has_to_be_fixed() {
    use SessionFailure::{AccessDenied, CredentialsRefused, Rejected, TagsTooLarge};
    for (code, wanted) in [
        ("InvalidClientTokenId", CredentialsRefused),
        ("SignatureDoesNotMatch", CredentialsRefused),
        ("ExpiredToken", CredentialsRefused),
        ("ExpiredTokenException", CredentialsRefused),
        ("UnrecognizedClientException", CredentialsRefused),
        ("InvalidSignatureException", CredentialsRefused),
        ("AccessDenied", AccessDenied),
        ("PackedPolicyTooLarge", TagsTooLarge),
        ("PackedPolicyTooLargeException", TagsTooLarge),
        ("RegionDisabledException", Rejected),
        ("Throttling", Rejected),
    ] {
        assert_eq!(failure_of_code(code), wanted, "{code}");
    }
}

#[test]
fn longest_names_fit_into_a_session_and_role_checks_are_as_long() {
    let longest = format!("{}.{}", "a".repeat(126), "b-0".repeat(42));
    let uid = "00000000-0000-4000-8000-000000000000".to_owned();
    let reset = Purpose::Reset { namespace: "n".repeat(63), name: longest.clone(), uid: uid.clone() };
    for trial in [
        Purpose::RoleCheck { grant: longest, uid: uid.clone() },
        Purpose::RoleCheck { grant: "short".into(), uid: uid.clone() },
    ] {
        for which in [SessionTags::Full, SessionTags::Uid, SessionTags::None] {
            let lengths = |purpose| -> Vec<_> {
                session_tags(purpose, which).into_iter().map(|(key, value)| (key, value.len())).collect()
            };
            assert_eq!(lengths(&trial), lengths(&reset), "{which:?}");
        }
        for purpose in [&reset, &trial] {
            let name = session_name(purpose);
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
            assert!((2..=64).contains(&name.len()) && name.bytes().all(of_name), "{name}");
            for (key, value) in session_tags(purpose, SessionTags::Full) {
                assert!(key.len() <= 128 && (1..=MAX_TAG).contains(&value.len()), "{key}={value}");
                let of_tag = |byte: u8| of_name(byte) || b" :/".contains(&byte);
                assert!(key.bytes().chain(value.bytes()).all(of_tag), "{key}={value}");
            }
        }
    }
}

#[test]
fn a_request_chooses_no_more_tags_than_its_grant_lets_it_have() {
    let reset = Purpose::Reset { namespace: "support".into(), name: "reset".into(), uid: "7".into() };
    let keys = |which| -> Vec<_> { session_tags(&reset, which).into_iter().map(|(key, _)| key).collect() };
    assert_eq!(
        keys(SessionTags::Full),
        ["cognito-reset.dev/namespace", "cognito-reset.dev/name", "cognito-reset.dev/uid"]
    );
    assert_eq!(keys(SessionTags::Uid), ["cognito-reset.dev/uid"]);
    assert!(keys(SessionTags::None).is_empty());
}

/// A chain that returns a new key each time it runs.
fn counting() -> (OwnCredentials, Arc<AtomicUsize>) {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let loader: Loader = Arc::new(move || {
        let counted = Arc::clone(&counted);
        let key = format!("key-{}", counted.fetch_add(1, Ordering::SeqCst));
        let provider = SharedCredentialsProvider::new(credentials(&key, "secret", None));
        aws_config::defaults(BehaviorVersion::v2026_01_12()).credentials_provider(provider)
    });
    (OwnCredentials::new(loader, Duration::from_secs(60), Duration::from_secs(60)), loads)
}

#[tokio::test]
async fn credentials_are_loaded_once_and_again_after_a_refusal() {
    let (own, loads) = counting();
    let all = futures::future::join_all((0..16).map(|_| own.get("eu-west-1"))).await;
    let first = all.into_iter().map(Result::unwrap).next().unwrap();
    assert_eq!((first.access_key_id(), loads.load(Ordering::SeqCst)), ("key-0", 1));
    own.refused(&credentials("another", "secret", None));
    assert_eq!(own.get("eu-west-1").await.unwrap().access_key_id(), "key-0");
    own.refused(&first);
    assert_eq!(own.get("eu-west-1").await.unwrap().access_key_id(), "key-1");
    // A late refusal is about credentials that are already dropped.
    own.refused(&first);
    assert_eq!(own.get("eu-west-1").await.unwrap().access_key_id(), "key-1");
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_load_that_fails_is_not_kept() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let loader: Loader = Arc::new(move || {
        let key = if counted.fetch_add(1, Ordering::SeqCst) == 0 { "broken\n" } else { "key" };
        let provider = SharedCredentialsProvider::new(credentials(key, "secret", None));
        aws_config::defaults(BehaviorVersion::v2026_01_12()).credentials_provider(provider)
    });
    let own = OwnCredentials::new(loader, Duration::from_secs(60), Duration::from_secs(60));
    assert_eq!(own.get("eu-west-1").await.unwrap_err().failure, SessionFailure::Malformed);
    assert_eq!(own.get("eu-west-1").await.unwrap().access_key_id(), "key");
}

/// A provider that connects and never responds.
#[derive(Debug)]
struct Hanging;

impl ProvideCredentials for Hanging {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_provider_delays_all_that_wait_by_one_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let loader: Loader = Arc::new(|| {
        let provider = SharedCredentialsProvider::new(Hanging);
        aws_config::defaults(BehaviorVersion::v2026_01_12()).credentials_provider(provider)
    });
    let own = OwnCredentials::new(loader, TIMEOUT, Duration::from_secs(60));
    let begun = tokio::time::Instant::now();
    let wait = async |region| own.get(region).await.unwrap_err().failure;
    let regions = ["eu-west-1", "us-east-1"].into_iter().cycle().take(16);
    let all = futures::future::join_all(regions.map(wait)).await;
    assert!(all.iter().all(|failure| *failure == SessionFailure::NoResponse), "{all:?}");
    assert!(begun.elapsed() < TIMEOUT * 2, "they waited one after the other: {:?}", begun.elapsed());
    // The next one begins a load of its own.
    assert_eq!(wait("eu-west-1").await, SessionFailure::NoResponse);
}

/// A connection whose server never responds.
#[derive(Clone, Debug)]
struct Silent;

impl HttpClient for Silent {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for Silent {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_of_an_sts_call_is_classified_as_no_response() {
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(5)).build();
    let base = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .credentials_provider(SharedCredentialsProvider::new(credentials("key", "secret", None)))
        .region(Region::new("eu-west-1"))
        .http_client(SharedHttpClient::new(Silent))
        .timeout_config(timeouts)
        .load()
        .await;
    let arn = "arn:aws:iam::123456789012:role/reset".to_owned();
    let role = Role { arn, external_id: None, session_tags: SessionTags::None };
    let purpose = Purpose::RoleCheck { grant: "everyone".into(), uid: "7".into() };
    let own = credentials("key", "secret", None);
    let longer = Duration::from_secs(60);
    let error = assume(&base, "eu-west-1", own, &role, &purpose, longer).await.unwrap_err();
    assert_eq!(error.failure, SessionFailure::NoResponse, "{error}");
    assert!(error.detail.contains("timeout"), "not by the timeout of the SDK: {error}");
}

#[test]
fn failure_without_a_timeout_is_not_classified_as_no_response() {
    let failure = |error: SdkError<AssumeRoleError, HttpResponse>| failure_of(&CredentialsError::provider_error(error));
    assert_eq!(failure(SdkError::timeout_error("made up by the test")), SessionFailure::NoResponse);
    assert_eq!(failure(SdkError::construction_failure("made up by the test")), SessionFailure::Other);
    let text = CredentialsError::provider_error("request has timed out");
    assert_eq!(failure_of(&text), SessionFailure::Other, "only the type counts");
}
