//! Decides whether requester and approver are two people, and whether either counts.
//!
//! A name is not a person. On Amazon EKS the uid of a user is an account and a role, the user name
//! is what the mapping makes of them, and only the name of the role's session may identify a
//! person. AWS lets the caller choose that name, unless IAM Identity Center does. So two different
//! session names prove two people only if the grant says so, while two equal ones always count as
//! one person.

use std::sync::LazyLock;

use cognito_reset_api::{ApprovedBy, IdentityAttribute, RequestedBy, UserExtra};
use regex::Regex;

/// The session names that tools set for all of their users, and names that they generate. They name
/// no person. The policy `cognito-reset-approval` contains the same pattern.
const NAMED_BY_TOOLS: &str =
    "(?i)^(EKSGetTokenAuth|AWSCLI-Session|GitHubActions|aws-sdk-.*|i-[0-9a-f]{8,17}|.*[0-9]{10,})$";

static OF_TOOLS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(NAMED_BY_TOOLS).ok());

/// The attributes that are compared if a grant does not name any.
const BY_DEFAULT: &[IdentityAttribute] = &[IdentityAttribute::Username, IdentityAttribute::Uid];

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A user, as requester or approver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person<'a> {
    username: &'a str,
    uid: Option<&'a str>,
    session_name: Option<&'a str>,
}

impl<'a> From<&'a RequestedBy> for Person<'a> {
    fn from(user: &'a RequestedBy) -> Self {
        Self::new(&user.username, user.uid.as_deref(), user.extra.as_ref())
    }
}

impl<'a> From<&'a ApprovedBy> for Person<'a> {
    fn from(user: &'a ApprovedBy) -> Self {
        Self::new(&user.username, user.uid.as_deref(), user.extra.as_ref())
    }
}

impl<'a> Person<'a> {
    fn new(username: &'a str, uid: Option<&'a str>, extra: Option<&'a UserExtra>) -> Self {
        Self { username, uid, session_name: extra.and_then(|extra| extra.session_name.as_deref()) }
    }

    /// Returns true if the user is a service account of the request's namespace that the grant does
    /// not name.
    ///
    /// The built-in roles `edit` and `admin` allow everyone who has them in a namespace to act as
    /// each of its service accounts. Such an account is no second person.
    pub(super) fn is_dependent(self, namespace: &str, named: &[String]) -> bool {
        is_service_account_of(self.username, namespace) && !named.iter().any(|name| name == self.username)
    }

    /// Returns true if the two are shown to be different people: each attribute that both have
    /// differs, and at least one was compared.
    pub(super) fn differs_from(self, other: Self, identity: Option<&[IdentityAttribute]>) -> bool {
        let compared = if self.is_service_account() || other.is_service_account() {
            BY_DEFAULT
        } else if self.may_share_a_session_with(other) {
            return false;
        } else {
            identity.unwrap_or(BY_DEFAULT)
        };
        let mut differences = compared.iter().filter_map(|attribute| self.differs_in(other, *attribute)).peekable();
        differences.peek().is_some() && differences.all(|differs| differs)
    }

    /// Compares one attribute. Returns `None` if one of the two lacks it.
    fn differs_in(self, other: Self, attribute: IdentityAttribute) -> Option<bool> {
        match attribute {
            IdentityAttribute::Username => Some(self.username != other.username),
            IdentityAttribute::Uid => Some(self.uid? != other.uid?),
            IdentityAttribute::SessionName => Some(!self.session_name?.eq_ignore_ascii_case(other.session_name?)),
        }
    }

    /// Returns true if the sessions have the same name, or if the name of one does not identify a
    /// person.
    fn may_share_a_session_with(self, other: Self) -> bool {
        let same = self.differs_in(other, IdentityAttribute::SessionName) == Some(false);
        same || self.has_a_session_of_a_tool() || other.has_a_session_of_a_tool()
    }

    fn has_a_session_of_a_tool(self) -> bool {
        self.session_name.is_some_and(|name| OF_TOOLS.as_ref().is_none_or(|tools| tools.is_match(name)))
    }

    fn is_service_account(self) -> bool {
        self.username.starts_with(SERVICE_ACCOUNT)
    }
}

/// Returns true if this is the user name of a service account of the namespace.
pub(crate) fn is_service_account_of(username: &str, namespace: &str) -> bool {
    let account = username.strip_prefix(SERVICE_ACCOUNT).and_then(|account| account.split_once(':'));
    account.is_some_and(|(of, _)| of == namespace)
}

#[cfg(test)]
mod tests;
