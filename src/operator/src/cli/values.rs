//! The values of flags, and the advice if one cannot be used.

use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use cognito_reset_api::UserStateSource;
use cognito_reset_core::watched_namespaces::WatchedNamespaces;
use jiff::SignedDuration;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// All IPv4 and IPv6 addresses, at this port.
    Everywhere(u16),
    /// This address and port.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = "give an address and a port, such as 127.0.0.1:8080 or [::1]:8080, or a port alone, such as :8080";
        if let Some(port) = text.strip_prefix(':') {
            return port.parse().map(Self::Everywhere).map_err(|_| advice.to_owned());
        }
        let address: SocketAddr = text.parse().map_err(|_| advice.to_owned())?;
        let everywhere = address.ip() == Ipv6Addr::UNSPECIFIED;
        Ok(if everywhere { Self::Everywhere(address.port()) } else { Self::At(address) })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let advice = "give a duration above zero and up to a day, such as 500ms, 30s or 5m";
    let parsed: SignedDuration = text.parse().map_err(|_| advice.to_owned())?;
    let day = SignedDuration::from_hours(24);
    if parsed <= SignedDuration::ZERO || parsed > day {
        return Err(advice.to_owned());
    }
    Duration::try_from(parsed).map_err(|_| advice.to_owned())
}

/// Parses the call by which users are read, as a grant names it.
pub(super) fn user_state_source(text: &str) -> Result<UserStateSource, String> {
    let named = UserStateSource::ALL.into_iter().find(|source| source.as_str() == text);
    named.ok_or_else(|| format!("give {}", UserStateSource::ALL.map(UserStateSource::as_str).join(", ")))
}

/// The maximum number of namespaces. Each has a watch with a connection of its own.
const MOST_NAMESPACES: usize = 50;

/// Parses a list of namespaces; an empty one is that of all namespaces.
pub(super) fn watched_namespaces(text: &str) -> Result<WatchedNamespaces, String> {
    if text.trim().is_empty() {
        return Ok(WatchedNamespaces::All);
    }
    let mut names = BTreeSet::new();
    for name in text.split(',').map(str::trim) {
        if !is_label(name) {
            return Err(format!(
                "\"{name}\" is not the name of a namespace; give names of lower case letters, digits and hyphens, separated by commas, such as support,shops, or no name to watch all namespaces"
            ));
        }
        if !names.insert(name.to_owned()) {
            return Err(format!("{name} is listed twice; give each namespace once"));
        }
    }
    if names.len() > MOST_NAMESPACES {
        return Err(format!("give at most {MOST_NAMESPACES} namespaces, or no name to watch all namespaces"));
    }
    Ok(WatchedNamespaces::These(Arc::new(names)))
}

/// Returns true for a DNS label (RFC 1123), which every name of a namespace is.
fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Parses a duration of one second to ten years, in hours or smaller units: a day can have 23
/// hours, and a year 366 days.
pub(super) fn retention(text: &str) -> Result<Duration, String> {
    let advice = "give 0 to keep records forever, or a duration from 1s to 87600h (ten years), such as 8760h";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed: SignedDuration = text.parse().map_err(|_| advice.to_owned())?;
    let fits =
        parsed.is_zero() || (SignedDuration::from_secs(1)..=SignedDuration::from_hours(87_600)).contains(&parsed);
    Duration::try_from(parsed).ok().filter(|_| fits).ok_or_else(|| advice.to_owned())
}

pub(super) fn lease_duration(text: &str) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&parsed) {
        Ok(parsed)
    } else {
        Err("give a duration from 1s to 1h".to_owned())
    }
}

pub(super) fn freshness(text: &str) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&parsed) {
        Ok(parsed)
    } else {
        Err("give a duration from 1s to 5m".to_owned())
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let parsed: f64 = text.parse().map_err(|_| "give a number of resets a second".to_owned())?;
    if (0.01..=1000.0).contains(&parsed) { Ok(parsed) } else { Err("give a number from 0.01 to 1000".to_owned()) }
}

pub(super) fn retention_rate(text: &str) -> Result<f64, String> {
    let parsed: f64 = text.parse().map_err(|_| "give a number of objects a second".to_owned())?;
    if (0.1..=1000.0).contains(&parsed) { Ok(parsed) } else { Err("give a number from 0.1 to 1000".to_owned()) }
}

pub(super) fn identity(text: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("give 1 to 128 letters, digits, hyphens, dots or underscores".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_a_second_to_ten_years_or_forever() {
        let hours = |count: u64| Some(Duration::from_secs(count * 3600));
        for (text, wanted) in [
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("1s", Some(Duration::from_secs(1))),
            ("8760h", hours(8760)),
            ("87600h", hours(87_600)),
            ("87600h 1s", None),
            ("999ms", None),
            ("-1h", None),
            ("365d", None),
            ("1y", None),
            ("8760", None),
            ("", None),
        ] {
            match (retention(text), wanted) {
                (Ok(parsed), Some(wanted)) => assert_eq!(parsed, wanted, "{text}"),
                (Err(advice), None) => {
                    assert!(advice.contains("8760h") && advice.contains("forever"), "{text}: {advice}")
                }
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn namespaces_are_distinct_dns_labels_or_all() {
        let longest = "a".repeat(63);
        for (text, wanted) in [
            ("", WatchedNamespaces::All),
            (" ", WatchedNamespaces::All),
            ("support", ["support"].into()),
            ("support,shops", ["shops", "support"].into()),
            (" support , 7-shops ", ["7-shops", "support"].into()),
            (longest.as_str(), [longest.as_str()].into()),
        ] {
            assert_eq!(watched_namespaces(text), Ok(wanted), "{text:?}");
        }
        let (too_long, numbers) = ("a".repeat(64), |most: usize| (1..=most).map(|it| format!("n{it}")));
        let too_many: Vec<_> = numbers(51).collect();
        for (text, advice) in [
            (",", "\"\" is not the name"),
            ("support,", "\"\" is not the name"),
            ("support shops", "\"support shops\" is not the name"),
            ("Support", "\"Support\" is not the name"),
            ("*", "\"*\" is not the name"),
            ("-support", "\"-support\" is not the name"),
            ("support-", "\"support-\" is not the name"),
            ("a.b", "\"a.b\" is not the name"),
            ("ünder", "\"ünder\" is not the name"),
            (too_long.as_str(), "is not the name"),
            ("support,shops,support", "support is listed twice"),
            (&too_many.join(","), "at most 50"),
        ] {
            let found = watched_namespaces(text).unwrap_err();
            assert!(found.contains(advice), "{text:?}: {found}");
        }
        let most: Vec<_> = numbers(50).collect();
        assert_eq!(watched_namespaces(&most.join(",")).unwrap().scopes().len(), 50);
    }

    #[test]
    fn source_of_the_state_is_named_as_in_a_grant() {
        for source in UserStateSource::ALL {
            let named = serde_json::to_value(source).unwrap();
            assert_eq!(user_state_source(named.as_str().unwrap()), Ok(source));
        }
        for text in ["", "none", "admingetuser", "ListUsers ", "AdminGetUser,None"] {
            let advice = user_state_source(text).unwrap_err();
            assert!(advice.contains("AdminGetUser, ListUsers, None"), "{text}: {advice}");
        }
    }

    #[test]
    fn listening_address_is_optional_and_all_of_ipv6_includes_ipv4() {
        let at = |text: &str| text.parse().ok().map(Listen::At);
        for (text, wanted, shown) in [
            ("127.0.0.1:8080", at("127.0.0.1:8080"), "127.0.0.1:8080"),
            ("0.0.0.0:8080", at("0.0.0.0:8080"), "0.0.0.0:8080"),
            ("[::1]:8080", at("[::1]:8080"), "[::1]:8080"),
            (":8080", Some(Listen::Everywhere(8080)), ":8080"),
            ("[::]:8080", Some(Listen::Everywhere(8080)), ":8080"),
            ("8080", None, ""),
            (":", None, ""),
            (":80800", None, ""),
            ("::8080", None, ""),
            ("[::]", None, ""),
            ("localhost:8080", None, ""),
            ("127.0.0.1", None, ""),
            ("", None, ""),
        ] {
            let parsed = text.parse::<Listen>();
            assert_eq!(parsed.as_ref().map(ToString::to_string).unwrap_or_default(), shown, "{text}");
            assert_eq!(parsed.ok(), wanted, "{text}");
        }
    }
}
