//! The names of one user. Cognito accepts each of them as the Username of a call, so a text that a
//! request contains identifies a user only after Cognito has been asked.

/// The names of a user, as AdminGetUser or ListUsers returned them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserNames {
    /// The canonical user name.
    pub username: Option<String>,
    /// The immutable `sub` attribute.
    pub sub: Option<String>,
    /// The e-mail address, which a pool may accept for sign-in.
    pub email: Option<String>,
    /// The phone number, which a pool may accept for sign-in.
    pub phone_number: Option<String>,
    /// The preferred user name, which a pool may accept for sign-in.
    pub preferred_username: Option<String>,
}

impl UserNames {
    /// Returns the name by which people know the user: the user name or, if that is the `sub`, as
    /// in pools whose users sign in by e-mail, the e-mail address or else the phone number.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let username = self.username.as_deref().filter(|username| Some(*username) != self.sub.as_deref());
        username.or(self.email.as_deref()).or(self.phone_number.as_deref()).or(self.username.as_deref())
    }

    /// Returns true if this spelling is a name that the user keeps: the user name or the `sub`. An
    /// address or a preferred user name can become another user's.
    #[must_use]
    pub fn keep(&self, spelling: &str) -> bool {
        [&self.username, &self.sub].into_iter().flatten().any(|name| name == spelling)
    }

    /// Returns every name that Cognito may accept for the user.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.username, &self.sub, &self.email, &self.phone_number, &self.preferred_username]
            .into_iter()
            .filter_map(Option::as_deref)
    }
}

/// The knowledge about the user of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum KnownUser {
    /// The user was not read yet. That happens before every claim, unless the grants let nobody
    /// read users.
    #[default]
    NotRead,
    /// The user cannot be read.
    Unreadable,
    /// The user was read.
    Read(UserNames),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(username: &str, sub: &str, email: &str, phone: &str) -> UserNames {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        UserNames {
            username: some(username),
            sub: some(sub),
            email: some(email),
            phone_number: some(phone),
            preferred_username: None,
        }
    }

    #[test]
    fn name_is_the_user_name_unless_that_is_the_sub() {
        for (user, wanted) in [
            (names("alice", "1", "a@example.com", "+44"), Some("alice")),
            (names("1", "1", "a@example.com", "+44"), Some("a@example.com")),
            (names("1", "1", "", "+44"), Some("+44")),
            (names("1", "1", "", ""), Some("1")),
            (names("alice", "", "a@example.com", ""), Some("alice")),
            (names("", "1", "", ""), None),
        ] {
            assert_eq!(user.name(), wanted, "{user:?}");
        }
    }

    #[test]
    fn only_user_name_and_sub_are_names_that_a_user_keeps() {
        let user = names("alice", "1", "a@example.com", "+44");
        for (spelling, kept) in [("alice", true), ("1", true), ("a@example.com", false), ("+44", false), ("", false)] {
            assert_eq!(user.keep(spelling), kept, "{spelling}");
        }
    }

    #[test]
    fn every_name_is_one_that_cognito_may_accept() {
        let mut user = names("alice", "1", "a@example.com", "+44");
        user.preferred_username = Some("al".into());
        assert_eq!(user.all().collect::<Vec<_>>(), ["alice", "1", "a@example.com", "+44", "al"]);
        assert_eq!(UserNames::default().all().count(), 0);
    }
}
