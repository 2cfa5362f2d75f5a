//! The failures of a command: what happened, what to do, and the exit code.

use http::StatusCode;
use kube::{client::AuthError, core::Status};

use crate::{exit::Exit, terminal::shown};

/// The words for a refusal by RBAC.
const NO_PERMISSION: &str = "you lack the permission";

/// The end of a command that could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The result for scripts.
    pub exit: Exit,
    /// The problem, and the way out.
    pub message: String,
}

impl Failure {
    /// Returns the failure of a command line or file that cannot be used.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// Returns true if it is a refusal by RBAC.
    #[must_use]
    pub fn is_of_permission(&self) -> bool {
        self.message.contains(NO_PERMISSION)
    }

    /// Returns the failure of something that the cluster or the user refused.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::NothingSent, message: message.into() }
    }

    /// Returns the failure of a kubeconfig that cannot be read.
    #[must_use]
    pub fn of_kubeconfig(error: &dyn std::error::Error) -> Self {
        Self::usage(format!("the kubeconfig cannot be used: {}", sources(error)))
    }

    /// Returns the failure of a Pod without kubeconfig, whose service account cannot be used.
    #[must_use]
    pub fn of_pod(error: &dyn std::error::Error) -> Self {
        Self::usage(format!(
            "there is no kubeconfig, and the service account of this Pod cannot be used: {}",
            sources(error)
        ))
    }

    /// Returns the failure of a kubeconfig by which no connection can be made.
    #[must_use]
    pub fn of_connection(error: &kube::Error) -> Self {
        match error {
            kube::Error::Auth(error) => Self::refused(of_credentials(error)),
            kube::Error::ProxyProtocolUnsupported { proxy_url }
            | kube::Error::ProxyProtocolDisabled { proxy_url, .. } => {
                let scheme = proxy_url.scheme_str().unwrap_or_default();
                Self::usage(format!(
                    "the proxy of the kubeconfig (proxy-url) or of HTTPS_PROXY cannot be used: its protocol is {scheme}, and the plugin supports http and https"
                ))
            }
            error => Self::usage(format!("the kubeconfig cannot be used: {}", sources(error))),
        }
    }

    /// Returns the failure of a request to the API server. `what` completes "cannot …", such as
    /// "list requests in namespace support".
    #[must_use]
    pub fn of_api(error: &kube::Error, what: &str) -> Self {
        Self::refused(match error {
            kube::Error::Api(status) => of_status(status, what),
            kube::Error::Auth(error) => format!("cannot {what}: {}", of_credentials(error)),
            kube::Error::SerdeError(error) => format!(
                "cannot {what}: this version of the plugin cannot parse an object that the API server returned ({}); use the plugin of the operator's version, which `kubectl cognito-reset doctor` shows",
                shown(&error.to_string())
            ),
            error if is_certificate(error) => format!(
                "cannot {what}: the certificate of the API server is not accepted ({}); correct certificate-authority-data or tls-server-name in the kubeconfig",
                sources(error)
            ),
            error => format!(
                "cannot {what}: the API server does not respond ({}); check the context and the network with `kubectl get --raw /version`",
                sources(error)
            ),
        })
    }
}

/// Describes credentials that cannot be loaded.
fn of_credentials(error: &AuthError) -> String {
    let AuthError::AuthExecRun { out, .. } = error else {
        return format!("the credentials of the kubeconfig cannot be loaded ({}): log in again", sources(error));
    };
    // Standard output is not shown: it may contain a token.
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.trim().lines().map(shown).collect::<Vec<_>>().join(" ");
    let said = if said.is_empty() { said } else { format!(": {said}") };
    format!(
        "the command that the kubeconfig runs for credentials failed ({}){said}; log in again, or run the command of users[].user.exec by hand",
        out.status
    )
}

/// Returns true if the TLS connection was refused by this side.
fn is_certificate(error: &kube::Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |error| behind(*error));
    chain.any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Returns the error behind one. An error of I/O names only what is behind the one that it wraps.
fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped))
}

fn of_status(status: &Status, what: &str) -> String {
    let message = shown(&status.message);
    match StatusCode::from_u16(status.code) {
        // RBAC, and not an admission policy, whose message is its own.
        Ok(StatusCode::FORBIDDEN) if message.contains(" is forbidden: User ") => format!(
            "cannot {what}: {NO_PERMISSION} ({message}); the ClusterRoles cognito-reset-requester, cognito-reset-approver, cognito-reset-responder and cognito-reset-auditor grant what each task needs"
        ),
        // The policy cognito-reset-approval, which asks for a verb.
        Ok(StatusCode::FORBIDDEN) if message.contains("approving requires the verb approve") => {
            format!("cannot {what}: {message}; the ClusterRole cognito-reset-approver grants it")
        }
        Ok(StatusCode::UNAUTHORIZED) => {
            format!("cannot {what}: the API server does not accept your credentials: log in again")
        }
        Ok(StatusCode::NOT_FOUND)
            if message.contains("could not find the requested resource")
                || message.starts_with("404 page not found") =>
        {
            format!(
                "cannot {what}: this cluster has no CRDs of cognito-reset.dev: install the operator, or choose another context with --context"
            )
        }
        Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            let message = if message.is_empty() { "" } else { &format!(" ({message})") };
            format!(
                "cannot {what}: the API server is busy, and was asked several times{message}: run the same command again later"
            )
        }
        Ok(StatusCode::NOT_FOUND) if message.starts_with("namespaces \"") => {
            format!("cannot {what}: {message}: create it, or name another one with -n")
        }
        _ => format!("cannot {what}: {message}"),
    }
}

/// Returns an error with those behind it.
pub(crate) fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_found_has_its_own_way_out() {
        for (message, way_out) in [
            ("namespaces \"nowhere\" not found", "not found: create it, or name another one with -n"),
            ("the server could not find the requested resource", "this cluster has no CRDs"),
            ("passwordresetrequests.cognito-reset.dev \"a\" not found", "\"a\" not found"),
        ] {
            let status = Status { message: message.to_owned(), code: 404, ..Status::default() };
            let shown = of_status(&status, "create the request a");
            assert!(shown.contains(way_out), "{shown}");
        }
    }

    #[test]
    fn no_message_of_the_server_controls_the_terminal() {
        for code in [400, 403, 404, 409, 422, 429, 500, 503] {
            for begin in ["", "namespaces \"", "x is forbidden: User "] {
                let status = Status { message: format!("{begin}a\u{1b}]0;b\u{9b}c"), code, ..Status::default() };
                let shown = of_status(&status, "create the request a");
                assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_missing_permission_is_not_the_refusal_of_a_policy() {
        let prr = "passwordresetrequests.cognito-reset.dev";
        let of_policy = "the requester cannot approve their own request: another user has to approve it";
        for (message, is_permission) in [
            (format!("{prr} \"a\" is forbidden: User \"dave\" cannot get resource"), true),
            (format!("{prr} is forbidden: User \"dave\" cannot list resource"), true),
            (format!("{prr} \"a\" is forbidden: ValidatingAdmissionPolicy 'x' denied request: {of_policy}"), false),
        ] {
            let status = Status { message, code: 403, ..Status::default() };
            let shown = of_status(&status, "approve the request a");
            assert_eq!(shown.contains("you lack the permission"), is_permission, "{shown}");
            assert_eq!(Failure::refused(shown).is_of_permission(), is_permission);
        }
        let message = "x denied request: approving requires the verb approve on this y".to_owned();
        let shown = of_status(&Status { message, code: 403, ..Status::default() }, "approve the request a");
        assert!(shown.ends_with("approve on this y; the ClusterRole cognito-reset-approver grants it"), "{shown}");
    }

    #[test]
    fn each_failure_says_what_is_true_and_the_way_out() {
        let unparsable = serde_json::from_str::<u8>("\"\u{9b}\"").expect_err("no number");
        let busy = Status { message: "too many".into(), code: 429, ..Status::default() };
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, wanted) in [
            (kube::Error::SerdeError(unparsable), ["cannot parse an object", "the plugin of the operator's version"]),
            (kube::Error::Api(Box::new(busy)), ["is busy", "again later"]),
            (
                kube::Error::Service(std::io::Error::other(certificate).into()),
                ["certificate", "certificate-authority-data"],
            ),
            (kube::Error::Service(refused.into()), ["does not respond", "kubectl get --raw /version"]),
        ] {
            let shown = Failure::of_api(&error, "list requests").message;
            assert!(shown.starts_with("cannot list requests: ") && !shown.contains('\u{9b}'), "{shown:?}");
            assert!(wanted.iter().all(|wanted| shown.contains(wanted)), "{shown}");
        }
    }
}
