//! The manifest of a request, as a person would write it.

use std::collections::BTreeMap;

use kube::Resource;
use serde::Serialize;

use crate::request::{Request, Spec};

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

impl Manifest {
    /// Returns the manifest of one request.
    #[must_use]
    pub fn new(name: &str, namespace: &str, spec: Spec) -> Self {
        let ticket = spec.ticket.clone().filter(|ticket| is_label_value(ticket));
        Self {
            api_version: Request::api_version(&()).into_owned(),
            kind: Request::kind(&()).into_owned(),
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
