//! Checks that calls to AWS go to the service itself, with TLS. User names and requests for
//! credentials leave the process there.

use http::Uri;
use thiserror::Error;

use crate::transport::CaBundleError;

/// The domain names of the partitions of AWS, as the SDK lists them. The second of each pair is
/// dual-stack.
const SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
];

/// A service of AWS that the operator calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon Cognito user pools.
    Cognito,
    /// The Security Token Service, which assumes roles.
    Sts,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 2] = [Self::Cognito, Self::Sts];

    /// Returns its id in the SDK's configuration.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Cognito => "Cognito Identity Provider",
            Self::Sts => "STS",
        }
    }

    const fn host(self) -> &'static str {
        match self {
            Self::Cognito => "cognito-idp",
            Self::Sts => "sts",
        }
    }

    /// Returns the environment variable that names its endpoint.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Cognito => "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
            Self::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }

    /// Checks that this is an address of the service itself: `https`, the default port, no path,
    /// and one of its hosts. A domain name of AWS is not enough, because AWS gives such names to
    /// its customers' servers, too.
    ///
    /// # Errors
    /// Returns an error that names the setting and the host, but no other part of the address.
    pub fn accepts(self, url: &str) -> Result<(), Unusable> {
        let uri: Option<Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().to_ascii_lowercase();
        let fits = uri.is_some_and(|uri| {
            uri.scheme_str() == Some("https")
                && uri.port().is_none_or(|port| port == 443)
                && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/" | ""))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        let own = self.place(&host).is_some();
        if fits && own { Ok(()) } else { Err(Unusable::NotAws { variable: self.variable(), host }) }
    }

    /// Returns the Region of an address of the service; `None` if it names none, or does not belong
    /// to the service.
    #[must_use]
    pub fn region_of(self, url: &str) -> Option<String> {
        let uri: Uri = url.parse().ok()?;
        self.place(&uri.host()?.to_ascii_lowercase())?
    }

    /// Returns the Region of a host of the service, if it has one:
    /// `cognito-idp.eu-west-1.amazonaws.com`, with or without `-fips`, an interface endpoint of a
    /// VPC, or the global name of STS, which has none. The outer `None` means that the host does
    /// not belong to the service.
    fn place(self, host: &str) -> Option<Option<String>> {
        let of_suffix = |suffix: &&str| host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.'));
        SUFFIXES.iter().filter_map(of_suffix).find_map(|rest| {
            let labels: Vec<&str> = rest.split('.').collect();
            match labels.as_slice() {
                [service] if self == Self::Sts && *service == self.host() => Some(None),
                [service, region] if self.is_label(service) && is_region(region) => Some(Some((*region).to_owned())),
                [endpoint, service, region, "vpce"]
                    if endpoint.starts_with("vpce-") && self.is_label(service) && is_region(region) =>
                {
                    Some(Some((*region).to_owned()))
                }
                _ => None,
            }
        })
    }

    fn is_label(self, label: &str) -> bool {
        label.strip_suffix("-fips").unwrap_or(label) == self.host()
    }
}

/// Returns true for a name such as `us-gov-west-1`: two letters first, and a number at the end.
fn is_region(label: &str) -> bool {
    let mut parts = label.split('-');
    let words = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next_back().is_some_and(number) && label.contains('-') && parts.all(words)
}

/// An error in the configuration for AWS.
#[derive(Debug, Error)]
pub enum Unusable {
    /// An endpoint does not belong to AWS.
    #[error(
        "failed to start: {variable}, AWS_ENDPOINT_URL or the profile's endpoint_url leads to '{host}', which is not an https address of the service itself; for a test, give --allow-test-endpoints"
    )]
    NotAws {
        /// The environment variable of that service.
        variable: &'static str,
        /// The endpoint's host.
        host: String,
    },
    /// The SDK builds no request with both settings.
    #[error(
        "failed to start: {setting} (or the profile's setting of that kind) cannot be combined with the endpoint of {endpoint}, AWS_ENDPOINT_URL or the profile: nothing could ever be sent; unset one of them, and name a FIPS or dual-stack address as the endpoint itself where you need one"
    )]
    VariantOfEndpoint {
        /// The variable that enables FIPS or dual-stack.
        setting: &'static str,
        /// The variable of the endpoint.
        endpoint: &'static str,
    },
    /// STS would be called in one Region with a request that is signed for another.
    #[error(
        "failed to start: the endpoint of AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL or the profile is of {endpoint}, and the configured Region (AWS_REGION, AWS_DEFAULT_REGION or the profile) is {region}: STS would refuse every request; make them agree, or leave the Region out"
    )]
    RegionOfSts {
        /// The endpoint's Region.
        endpoint: String,
        /// The configured Region.
        region: String,
    },
    /// The Region is not a valid name.
    #[error(
        "failed to start: AWS_REGION, AWS_DEFAULT_REGION or the profile's region has a character that no Region has, such as a line break at its end; correct it"
    )]
    Region,
    /// The certificate authorities cannot be used.
    #[error(transparent)]
    CaBundle(#[from] CaBundleError),
    /// The SDK panics while it reads the configuration.
    #[error(
        "failed to start: the AWS SDK cannot read its configuration; check the AWS_ variables and the profile, and see the line above"
    )]
    Configuration,
}

#[cfg(test)]
mod tests {
    use super::Service;

    #[test]
    fn the_services_own_addresses_are_accepted_in_every_partition() {
        for (service, url) in [
            (Service::Cognito, "https://cognito-idp.eu-west-1.amazonaws.com"),
            (Service::Cognito, "https://cognito-idp.eu-west-1.amazonaws.com/"),
            (Service::Cognito, "https://cognito-idp.eu-west-1.amazonaws.com:443"),
            (Service::Cognito, "https://COGNITO-IDP.eu-west-1.AmazonAWS.com"),
            (Service::Cognito, "https://cognito-idp-fips.us-gov-west-1.amazonaws.com"),
            (Service::Cognito, "https://cognito-idp.us-east-1.api.aws"),
            (Service::Cognito, "https://cognito-idp-fips.us-east-1.api.aws"),
            (Service::Cognito, "https://cognito-idp.cn-north-1.amazonaws.com.cn"),
            (Service::Cognito, "https://cognito-idp.cn-north-1.api.amazonwebservices.com.cn"),
            (Service::Cognito, "https://cognito-idp.eusc-de-east-1.amazonaws.eu"),
            (Service::Cognito, "https://cognito-idp.us-iso-east-1.c2s.ic.gov"),
            (Service::Cognito, "https://cognito-idp.us-isob-east-1.sc2s.sgov.gov"),
            (Service::Cognito, "https://cognito-idp.us-isof-south-1.csp.hci.ic.gov"),
            (Service::Cognito, "https://cognito-idp.eu-isoe-west-1.cloud.adc-e.uk"),
            (Service::Cognito, "https://vpce-0a1b2c-3d4e.cognito-idp.eu-west-1.vpce.amazonaws.com"),
            (Service::Cognito, "https://vpce-0a1b2c-3d4e.cognito-idp-fips.us-east-1.vpce.amazonaws.com"),
            (Service::Sts, "https://sts.amazonaws.com"),
            (Service::Sts, "https://sts.eu-west-1.amazonaws.com"),
            (Service::Sts, "https://sts-fips.us-east-1.amazonaws.com"),
            (Service::Sts, "https://vpce-0a1b2c-3d4e.sts.eu-west-1.vpce.amazonaws.com"),
        ] {
            assert!(service.accepts(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_address_other_than_the_service_is_refused() {
        for url in [
            "http://cognito-idp.eu-west-1.amazonaws.com",
            "http://127.0.0.1:5000",
            "https://localhost",
            "https://[::1]",
            "https://example.com",
            "https://cognito-idp.eu-west-1.amazonaws.com.example.com",
            "https://cognito-idp.eu-west-1.notamazonaws.com",
            "https://cognito-idp.eu-west-1.amazonaws.com@example.com",
            "https://someone@cognito-idp.eu-west-1.amazonaws.com",
            "https://cognito-idp.eu-west-1.amazonaws.com:8443",
            "https://cognito-idp.eu-west-1.amazonaws.com/elsewhere",
            "https://cognito-idp.eu-west-1.amazonaws.com./",
            "https://example.com/cognito-idp.eu-west-1.amazonaws.com",
            "https://example.com?cognito-idp.eu-west-1.amazonaws.com",
            "https://example.com#.cognito-idp.eu-west-1.amazonaws.com",
            "https://cognito-idp.amazonaws.com",
            "https://cognito-idp..amazonaws.com",
            "https://cognito-idp.example.eu-west-1.amazonaws.com",
            // Servers of customers under domain names of AWS.
            "https://cognito-idp.s3.amazonaws.com",
            "https://cognito-idp.eu-west-1.elb.amazonaws.com",
            "https://ec2-203-0-113-1.eu-west-1.compute.amazonaws.com",
            "https://abcdef.execute-api.eu-west-1.amazonaws.com",
            "https://vpce-0a1b2c-3d4e.vpce-svc-0a1b.eu-west-1.vpce.amazonaws.com",
            // Another service of AWS.
            "https://sts.eu-west-1.amazonaws.com",
            "ftp://cognito-idp.eu-west-1.amazonaws.com",
            "cognito-idp.eu-west-1.amazonaws.com",
            "not a url",
            "",
        ] {
            assert!(Service::Cognito.accepts(url).is_err(), "{url}");
        }
        assert!(Service::Sts.accepts("https://cognito-idp.eu-west-1.amazonaws.com").is_err());
    }

    #[test]
    fn an_endpoint_is_of_the_region_that_its_name_has() {
        for (service, url, wanted) in [
            (Service::Cognito, "https://cognito-idp.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (Service::Cognito, "https://COGNITO-IDP-fips.us-gov-west-1.amazonaws.com/", Some("us-gov-west-1")),
            (Service::Cognito, "https://cognito-idp.us-east-1.api.aws", Some("us-east-1")),
            (Service::Cognito, "https://vpce-0a.cognito-idp.eu-west-1.vpce.amazonaws.com", Some("eu-west-1")),
            (Service::Cognito, "http://127.0.0.1:5000", None),
            (Service::Cognito, "https://example.com", None),
            (Service::Sts, "https://sts.amazonaws.com", None),
            (Service::Sts, "https://sts.eu-west-1.amazonaws.com", Some("eu-west-1")),
        ] {
            assert_eq!(service.region_of(url).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn the_refusal_names_the_host_and_no_password() {
        let error = Service::Sts.accepts("https://user:secret@example.com/path?token=x").unwrap_err().to_string();
        assert!(error.contains("'example.com'") && error.contains("AWS_ENDPOINT_URL_STS"), "{error}");
        assert!(!error.contains("secret") && !error.contains("token"), "{error}");
    }
}
