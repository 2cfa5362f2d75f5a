//! Determines what a response that is an error proves about a read or write, and who rejects a
//! write.
//!
//! Only a name is taken from the text of a response, and only from the place where the API server
//! writes it. The rest of the text belongs to a policy, or quotes the rejected object, and may
//! contain a user's name.

use std::fmt;

use kube::{Resource, core::Status};

/// The maximum length of an object name.
const MAX_NAME: usize = 253;

/// The meaning of a response that is an error, for the write that it responds to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorResponse {
    /// Another write came first. Nothing was written.
    Conflict,
    /// The object does not exist. Nothing was written.
    NotFound,
    /// The API server refused. Nothing was written, and the same write will be refused again.
    Refused(Refuser),
    /// The write may or may not have been applied.
    Inconclusive,
}

impl ErrorResponse {
    /// Classifies a response. A timeout, throttling and 5xx may come from a proxy, after the write.
    /// A refusal by admission comes before it, regardless of the status code.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let refuser = Refuser::of(status);
        match status.code {
            _ if refuser.is_of_admission() => Self::Refused(refuser),
            404 => Self::NotFound,
            409 => Self::Conflict,
            408 | 429 => Self::Inconclusive,
            400..=499 => Self::Refused(refuser),
            _ => Self::Inconclusive,
        }
    }
}

/// Returns true if a 404 is the API server's own statement that the object of this name does not
/// exist. An intermediary, or a server without the CRD, returns 404 as well, but does not name the
/// object.
#[must_use]
pub fn is_absence<K: Resource<DynamicType = ()>>(status: &Status, name: &str) -> bool {
    let names = status.details.as_ref().is_some_and(|details| {
        details.name == name && details.kind == K::plural(&()) && details.group == K::group(&())
    });
    status.code == 404 && status.reason == "NotFound" && names
}

/// The reason why a write is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refuser {
    /// A ValidatingAdmissionPolicy, by name.
    ValidatingPolicy(String),
    /// A MutatingAdmissionPolicy, by name.
    MutatingPolicy(String),
    /// An admission webhook, by name.
    Webhook(String),
    /// A required admission webhook that cannot be called, by name.
    UnreachableWebhook(String),
    /// A ResourceQuota, by name.
    Quota(String),
    /// The operator lacks a permission.
    Permission,
    /// The CRD does not allow the object.
    Crd,
    /// The response names nobody.
    Other {
        /// The status code of the response.
        code: u16,
        /// The reason in the response, such as `Forbidden`.
        reason: String,
    },
}

impl Refuser {
    /// All labels of a metric.
    pub const KINDS: [&str; 6] = ["policy", "webhook", "quota", "permission", "crd", "other"];

    /// Parses a response that rejects a write.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let text = innermost(&status.message);
        by_name(text).unwrap_or_else(|| {
            if status.code == 403 && text.starts_with("User \"") {
                Self::Permission
            } else if status.code == 422 && names_fields(status) {
                Self::Crd
            } else {
                let reason = status.reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
                Self::Other { code: status.code, reason }
            }
        })
    }

    /// Returns the label for a metric, from a closed list.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ValidatingPolicy(_) | Self::MutatingPolicy(_) => "policy",
            Self::Webhook(_) | Self::UnreachableWebhook(_) => "webhook",
            Self::Quota(_) => "quota",
            Self::Permission => "permission",
            Self::Crd => "crd",
            Self::Other { .. } => "other",
        }
    }

    /// Returns true if admission rejected the write. Admission comes before storage, so nothing was
    /// written, regardless of the status code: a webhook chooses its own, and the API server
    /// returns 500 for one that cannot be called.
    #[must_use]
    pub const fn is_of_admission(&self) -> bool {
        match self {
            Self::ValidatingPolicy(_)
            | Self::MutatingPolicy(_)
            | Self::Webhook(_)
            | Self::UnreachableWebhook(_)
            | Self::Quota(_) => true,
            Self::Permission | Self::Crd | Self::Other { .. } => false,
        }
    }
}

impl fmt::Display for Refuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ValidatingPolicy(name) => write!(f, "the ValidatingAdmissionPolicy {name}"),
            Self::MutatingPolicy(name) => write!(f, "the MutatingAdmissionPolicy {name}"),
            Self::Webhook(name) => write!(f, "the admission webhook {name}"),
            Self::UnreachableWebhook(name) => write!(f, "the admission webhook {name}, which cannot be called"),
            Self::Quota(name) => write!(f, "the ResourceQuota {name}"),
            Self::Permission => f.write_str("RBAC, for lack of a permission"),
            Self::Crd => f.write_str("the CRD"),
            Self::Other { code, reason } if reason.is_empty() => write!(f, "the API server ({code})"),
            Self::Other { code, reason } => write!(f, "the API server ({code} {reason})"),
        }
    }
}

/// Returns the text after the API server's own words about the object.
fn innermost(message: &str) -> &str {
    let message = message.strip_prefix("Internal error occurred: ").unwrap_or(message);
    match message.split_once(" is forbidden: ") {
        Some((object, text)) if is_object(object) => text,
        Some(_) | None => message,
    }
}

/// Returns true for `RESOURCE.GROUP` or `RESOURCE.GROUP "NAME"`, and false for a text that somebody
/// else chose.
fn is_object(text: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|it| is_of_name(it) || it == '/');
    match text.split_once(' ') {
        None => is_name(text),
        Some((resource, name)) => {
            let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
            is_name(resource) && name.is_some_and(is_name)
        }
    }
}

const fn is_of_name(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '.' | '-')
}

fn by_name(text: &str) -> Option<Refuser> {
    let named = |before: &str, end: char| {
        let (name, _) = text.strip_prefix(before)?.split_once(end)?;
        let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_of_name);
        fits.then(|| name.to_owned())
    };
    None.or_else(|| named("ValidatingAdmissionPolicy '", '\'').map(Refuser::ValidatingPolicy))
        .or_else(|| named("policy '", '\'').map(Refuser::MutatingPolicy))
        .or_else(|| named("policy \"", '"').map(Refuser::MutatingPolicy))
        .or_else(|| named("admission webhook \"", '"').map(Refuser::Webhook))
        .or_else(|| named("failed calling webhook \"", '"').map(Refuser::UnreachableWebhook))
        .or_else(|| named("exceeded quota: ", ',').map(Refuser::Quota))
}

fn names_fields(status: &Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| !cause.field.is_empty())
}

#[cfg(test)]
mod tests;
