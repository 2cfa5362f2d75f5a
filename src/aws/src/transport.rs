//! How requests leave for AWS: the SDK's own HTTP client with its proxies, the certificate authorities that are configured, a
//! bound on what is read of a response, a name in the User-Agent, and a witness of whether a request was handed over at all.

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

/// The most bytes that are read of a response's body. The longest of Cognito's own, a user with 67 attributes of 2,048
/// characters each, is shorter even where every character takes the six bytes of an escape.
pub const MAX_RESPONSE: usize = 1 << 20;

/// The longest text about an error that is kept for the log, in characters.
const MAX_TEXT: usize = 1000;

/// What this program calls itself, as the SDK writes the name of an application. The SDK has a setting for it, which does not
/// reach the requests that load credentials.
const APPLICATION: &str = concat!("app/cognito-reset-operator-", env!("CARGO_PKG_VERSION"));

/// The certificate authorities of a file cannot be used.
#[derive(Debug, Error)]
#[error("failed to start: {source_name} names {}, {cause}; give a file of PEM certificates", .path.display())]
pub struct CaBundleError {
    source_name: &'static str,
    path: PathBuf,
    cause: String,
}

/// The SDK's own HTTP client, which says whose requests they are and reads no more of a response than [`MAX_RESPONSE`].
///
/// With a file of certificate authorities these are trusted in place of the system's, as other SDKs of AWS do it.
///
/// # Errors
/// Where that file cannot be read, or holds no certificate that can be used.
pub fn client(ca_bundle: Option<(&'static str, &Path)>) -> Result<SharedHttpClient, CaBundleError> {
    let mut context = tls::TlsContext::builder();
    if let Some((source_name, path)) = ca_bundle {
        let refused = |cause: String| CaBundleError { source_name, path: path.to_owned(), cause };
        let pem = std::fs::read(path).map_err(|error| refused(format!("which cannot be read ({error})")))?;
        check_certificates(&pem).map_err(refused)?;
        context = context.with_trust_store(tls::TrustStore::empty().with_pem_certificate(pem));
    }
    // It fails for nothing that is set here.
    let context = context.build().unwrap_or_default();
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let mut connector = ConnectorBuilder::default().tls_provider(provider).tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    });
    Ok(SharedHttpClient::new(Wrapped { inner: bounded(client), wrap: Named }))
}

/// The client takes for granted that each certificate can be parsed, and that there is one.
fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "which is not PEM".to_owned())?;
        roots.add(certificate).map_err(|error| format!("which has a certificate that cannot be used ({error})"))?;
    }
    if roots.is_empty() { Err("which has no certificate".to_owned()) } else { Ok(()) }
}

/// The same client, but a response that goes on after [`MAX_RESPONSE`] bytes fails there, as if the connection were lost.
#[must_use]
pub fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Wrapped { inner: client, wrap: Bounded })
}

/// A client for one call, and the witness of what becomes of its request.
#[must_use]
pub(super) fn witnessed(client: SharedHttpClient) -> (SharedHttpClient, Witness) {
    let witness = Witness::default();
    (SharedHttpClient::new(Wrapped { inner: client, wrap: witness.clone() }), witness)
}

/// Whether the request of a call was handed to the transport, and if not, or if no connection was made for it, why.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    handed_over: OnceLock<()>,
    not_connected: OnceLock<FailureCause>,
}

impl Witness {
    /// Why nothing can have been sent; `None` where something may have been.
    ///
    /// Once the call has ended, nothing is handed over any more: the call owns what does it.
    pub(super) fn not_sent(&self) -> Option<FailureCause> {
        match (self.0.handed_over.get(), self.0.not_connected.get()) {
            (None, _) => Some(FailureCause::Request),
            (Some(()), not_connected) => not_connected.copied(),
        }
    }
}

/// What a connector does more than the one it wraps.
trait Wrap: Clone + std::fmt::Debug + Send + Sync + 'static {
    fn call(&self, inner: &SharedHttpConnector, request: HttpRequest) -> HttpConnectorFuture;
}

#[derive(Clone, Debug)]
struct Bounded;

impl Wrap for Bounded {
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

/// Adds the name of this program to the User-Agent, which no signature covers, unless the environment has given one.
#[derive(Clone, Debug)]
struct Named;

impl Wrap for Named {
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
        // What the transport itself would refuse to take is refused before.
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()));
        let request =
            match request.and_then(|it| HttpRequest::try_from(it).map_err(|it| ConnectorError::user(it.into()))) {
                Ok(request) => request,
                Err(error) => return HttpConnectorFuture::ready(Err(error)),
            };
        // Set once; that it stands already means the same.
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

/// Why no connection was made, where the failure belongs to setting one up, so that no request can have left.
fn never_connected(error: &(dyn StdError + 'static)) -> Option<FailureCause> {
    let while_connecting =
        sources(error).filter_map(|error| error.downcast_ref::<ClientError>()).any(ClientError::is_connect);
    while_connecting.then(|| cause_of(error))
}

/// Why a connection failed.
pub(super) fn cause_of(error: &(dyn StdError + 'static)) -> FailureCause {
    sources(error).filter_map(cause_named_by).last().unwrap_or(FailureCause::Network)
}

/// The cause that one error of a chain names by itself. The innermost one that names any knows best.
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
    // Types that their crates keep to themselves are told by their texts, which the tests hold on to.
    let text = error.to_string();
    match text.as_str() {
        "dns error" => Some(FailureCause::Dns),
        _ if text.starts_with("HTTP connect timeout") => Some(FailureCause::TimedOut),
        _ if text.starts_with("tunnel error") => Some(FailureCause::Proxy),
        _ => None,
    }
}

/// What went wrong and why, for the log; cut, as a server may have written most of it.
pub(super) fn described(error: &(dyn StdError + 'static)) -> String {
    let whole = sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    whole.chars().take(MAX_TEXT).collect()
}

/// An error and what caused it, through the errors that an `io::Error` wraps.
pub(super) fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> + Clone {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}
