//! The failures of a command: what happened, what to do, and the exit code.

use http::StatusCode;
use kube::core::Status;

use crate::exit::Exit;

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

    /// Returns the failure of something that the cluster or the user refused.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::NothingSent, message: message.into() }
    }

    /// Returns the failure of a request to the API server. `what` completes "cannot …", such as
    /// "list requests in namespace support".
    #[must_use]
    pub fn of_api(error: &kube::Error, what: &str) -> Self {
        Self::refused(match error {
            kube::Error::Api(status) => of_status(status, what),
            kube::Error::Auth(error) => {
                format!("cannot {what}: the credentials of the kubeconfig cannot be loaded ({error})")
            }
            error => format!(
                "cannot {what}: the API server does not respond ({}); check the context and the network with `kubectl get --raw /version`",
                sources(error)
            ),
        })
    }
}

fn of_status(status: &Status, what: &str) -> String {
    let Status { message, code, .. } = status;
    match StatusCode::from_u16(*code) {
        // RBAC, and not an admission policy, whose message is its own.
        Ok(StatusCode::FORBIDDEN) if message.contains(" is forbidden: User ") => format!(
            "cannot {what}: you lack the permission ({message}); the ClusterRoles cognito-reset-requester, cognito-reset-approver, cognito-reset-responder and cognito-reset-auditor grant what each task needs"
        ),
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
        }
    }
}
