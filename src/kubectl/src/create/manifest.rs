//! The manifest of a request, as a person would write it.

use std::collections::BTreeMap;

use cognito_reset_api::{IfResetRequired, PasswordResetRequest, RequestedBy};
use kube::Resource;
use serde::Serialize;

/// The label that holds the ticket, if it can be the value of a label.
pub const TICKET_LABEL: &str = "cognito-reset.dev/ticket";

/// A manifest. Fields that have their default are left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Serialize)]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// The fields of the spec that the requests of a command share, and their user.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The user pool.
    #[serde(rename = "userPoolID")]
    pub user_pool_id: String,
    /// The user.
    pub username: String,
    /// The requester, where a policy demands the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<RequestedBy>,
    /// The ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The person who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The action if the user has to reset the password already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_reset_required: Option<IfResetRequired>,
    /// The moment after which the reset is never performed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The time, in seconds, for which the request is kept after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
}

impl Manifest {
    /// Returns the manifest of one request.
    #[must_use]
    pub fn new(name: &str, namespace: &str, spec: Spec) -> Self {
        let ticket = spec.ticket.clone().filter(|ticket| is_label_value(ticket));
        Self {
            api_version: PasswordResetRequest::api_version(&()).into_owned(),
            kind: PasswordResetRequest::kind(&()).into_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                labels: ticket.into_iter().map(|ticket| (TICKET_LABEL.to_owned(), ticket)).collect(),
            },
            spec,
        }
    }
}

/// Returns true if a text can be the value of a label: up to 63 letters, digits, `-`, `_` and `.`,
/// with a letter or digit at both ends.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let ends = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it))
}
