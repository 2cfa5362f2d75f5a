//! Signed requests to AWS IAM and AWS Lambda, whose SDKs are not used.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

const LIMIT: Duration = Duration::from_secs(30);

/// A service, at its address.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The name of the service in a signature.
    pub(crate) service: &'static str,
    /// The Region of the signature.
    pub(crate) region: String,
    /// The address, without a path.
    pub(crate) url: String,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The code of an exception, as the services with JSON send it.
    pub(crate) error: Option<String>,
    pub(crate) body: String,
}

/// An HTTP client that signs.
#[derive(Debug)]
pub(crate) struct Signed {
    connector: Connector,
    config: SdkConfig,
}

impl Signed {
    /// Returns a client with the certificate authorities of a file, or else those of the system.
    pub(crate) fn new(config: SdkConfig, ca_bundle: Option<&Path>) -> Result<Self> {
        let mut context = tls::TlsContext::builder();
        if let Some(path) = ca_bundle {
            context = context.with_trust_store(tls::TrustStore::empty().with_pem_certificate(fs::read(path)?));
        }
        let context = context.build().map_err(|error| anyhow!("no TLS: {error}"))?;
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let mut builder = Connector::builder().tls_provider(provider).tls_context(context);
        builder.set_proxy_config(Some(ProxyConfig::from_env()));
        Ok(Self { connector: builder.build(), config })
    }

    /// Sends a request and returns the response, regardless of its status.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Response> {
        let exchange = self.exchange(endpoint, method, path, content_type, body);
        let result = tokio::time::timeout(LIMIT, exchange).await;
        result.map_err(|_| anyhow!("{} did not respond within {LIMIT:?}", endpoint.service))?
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Response> {
        let uri = format!("{}{path}", endpoint.url.trim_end_matches('/'));
        let provider = self.config.credentials_provider().context("no AWS credentials are configured")?;
        let identity = provider.provide_credentials().await.context("unable to load AWS credentials")?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&endpoint.region)
            .name(endpoint.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = std::iter::once(("content-type", content_type));
        let signable = SignableRequest::new(method, &uri, headers, SignableBody::Bytes(body.as_bytes()))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method)?;
        request.set_uri(uri)?;
        request.headers_mut().try_insert("content-type", content_type.to_owned())?;
        for (name, value) in instructions.headers() {
            request.headers_mut().try_insert(name.to_owned(), value.to_owned())?;
        }
        let response = self.connector.call(request).await.map_err(|error| anyhow!(error).context("no connection"))?;
        let status = response.status().as_u16();
        let error = response.headers().get("x-amzn-errortype").and_then(|code| code.split(':').next());
        let error = error.map(str::to_owned);
        let body = ByteStream::new(response.into_body()).collect().await?.into_bytes();
        Ok(Response { status, error, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
