//! Determines where the API server is and how it is reached: from the kubeconfig or the pod,
//! directly or through a proxy.
//!
//! kube matches `NO_PROXY` against the proxy instead of the server, rejects lists that other tools
//! accept, and ignores proxies in a pod. Its proxy settings are therefore not used: this module
//! follows client-go's rules, and builds the client from kube's own parts.

use std::net::IpAddr;

use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::{
        legacy::{
            Client as HttpClient,
            connect::{
                Connection, HttpConnector,
                proxy::{SocksV5, Tunnel},
            },
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use thiserror::Error;
use tower::{BoxError, Service, ServiceBuilder, util::option_layer};

use crate::kube::{
    proxies::{Environment, NamedBy, UnusableProxy, usable},
    requests::ApiRequests,
};

/// The User-Agent. The part before the slash is the field manager in `managedFields`.
const USER_AGENT: &str = concat!("cognito-reset-operator/", env!("CARGO_PKG_VERSION"));

/// The port of a SOCKS proxy whose address names none.
const SOCKS_PORT: u16 = 1080;

/// An error in the configuration of the cluster.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// No cluster is configured, or its configuration cannot be used.
    #[error("failed to find a Kubernetes cluster: {0}; set KUBECONFIG or run in a pod")]
    NotFound(String),
    /// The configured proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
}

/// The configured cluster, before the first call.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The configuration of the client, such as timeouts. It can be changed before a client is
    /// built.
    pub(crate) config: Config,
    proxy: Option<Intercept>,
}

impl Cluster {
    /// Returns the cluster of the kubeconfig, or that of the pod if there is no kubeconfig.
    ///
    /// # Errors
    /// Returns an error if there is neither, or if the configured proxy cannot be used.
    pub(crate) async fn find() -> Result<Self, ClusterError> {
        // This comes first, because kube parses some of these variables too, with less precise
        // errors.
        let environment = Environment::of_process()?;
        let (mut config, proxy_url) = match local().await {
            Ok(found) => found,
            Err(KubeconfigError::ParseProxyUrl(_)) => return Err(UnusableProxy(NamedBy::Kubeconfig).into()),
            Err(kubeconfig) => {
                let neither = |pod| ClusterError::NotFound(format!("in-cluster: ({pod}), kubeconfig: ({kubeconfig})"));
                (Config::incluster().map_err(neither)?, None)
            }
        };
        config.apply_debug_overrides();
        config.proxy_url = None;
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
        let proxy = proxy(&config.cluster_url, proxy_url.as_deref(), &environment)?;
        Ok(Self { config, proxy })
    }

    /// Returns the address of the API server, and of the proxy, for people.
    #[must_use]
    pub(crate) fn described(&self) -> String {
        let server = &self.config.cluster_url;
        match &self.proxy {
            None => server.to_string(),
            Some(proxy) => format!("{server} (through the proxy {})", proxy.uri()),
        }
    }

    /// Returns a client whose requests are measured. It does not retry calls: a hidden retry could
    /// repeat a claim.
    ///
    /// # Errors
    /// Returns an error if certificates or credentials of the configuration cannot be used.
    pub(crate) fn client(&self, requests: &ApiRequests) -> Result<Client, ClusterError> {
        let client = match &self.proxy {
            None => build(&self.config, requests, tcp()),
            Some(proxy) => through(&self.config, requests, proxy),
        };
        client.map_err(|error| ClusterError::NotFound(error.to_string()))
    }
}

/// Returns the cluster of the kubeconfig, and its `proxy-url`.
async fn local() -> Result<(Config, Option<String>), KubeconfigError> {
    let kubeconfig = Kubeconfig::read()?;
    let proxy_url = proxy_url_of(&kubeconfig);
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok((config, proxy_url))
}

fn proxy_url_of(kubeconfig: &Kubeconfig) -> Option<String> {
    let name = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// Returns the proxy for a server, by client-go's rules: the `proxy-url` of the kubeconfig
/// regardless of the environment; otherwise the proxy of the environment, unless the server is on
/// this machine or `NO_PROXY` names it. Pure.
fn proxy(server: &Uri, own: Option<&str>, environment: &Environment) -> Result<Option<Intercept>, UnusableProxy> {
    if let Some(own) = own {
        return usable(own, NamedBy::Kubeconfig);
    }
    let (configured, port) = match server.scheme_str() {
        Some("http") => (&environment.http, 80),
        _ => (&environment.https, 443),
    };
    let port = server.port_u16().unwrap_or(port);
    let is_direct = is_of_this_machine(server) || is_excepted(server, &environment.no, port);
    Ok(configured.clone().filter(|_| !is_direct))
}

fn is_of_this_machine(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Returns true if the list names the server: by its address, its network, its name or a parent
/// domain, or with `*`.
fn is_excepted(server: &Uri, list: &str, port: u16) -> bool {
    let entries: Vec<&str> = list.split(',').filter_map(|text| entry(text.trim(), port)).collect();
    let matcher = Matcher::builder().all("http://proxy").no(entries.join(",")).build();
    // To the matcher a star means any name, but no address.
    entries.contains(&"*") || matcher.intercept(server).is_none()
}

/// Returns an entry in the syntax of the matcher, without port and star; `None` if it is for
/// another port.
fn entry(text: &str, port: u16) -> Option<&str> {
    let host = match text.rsplit_once(':').and_then(|(host, digits)| Some((host, digits.parse::<u16>().ok()?))) {
        // This is an IPv6 address without brackets; its last group only looks like a port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => text,
        Some((_, other)) if other != port => return None,
        Some((host, _)) => host,
        None => text,
    };
    let host = host.trim_matches(['[', ']']);
    Some(if host.starts_with("*.") { host.trim_start_matches('*') } else { host })
}

/// A connector, with the traits that hyper's clients and the layers around it require.
trait Connector:
    Service<
        Uri,
        Response: Connection + Read + Write + Send + Unpin + 'static,
        Future: Send + 'static,
        Error: Into<BoxError> + Send + Sync + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Connector for T where
    T: Service<
            Uri,
            Response: Connection + Read + Write + Send + Unpin + 'static,
            Future: Send + 'static,
            Error: Into<BoxError> + Send + Sync + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

fn through(config: &Config, requests: &ApiRequests, proxy: &Intercept) -> Result<Client, kube::Error> {
    let address = proxy.uri().clone();
    match address.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(with_port(address, SOCKS_PORT), tcp());
            match proxy.raw_auth() {
                Some((user, password)) => {
                    build(config, requests, socks.with_auth(user.to_owned(), password.to_owned()))
                }
                None => build(config, requests, socks),
            }
        }
        // The proxy does not belong to the cluster: neither its authority nor a client certificate
        // applies to it.
        Some("https") => {
            tunnel(config, requests, proxy, Config::new(address).rustls_https_connector_with_connector(tcp())?)
        }
        _ => tunnel(config, requests, proxy, tcp()),
    }
}

fn tunnel(
    config: &Config,
    requests: &ApiRequests,
    proxy: &Intercept,
    to_proxy: impl Connector,
) -> Result<Client, kube::Error> {
    let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
    match proxy.basic_auth() {
        Some(auth) => build(config, requests, tunnel.with_auth(auth.clone())),
        None => build(config, requests, tunnel),
    }
}

/// Returns the address with this port if it has none.
fn with_port(address: Uri, port: u16) -> Uri {
    let mut parts = address.clone().into_parts();
    let host = address.host().unwrap_or_default();
    parts.authority = format!("{host}:{}", address.port_u16().unwrap_or(port)).parse().ok();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or(address)
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector
}

/// Builds the client that kube would build, over any connector.
fn build(config: &Config, requests: &ApiRequests, connector: impl Connector) -> Result<Client, kube::Error> {
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(requests)
        .layer(config.base_uri_layer())
        .layer(option_layer(config.auth_layer()?))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

#[cfg(test)]
mod tests;
