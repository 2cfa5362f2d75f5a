//! The client that kube would build, through an HTTP proxy.
//!
//! kube's own support for proxies is not compiled in: it matches NO_PROXY against the proxy instead
//! of the server and rejects lists that other tools accept, also in the operator, which links this
//! crate.

use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::{
        legacy::{
            Client as HttpClient,
            connect::{Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, Service, ServiceBuilder, buffer::BufferLayer, retry::RetryLayer, util::option_layer};

use super::{ABREAST, patience::Patience};

/// Returns a client that reaches the API server through a proxy.
///
/// # Errors
/// When the protocol of the proxy is another one than HTTP and HTTPS, or certificates or
/// credentials cannot be used.
pub(super) fn client(config: &Config, proxy: &Uri, patience: Patience) -> Result<Client, kube::Error> {
    let all = Matcher::builder().all(proxy.to_string()).build();
    let unsupported = || kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) };
    let intercept = all.intercept(&config.cluster_url).ok_or_else(unsupported)?;
    let (address, auth) = (intercept.uri().clone(), intercept.basic_auth());
    match address.scheme_str() {
        Some("http") => build(config, tunnel(address, tcp(), auth), patience),
        // Neither the authority of the cluster nor a client certificate applies to the proxy.
        Some("https") => {
            let to_proxy = Config::new(address.clone()).rustls_https_connector_with_connector(tcp())?;
            build(config, tunnel(address, to_proxy, auth), patience)
        }
        _ => Err(unsupported()),
    }
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector
}

fn tunnel<C>(address: Uri, to_proxy: C, auth: Option<&HeaderValue>) -> Tunnel<C> {
    let tunnel = Tunnel::new(address, to_proxy);
    match auth {
        Some(auth) => tunnel.with_auth(auth.clone()),
        None => tunnel,
    }
}

fn build<C>(config: &Config, connector: C, patience: Patience) -> Result<Client, kube::Error>
where
    C: Service<
            Uri,
            Response: Connection + Read + Write + Send + Unpin + 'static,
            Future: Send + 'static,
            Error: Into<BoxError> + Send + Sync + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(option_layer(config.auth_layer()?))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    let stack = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(stack.with_layer(&BufferLayer::new(ABREAST)).with_layer(&RetryLayer::new(patience)).build())
}
