//! Reads the configured proxies, and checks whether each can be used.
//!
//! The client of the API server supports SOCKS, and that of AWS does not: it would accept such an
//! address, and then fail at every call. An environment variable applies to both clients, so it may
//! only name http and https proxies. All variables are read at the start, whether or not this start
//! uses them. No text of this module contains the password of a proxy.

use std::{ffi::OsString, fmt};

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;

/// The variables that name the proxy for `https:` servers, for `http:` servers, and for both, which
/// only the client of AWS uses. Of two spellings the first one that is not empty counts.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The place that names a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A kubeconfig, for the API server only.
    Kubeconfig,
    /// This environment variable.
    Variable(&'static str),
}

impl NamedBy {
    /// Returns the schemes that a proxy may have in this place.
    const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Kubeconfig => &["http", "https", "socks5", "socks5h"],
            Self::Variable(_) => &["http", "https"],
        }
    }
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig => f.write_str("the kubeconfig's proxy-url"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// An error about a configured proxy that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "failed to use the proxy that {0} names: give an address such as http://proxy.example.com:3128 (supported schemes: {schemes})",
    schemes = .0.schemes().join(", ")
)]
pub(crate) struct UnusableProxy(pub NamedBy);

/// The proxy settings of the environment, for the client of the API server.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// The proxy for servers with `http:`.
    pub(crate) http: Option<Intercept>,
    /// The proxy for servers with `https:`.
    pub(crate) https: Option<Intercept>,
    /// The list of servers that are reached directly.
    pub(crate) no: String,
}

impl Environment {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// Returns an error if any variable names a proxy that cannot be used, even one that only the
    /// client of AWS would use.
    pub(crate) fn of_process() -> Result<Self, UnusableProxy> {
        Self::read(|name| std::env::var_os(name))
    }

    /// Reads the settings from these variables.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::of_process`].
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, UnusableProxy> {
        let one = |name| {
            let value = variable(name).unwrap_or_default().into_string();
            // A value that is not UTF-8 is rejected: the client of AWS would ignore it and connect
            // directly.
            let value = value.map_err(|_| UnusableProxy(NamedBy::Variable(name)))?;
            usable(&value, NamedBy::Variable(name))
        };
        let first = |[upper, lower]: [&'static str; 2]| Ok(one(upper)?.or(one(lower)?));
        first(ALL)?;
        let mut lists = NO.into_iter().filter_map(|name| variable(name)?.into_string().ok());
        let no = lists.find(|list| !list.is_empty()).unwrap_or_default();
        Ok(Self { http: first(HTTP)?, https: first(HTTPS)?, no })
    }
}

/// Parses the address of a proxy; `None` for an empty one.
///
/// # Errors
/// Returns an error if the proxy cannot be used.
pub(crate) fn usable(address: &str, named_by: NamedBy) -> Result<Option<Intercept>, UnusableProxy> {
    if address.is_empty() {
        return Ok(None);
    }
    let anywhere = Uri::from_static("https://server");
    let proxy = Matcher::builder().all(address).build().intercept(&anywhere);
    let fits = |proxy: &Intercept| proxy.uri().scheme_str().is_some_and(|it| named_by.schemes().contains(&it));
    proxy.filter(fits).map(Some).ok_or(UnusableProxy(named_by))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    const VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

    fn read(variables: &[(&str, &str)]) -> Result<Environment, UnusableProxy> {
        Environment::read(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| OsString::from(*value)))
    }

    #[test]
    fn variable_names_only_a_proxy_that_both_clients_support() {
        for (address, in_variable, in_kubeconfig) in [
            ("", true, true),
            ("http://alice:secret@proxy:1", true, true),
            ("HTTP://proxy:1", true, true),
            ("https://alice:secret@proxy", true, true),
            ("alice:secret@proxy:1", true, true),
            ("socks5://alice:secret@proxy", false, true),
            ("socks5h://alice:secret@proxy:1080", false, true),
            ("socks4://alice:secret@proxy:1", false, false),
            ("ftp://alice:secret@proxy:1", false, false),
            ("http://alice:secret@", false, false),
            ("al ice:secret@x", false, false),
        ] {
            for name in VARIABLES {
                let error = read(&[(name, address)]).err();
                let named_by = NamedBy::Variable(name);
                assert_eq!(error, (!in_variable).then_some(UnusableProxy(named_by)), "{name}={address}");
                let error = UnusableProxy(named_by).to_string();
                assert!(error.contains(name) && error.ends_with("(supported schemes: http, https)"), "{error}");
            }
            assert_eq!(usable(address, NamedBy::Kubeconfig).is_ok(), in_kubeconfig, "proxy-url: {address}");
        }
        let error = UnusableProxy(NamedBy::Kubeconfig).to_string();
        assert!(error.contains("proxy-url") && error.ends_with("http, https, socks5, socks5h)"), "{error}");
    }

    #[test]
    fn every_variable_is_read_and_the_first_spelling_counts() {
        let good = "http://proxy:1";
        for wrong in VARIABLES {
            let all: Vec<_> =
                VARIABLES.iter().map(|name| (*name, if *name == wrong { "socks5://x" } else { good })).collect();
            assert_eq!(read(&all).unwrap_err(), UnusableProxy(NamedBy::Variable(wrong)));
        }
        let host = |proxy: Option<Intercept>| proxy.and_then(|proxy| proxy.uri().host().map(str::to_owned));
        let upper = read(&[("HTTPS_PROXY", "upper"), ("https_proxy", "lower"), ("NO_PROXY", "a"), ("no_proxy", "b")]);
        let upper = upper.unwrap();
        assert_eq!((host(upper.https), host(upper.http), upper.no.as_str()), (Some("upper".into()), None, "a"));
        let lower = read(&[("HTTP_PROXY", ""), ("http_proxy", "lower"), ("NO_PROXY", ""), ("no_proxy", "b")]).unwrap();
        assert_eq!((host(lower.http), host(lower.https), lower.no.as_str()), (Some("lower".into()), None, "b"));
        // This variable does not apply to the API server.
        let all = read(&[("ALL_PROXY", good)]).unwrap();
        assert!(all.http.is_none() && all.https.is_none());
    }

    #[test]
    fn a_value_that_is_no_text_is_no_proxy() {
        let garbled = |name: &str| (name == "all_proxy").then(|| OsString::from_vec(vec![b'h', 0xff]));
        assert_eq!(Environment::read(garbled).unwrap_err(), UnusableProxy(NamedBy::Variable("all_proxy")));
    }

    #[test]
    fn no_text_has_the_password_of_a_proxy() {
        for address in ["http://alice:secret@proxy:1", "socks5://alice:secret@proxy", "alice:secret@proxy:1"] {
            let found = usable(address, NamedBy::Kubeconfig).unwrap().unwrap();
            assert!(!format!("{found:?} {}", found.uri()).contains("secret"), "{address}");
            assert!(found.basic_auth().is_some() || found.raw_auth() == Some(("alice", "secret")), "{address}");
        }
    }
}
