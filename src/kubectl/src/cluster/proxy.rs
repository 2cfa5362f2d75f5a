//! The proxy on the way to the API server, by the rules of kubectl.

use http::{
    Uri,
    uri::{InvalidUri, Scheme},
};
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Kubeconfig;

/// The variables of the environment that name proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    https: String,
    http: String,
    no: String,
}

impl Variables {
    /// Reads the variables of this process.
    pub(super) fn of_environment() -> Self {
        let first = |names: [&str; 2]| {
            let values = names.into_iter().filter_map(|name| std::env::var(name).ok());
            values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self {
            https: first(["HTTPS_PROXY", "https_proxy"]),
            http: first(["HTTP_PROXY", "http_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]),
        }
    }

    /// Returns the proxy for a server; none for one on this machine, or that NO_PROXY names.
    fn proxy(&self, server: &Uri) -> Option<&str> {
        let named = if server.scheme() == Some(&Scheme::HTTP) { &self.http } else { &self.https };
        let everything = Matcher::builder().all("http://proxy.invalid").no(self.no.as_str()).build();
        let is_direct = is_local(server) || everything.intercept(server).is_none();
        (!named.is_empty() && !is_direct).then_some(named)
    }
}

fn is_local(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Returns the `proxy-url` of the cluster of a context, the current one if none is given.
pub(super) fn of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// Returns the proxy: that of the kubeconfig, or else that of the environment.
///
/// # Errors
/// When it is not a URL.
pub(super) fn proxy(
    of_kubeconfig: Option<&str>,
    variables: &Variables,
    server: &Uri,
) -> Result<Option<Uri>, InvalidUri> {
    of_kubeconfig.or_else(|| variables.proxy(server)).map(parsed).transpose()
}

/// Parses a proxy, by HTTP unless it says otherwise.
fn parsed(proxy: &str) -> Result<Uri, InvalidUri> {
    if proxy.contains("://") { proxy.parse() } else { format!("http://{proxy}").parse() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_decides_before_the_environment() {
        let variables =
            |https: &str, no: &str| Variables { https: https.into(), http: "http://h:1".into(), no: no.into() };
        let eks = "https://ABC.gr7.eu-west-1.eks.amazonaws.com";
        for (of_kubeconfig, https, no, server, wanted) in [
            (None, "", "", eks, None),
            (None, "http://p:3128", "", eks, Some("http://p:3128/")),
            (None, "me:secret@p:3128", "", eks, Some("http://me:secret@p:3128/")),
            (None, "http://p:3128", "", "http://10.0.0.1", Some("http://h:1/")),
            (Some("http://k:1"), "http://p:3128", "*", eks, Some("http://k:1/")),
            // An empty part is no mistake.
            (None, "http://p:3128", ".eks.amazonaws.com,,", eks, None),
            (None, "http://p:3128", "10.0.0.0/8", "https://10.1.2.3:6443", None),
            (None, "http://p:3128", "p", eks, Some("http://p:3128/")),
            // As kind and others run it.
            (None, "http://p:3128", "", "https://127.0.0.1:6443", None),
            (None, "http://p:3128", "", "https://[::1]:6443", None),
            (None, "http://p:3128", "", "https://localhost:6443", None),
        ] {
            let server: Uri = server.parse().expect("a URL");
            let found = proxy(of_kubeconfig, &variables(https, no), &server).expect("a URL");
            assert_eq!(found.map(|it| it.to_string()).as_deref(), wanted, "{of_kubeconfig:?} {https} {no} {server}");
        }
        assert!(proxy(Some("http://a b"), &Variables::default(), &Uri::default()).is_err());
    }

    #[test]
    fn the_context_leads_to_the_proxy() {
        let kubeconfig: Kubeconfig = serde_saphyr::from_str(
            "current-context: a\n\
             contexts: [{name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u}}]\n\
             clusters: [{name: a, cluster: {server: 'https://a', proxy-url: 'http://p'}}, {name: b, cluster: {server: 'https://b'}}]\n",
        )
        .expect("a kubeconfig");
        assert_eq!(of(&kubeconfig, None).as_deref(), Some("http://p"));
        assert_eq!(of(&kubeconfig, Some("b")), None);
        assert_eq!(of(&kubeconfig, Some("c")), None);
    }
}
