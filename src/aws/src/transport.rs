//! Sends requests to AWS: the SDK's own HTTP client with its proxies, the configured certificate
//! authorities, a limit on the size of a response, a name in the User-Agent, and a witness that
//! observes whether a request was handed over.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use aws_sdk_cognitoidentityprovider::error::BoxError;
use aws_smithy_http_client::{Builder, ConnectorBuilder, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use cognito_reset_api::FailureCause;
use http_body_util::Limited;
use hyper_util::client::legacy::Error as ClientError;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;

/// The maximum number of bytes that are read of a response's body. The longest response of Cognito,
/// a user with 67 attributes of 2,048 characters each, is shorter even if every character is an
/// escape of six bytes.
pub const MAX_RESPONSE: usize = 1 << 20;

/// The maximum length of an error text in the log, in characters.
const MAX_TEXT: usize = 1000;

/// The name of this program, in the format of the SDK for an application name. The SDK's own
/// setting does not cover the requests that load credentials.
const APPLICATION: &str = concat!("app/cognito-reset-operator-", env!("CARGO_PKG_VERSION"));

/// An error about a file of certificate authorities.
#[derive(Debug, Error)]
#[error("failed to start: {source_name} names {}, {cause}; give a file of PEM certificates", .path.display())]
pub struct CaBundleError {
    source_name: &'static str,
    path: PathBuf,
    cause: String,
}

/// Returns the SDK's own HTTP client, which adds the name of this program to requests and reads at
/// most [`MAX_RESPONSE`] bytes of a response.
///
/// If a file of certificate authorities is given, it replaces the system's authorities, as in other
/// SDKs of AWS.
///
/// # Errors
/// Returns an error if the file cannot be read, or contains no usable certificate.
pub fn client(ca_bundle: Option<(&'static str, &Path)>) -> Result<SharedHttpClient, CaBundleError> {
    let mut context = tls::TlsContext::builder();
    if let Some((source_name, path)) = ca_bundle {
        let refused = |cause: String| CaBundleError { source_name, path: path.to_owned(), cause };
        let pem = std::fs::read(path).map_err(|error| refused(format!("which cannot be read ({error})")))?;
        check_certificates(&pem).map_err(refused)?;
        context = context.with_trust_store(tls::TrustStore::empty().with_pem_certificate(pem));
    }
    // Building the context cannot fail with the options that are set here.
    let context = context.build().unwrap_or_default();
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let mut connector = ConnectorBuilder::default().tls_provider(provider).tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    });
    Ok(SharedHttpClient::new(Wrapped { inner: with_body_limit(client), wrap: UserAgent }))
}

/// Checks that the file has certificates and that each can be parsed. The client assumes both.
fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "which is not PEM".to_owned())?;
        roots.add(certificate).map_err(|error| format!("which has a certificate that cannot be used ({error})"))?;
    }
    if roots.is_empty() { Err("which has no certificate".to_owned()) } else { Ok(()) }
}

/// Wraps a client so that a response longer than [`MAX_RESPONSE`] bytes fails, as if the connection
/// were lost.
#[must_use]
pub fn with_body_limit(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Wrapped { inner: client, wrap: BodyLimit })
}

/// Returns a client for one call, and the witness of its request.
#[must_use]
pub(super) fn witnessed(client: SharedHttpClient) -> (SharedHttpClient, Witness) {
    let witness = Witness::default();
    (SharedHttpClient::new(Wrapped { inner: client, wrap: witness.clone() }), witness)
}

/// Observes whether the request of a call was handed to the transport, and if it was not, or if no
/// connection was made for it, the cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    handed_over: OnceLock<()>,
    not_connected: OnceLock<FailureCause>,
}

impl Witness {
    /// Returns the cause why nothing can have been sent; `None` if something may have been sent.
    ///
    /// Once the call has ended, nothing is handed over any more, because the call owns the future
    /// that does it.
    pub(super) fn not_sent(&self) -> Option<FailureCause> {
        match (self.0.handed_over.get(), self.0.not_connected.get()) {
            (None, _) => Some(FailureCause::Request),
            (Some(()), not_connected) => not_connected.copied(),
        }
    }
}

/// The additional behaviour of a connector that wraps another one.
trait Wrap: Clone + std::fmt::Debug + Send + Sync + 'static {
    fn call(&self, inner: &SharedHttpConnector, request: HttpRequest) -> HttpConnectorFuture;
}

#[derive(Clone, Debug)]
struct BodyLimit;

impl Wrap for BodyLimit {
    fn call(&self, inner: &SharedHttpConnector, request: HttpRequest) -> HttpConnectorFuture {
        let call = inner.call(request);
        HttpConnectorFuture::new(async move {
            let mut response: HttpResponse = call.await?;
            let body = Limited::new(response.take_body(), MAX_RESPONSE);
            *response.body_mut() = SdkBody::from_body_1_x(body);
            Ok(response)
        })
    }
}

/// Adds the name of this program to the User-Agent, which no signature covers, unless the
/// environment sets one.
#[derive(Clone, Debug)]
struct UserAgent;

impl Wrap for UserAgent {
    fn call(&self, inner: &SharedHttpConnector, mut request: HttpRequest) -> HttpConnectorFuture {
        let agent = request.headers().get("user-agent").filter(|agent| !agent.contains(" app/"));
        if let Some(named) = agent.map(|agent| format!("{agent} {APPLICATION}")) {
            request.headers_mut().insert("user-agent", named);
        }
        inner.call(request)
    }
}

impl Wrap for Witness {
    fn call(&self, inner: &SharedHttpConnector, request: HttpRequest) -> HttpConnectorFuture {
        // A request that the transport would refuse to take is refused before it counts as handed
        // over.
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()));
        let request =
            match request.and_then(|it| HttpRequest::try_from(it).map_err(|it| ConnectorError::user(it.into()))) {
                Ok(request) => request,
                Err(error) => return HttpConnectorFuture::ready(Err(error)),
            };
        // A value that is already set has the same meaning.
        let _ = self.0.handed_over.set(());
        let call = inner.call(request);
        let state = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            call.await.inspect_err(|error| {
                if let Some(cause) = never_connected(error) {
                    let _ = state.not_connected.set(cause);
                }
            })
        })
    }
}

#[derive(Debug)]
struct Wrapped<T, W> {
    inner: T,
    wrap: W,
}

impl<W: Wrap> HttpClient for Wrapped<SharedHttpClient, W> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Wrapped { inner, wrap: self.wrap.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        settings: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, settings)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, settings: &ConfigBag) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, settings)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

impl<W: Wrap> HttpConnector for Wrapped<SharedHttpConnector, W> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.wrap.call(&self.inner, request)
    }
}

/// Returns the cause why no connection was made, if the failure occurred while connecting, so that
/// no request can have been sent.
fn never_connected(error: &(dyn StdError + 'static)) -> Option<FailureCause> {
    let while_connecting =
        sources(error).filter_map(|error| error.downcast_ref::<ClientError>()).any(ClientError::is_connect);
    while_connecting.then(|| cause_of(error))
}

/// Returns the cause of a failed connection.
pub(super) fn cause_of(error: &(dyn StdError + 'static)) -> FailureCause {
    sources(error).filter_map(cause_named_by).last().unwrap_or(FailureCause::Network)
}

/// Returns the cause that a single error of a chain names. The innermost error that names a cause
/// is the most precise.
fn cause_named_by(error: &(dyn StdError + 'static)) -> Option<FailureCause> {
    if error.is::<rustls::Error>() {
        return Some(FailureCause::Tls);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(FailureCause::Refused),
            io::ErrorKind::TimedOut => Some(FailureCause::TimedOut),
            _ => None,
        };
    }
    // Private types of other crates are recognized by their texts, which the tests check.
    let text = error.to_string();
    match text.as_str() {
        "dns error" => Some(FailureCause::Dns),
        _ if text.starts_with("HTTP connect timeout") => Some(FailureCause::TimedOut),
        _ if text.starts_with("tunnel error") => Some(FailureCause::Proxy),
        _ => None,
    }
}

/// Describes an error and its causes, for the log. The text is truncated, because a server may have
/// written most of it.
pub(super) fn described(error: &(dyn StdError + 'static)) -> String {
    let whole = sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    whole.chars().take(MAX_TEXT).collect()
}

/// Returns an error and its causes, including the errors that an `io::Error` wraps.
pub(super) fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> + Clone {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}
