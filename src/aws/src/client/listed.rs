//! Finds one user by ListUsers.
//!
//! A list is eventually consistent, and a filter finds a user by one attribute. So the result is
//! the user of a request only if it is the only one, and has the very name that the request
//! contains.

use aws_config::timeout::TimeoutConfig;
use aws_sdk_cognitoidentityprovider::types::UserType;
use cognito_reset_core::{
    action::{
        port::{ReadError, User, UserRef},
        user_names::UserNames,
    },
    dispatch::lane::LIST_CALLS,
};
use uuid::Uuid;

use super::{Aws, AwsSession, names_of, user_status};
use crate::{transport::witnessed, validate_response::Body};

/// The most users that a list returns. Two are enough to know that there are several.
const MOST_LISTED: i32 = 2;

/// An attribute that users are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Username,
    Sub,
    Email,
}

impl Filter {
    /// Returns the filters for a name, by its form. There is a call for each.
    fn of(name: &str) -> impl Iterator<Item = Self> {
        let is_uuid = Uuid::try_parse(name).is_ok_and(|uuid| uuid.hyphenated().to_string() == name);
        let second = if is_uuid { Some(Self::Sub) } else { name.contains('@').then_some(Self::Email) };
        std::iter::once(Self::Username).chain(second)
    }

    /// Returns the filter for this name, in the syntax of ListUsers.
    fn text(self, name: &str) -> String {
        let attribute = match self {
            Self::Username => "username",
            Self::Sub => "sub",
            Self::Email => "email",
        };
        let escaped = name.replace('\\', r"\\").replace('"', r#"\""#);
        format!("{attribute} = \"{escaped}\"")
    }

    /// Returns true if the user has this very name. Whether a pool ignores case is not known here.
    fn finds(self, name: &str, names: &UserNames) -> bool {
        let found = match self {
            Self::Username => &names.username,
            Self::Sub => &names.sub,
            Self::Email => &names.email,
        };
        found.as_deref() == Some(name)
    }

    /// Returns true if no two users of a pool have the same value.
    const fn is_unique(self) -> bool {
        match self {
            Self::Username | Self::Sub => true,
            Self::Email => false,
        }
    }
}

impl Aws {
    /// Finds a user, with at most [`LIST_CALLS`] calls. One that fails because a connection was
    /// closed while idle is repeated, and counts.
    pub(super) async fn find(&self, session: &AwsSession, user: UserRef<'_>) -> Result<User, ReadError> {
        let (mut left, mut lost) = (LIST_CALLS, None);
        for filter in Filter::of(user.username) {
            let answered = loop {
                if left == 0 {
                    break false;
                }
                left -= 1;
                match self.list(session, user, filter).await {
                    Ok(Some(user)) => return Ok(user),
                    Ok(None) => break true,
                    Err(error @ (ReadError::NotSent(_) | ReadError::Connection(_))) => lost = Some(error),
                    Err(error) => return Err(error),
                }
            };
            if !answered {
                return Err(lost.unwrap_or(ReadError::NoResponse));
            }
        }
        Err(ReadError::NotListed)
    }

    /// Lists the users that a filter finds. Returns the user if it is the only one and has the
    /// name of the request.
    async fn list(&self, session: &AwsSession, user: UserRef<'_>, filter: Filter) -> Result<Option<User>, ReadError> {
        let timeouts = TimeoutConfig::builder().operation_timeout(self.timeouts.read).build();
        let (http, witness) = witnessed(self.http.clone());
        let call = session
            .client
            .list_users()
            .user_pool_id(user.pool)
            .filter(filter.text(user.username))
            .limit(MOST_LISTED)
            .customize()
            .config_override(session.settings(Body::Object).timeout_config(timeouts).http_client(http))
            .send();
        let output = self.read_result(call, &witness, session, user.username).await?;
        match output.users() {
            [] if output.pagination_token().is_none() => Ok(None),
            // The users may be on a later page, so that another filter must not decide.
            [] => Err(ReadError::NotListed),
            [one] if output.pagination_token().is_none() || filter.is_unique() => found(one, filter, user.username),
            _ => Err(ReadError::SeveralListed),
        }
    }
}

/// Returns a listed user, unless it has another name than the request.
fn found(user: &UserType, filter: Filter, name: &str) -> Result<Option<User>, ReadError> {
    let names = names_of(user.username(), user.attributes());
    if !filter.finds(name, &names) {
        return Ok(None);
    }
    // Anybody can set an address that is not verified. Only where users sign in by their address,
    // it names a user before that.
    if filter == Filter::Email && !is_verified(user) && names.username != names.sub {
        return Err(ReadError::NotListed);
    }
    let status = user.user_status().map(user_status).ok_or(ReadError::NoResponse)?;
    Ok(Some(User { status, names }))
}

fn is_verified(user: &UserType) -> bool {
    user.attributes().iter().any(|it| it.name() == "email_verified" && it.value() == Some("true"))
}

#[cfg(test)]
mod tests;
