//! Where the API server is, and how it is reached: from the kubeconfig or the pod, through a proxy or not.
//!
//! kube asks `NO_PROXY` about the proxy in place of the server, refuses lists that other tools take, and knows of no proxy
//! in a pod. So what it reads of proxies is not used: client-go's rules are kept here, and the client is put together from
//! kube's own parts.

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

use crate::kube::proxies::{Environment, NamedBy, UnusableProxy, usable};

/// Who calls. What comes before the slash is the name of the writer in `managedFields`.
const USER_AGENT: &str = concat!("cognito-reset-operator/", env!("CARGO_PKG_VERSION"));

/// The port of a SOCKS proxy that names none.
const SOCKS_PORT: u16 = 1080;

/// Why no cluster can be reached.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// None is configured, or its configuration cannot be used.
    #[error("failed to find a Kubernetes cluster: {0}; set KUBECONFIG or run in a pod")]
    NotFound(String),
    /// A proxy is configured that cannot be used.
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
}

/// A cluster as it is configured, before anything is asked of it.
#[derive(Debug)]
pub struct Cluster {
    /// Time limits and the like, to be set before a client is made.
    pub config: Config,
    proxy: Option<Intercept>,
}

impl Cluster {
    /// The cluster of the kubeconfig, or of the pod where there is no kubeconfig.
    ///
    /// # Errors
    /// Where there is neither, or a proxy is configured that cannot be used.
    pub async fn find() -> Result<Self, ClusterError> {
        // First, as kube would parse some of it as well, and say less.
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

    /// Where the API server is, and through which proxy, for people.
    #[must_use]
    pub fn described(&self) -> String {
        let server = &self.config.cluster_url;
        match &self.proxy {
            None => server.to_string(),
            Some(proxy) => format!("{server} (through the proxy {})", proxy.uri()),
        }
    }

    /// A client. It repeats nothing by itself: a hidden retry could repeat a claim.
    ///
    /// # Errors
    /// Where certificates or credentials of the configuration cannot be used.
    pub fn client(&self) -> Result<Client, ClusterError> {
        let client = match &self.proxy {
            None => build(&self.config, tcp()),
            Some(proxy) => through(&self.config, proxy),
        };
        client.map_err(|error| ClusterError::NotFound(error.to_string()))
    }
}

/// The cluster of the kubeconfig, and its own proxy.
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

/// The proxy on the way to a server, as client-go has it: the kubeconfig's own whatever the environment says; else that of
/// the environment, unless the server is of this machine or `NO_PROXY` names it. Pure.
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

/// Whether the list names the server: by its address, a network, its name or a domain above it, or `*`.
fn is_excepted(server: &Uri, list: &str, port: u16) -> bool {
    let entries: Vec<&str> = list.split(',').filter_map(|text| entry(text.trim(), port)).collect();
    let matcher = Matcher::builder().all("http://proxy").no(entries.join(",")).build();
    // For the matcher a star is any name, and no address.
    entries.contains(&"*") || matcher.intercept(server).is_none()
}

/// An entry as the matcher takes it: without port and star. `None` where it is for another port.
fn entry(text: &str, port: u16) -> Option<&str> {
    let host = match text.rsplit_once(':').and_then(|(host, digits)| Some((host, digits.parse::<u16>().ok()?))) {
        // An IPv6 address without brackets, whose last group only looks like a port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => text,
        Some((_, other)) if other != port => return None,
        Some((host, _)) => host,
        None => text,
    };
    let host = host.trim_matches(['[', ']']);
    Some(if host.starts_with("*.") { host.trim_start_matches('*') } else { host })
}

/// What makes connections, for the clients of hyper and what wraps them.
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

fn through(config: &Config, proxy: &Intercept) -> Result<Client, kube::Error> {
    let address = proxy.uri().clone();
    match address.scheme_str() {
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(with_port(address, SOCKS_PORT), tcp());
            match proxy.raw_auth() {
                Some((user, password)) => build(config, socks.with_auth(user.to_owned(), password.to_owned())),
                None => build(config, socks),
            }
        }
        // The proxy has nothing to do with the cluster: neither its authority nor a client certificate is for it.
        Some("https") => tunnel(config, proxy, Config::new(address).rustls_https_connector_with_connector(tcp())?),
        _ => tunnel(config, proxy, tcp()),
    }
}

fn tunnel(config: &Config, proxy: &Intercept, to_proxy: impl Connector) -> Result<Client, kube::Error> {
    let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
    match proxy.basic_auth() {
        Some(auth) => build(config, tunnel.with_auth(auth.clone())),
        None => build(config, tunnel),
    }
}

/// The address with this port where it has none.
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

/// What kube would build, over any way to connect.
fn build(config: &Config, connector: impl Connector) -> Result<Client, kube::Error> {
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(option_layer(config.auth_layer()?))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

#[cfg(test)]
mod tests;
