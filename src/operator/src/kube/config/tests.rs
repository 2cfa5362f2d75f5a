use http::Uri;
use kube::config::Kubeconfig;

use super::{proxy, proxy_url_of, with_port};
use crate::kube::proxies::{Environment, NamedBy, UnusableProxy};

const HTTP: &str = "http://plain.example.com:3128";
const HTTPS: &str = "http://secure.example.com:3128";

fn environment(variables: &[(&str, &str)]) -> Environment {
    let value = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).into());
    Environment::read(value).unwrap()
}

/// The address of the proxy for a server, with both proxies and this list in the environment.
fn way(server: &str, own: Option<&str>, no: &str) -> Option<String> {
    let environment = environment(&[("HTTP_PROXY", HTTP), ("HTTPS_PROXY", HTTPS), ("NO_PROXY", no)]);
    let found = proxy(&server.parse().unwrap(), own, &environment).unwrap();
    found.map(|proxy| proxy.uri().to_string().trim_end_matches('/').to_owned())
}

#[test]
fn environment_proxy_excludes_this_machine_and_no_proxy() {
    for (server, no, wanted) in [
        ("https://api.example.com", "", Some(HTTPS)),
        ("http://api.example.com", "", Some(HTTP)),
        ("https://10.96.0.1:443", "", Some(HTTPS)),
        ("https://0.0.0.0:6443", "", Some(HTTPS)),
        // This machine.
        ("https://127.0.0.1:6443", "", None),
        ("https://127.8.9.10:6443", "", None),
        ("https://[::1]:6443", "", None),
        ("https://localhost:6443", "", None),
        ("https://LOCALHOST", "", None),
        ("https://localhost.example.com", "", Some(HTTPS)),
        // Everything, addresses and networks.
        ("https://api.example.com", "*", None),
        ("https://10.96.0.1", "example.com, *", None),
        ("https://[2001:db8::1]:6443", "*", None),
        ("https://10.96.0.1", "10.96.0.1", None),
        ("https://10.96.0.1", "10.96.0.10", Some(HTTPS)),
        ("https://10.96.0.1", "10.0.0.0/8", None),
        ("https://11.96.0.1", "10.0.0.0/8", Some(HTTPS)),
        ("https://[2001:db8::1]", "2001:db8::1", None),
        ("https://[2001:db8::1]", "[2001:db8::1]", None),
        ("https://[2001:db8::1]", "2001:db8::/32", None),
        ("https://[2001:db9::1]", "2001:db8::/32", Some(HTTPS)),
        // Names, and all names below them.
        ("https://api.example.com", "example.com", None),
        ("https://api.example.com", ".example.com", None),
        ("https://api.example.com", "*.example.com", None),
        ("https://API.example.com", "api.EXAMPLE.com", None),
        ("https://api.example.com.evil.test", "example.com", Some(HTTPS)),
        ("https://notexample.com", "example.com", Some(HTTPS)),
        // Ports.
        ("https://api.example.com", "api.example.com:443", None),
        ("https://api.example.com:6443", "api.example.com:6443", None),
        ("https://api.example.com:6443", "api.example.com:443", Some(HTTPS)),
        ("https://10.96.0.1:6443", "10.96.0.1:6443", None),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:6443", None),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]:443", Some(HTTPS)),
        // Lists as people write them.
        ("https://api.example.com", " 10.0.0.0/8 ,, api.example.com , ", None),
        ("https://api.example.com", "no/host, ,:80,http://x", Some(HTTPS)),
    ] {
        assert_eq!(way(server, None, no).as_deref(), wanted, "{server} with NO_PROXY={no}");
    }
}

#[test]
fn the_kubeconfigs_own_proxy_wins_over_the_environment() {
    for server in ["https://api.example.com", "https://127.0.0.1:6443", "http://10.0.0.1:8080"] {
        assert_eq!(
            way(server, Some("http://own.example.com:8888"), "*").as_deref(),
            Some("http://own.example.com:8888")
        );
    }
    let kubeconfig: Kubeconfig = serde_json::from_value(serde_json::json!({
        "current-context": "here",
        "contexts": [
            { "name": "there", "context": { "cluster": "far", "user": "x" } },
            { "name": "here", "context": { "cluster": "near", "user": "x" } },
        ],
        "clusters": [
            { "name": "far", "cluster": { "server": "https://far", "proxy-url": "http://of-far" } },
            { "name": "near", "cluster": { "server": "https://near", "proxy-url": "socks5://of-near" } },
        ],
    }))
    .unwrap();
    assert_eq!(proxy_url_of(&kubeconfig).as_deref(), Some("socks5://of-near"));
}

#[test]
fn without_a_proxy_in_the_environment_there_is_none() {
    let server = Uri::from_static("https://api.example.com");
    assert!(proxy(&server, None, &Environment::default()).unwrap().is_none());
    // A proxy for the other scheme does not apply to this one.
    let environment = environment(&[("HTTP_PROXY", HTTP)]);
    assert!(proxy(&server, None, &environment).unwrap().is_none());
}

#[test]
fn unusable_kubeconfig_proxy_is_an_error_but_socks_is_allowed() {
    let server = Uri::from_static("https://api.example.com");
    let own = |address| proxy(&server, Some(address), &Environment::default());
    assert_eq!(own("ftp://alice:secret@proxy:1").unwrap_err(), UnusableProxy(NamedBy::Kubeconfig));
    assert!(own("socks5://alice:secret@proxy:1").unwrap().is_some());
}

#[test]
fn a_socks_proxy_without_a_port_has_its_usual_one() {
    for (given, wanted) in [
        ("socks5://proxy/", "socks5://proxy:1080/"),
        ("socks5://proxy:9/", "socks5://proxy:9/"),
        ("socks5h://[::1]/", "socks5h://[::1]:1080/"),
    ] {
        assert_eq!(with_port(Uri::from_static(given), 1080), wanted);
    }
}
