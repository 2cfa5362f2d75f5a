//! The rows: the cases in which Cognito is asked to reset a user, and the documented response to
//! each. A row names only conditions, so that plan and comparison are functions of it.

mod table;

use cognito_reset_api::Exception;

pub(crate) use self::table::{NOT_PROVOKED, ROWS};

/// A user pool of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pool {
    /// Verifies and recovers by e-mail, with Cognito's own sender.
    Mail,
    /// Turns self-service recovery off.
    AdminOnly,
    /// Has a trigger for custom messages that Cognito must not invoke. The function does not exist.
    ForbiddenTrigger,
    /// Has a trigger for custom messages that fails as the request asks.
    FailingTrigger,
    /// Recovers by SMS, with a role that lacks the permission to publish.
    Sms,
    /// Does not exist.
    Missing,
}

impl Pool {
    /// The pools that a run makes.
    pub(crate) const MADE: [Self; 5] =
        [Self::Mail, Self::AdminOnly, Self::ForbiddenTrigger, Self::FailingTrigger, Self::Sms];

    /// Returns the end of its name; `None` if it is never made.
    pub(crate) const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Mail => Some("mail"),
            Self::AdminOnly => Some("admin-only"),
            Self::ForbiddenTrigger => Some("forbidden-trigger"),
            Self::FailingTrigger => Some("failing-trigger"),
            Self::Sms => Some("sms"),
            Self::Missing => None,
        }
    }

    /// Returns true if it needs a role or a function.
    pub(crate) const fn needs_iam(self) -> bool {
        match self {
            Self::FailingTrigger | Self::Sms => true,
            Self::Mail | Self::AdminOnly | Self::ForbiddenTrigger | Self::Missing => false,
        }
    }
}

/// The user of a row, before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// CONFIRMED, with a verified address that accepts mail.
    Confirmed,
    /// CONFIRMED, with a verified address whose mail bounces.
    Bouncing,
    /// CONFIRMED, with a verified phone number.
    Phone,
    /// CONFIRMED, without any address.
    NoAddress,
    /// CONFIRMED, and disabled.
    Disabled,
    /// RESET_REQUIRED, by an earlier reset.
    ResetRequired,
    /// FORCE_CHANGE_PASSWORD.
    ForceChangePassword,
    /// UNCONFIRMED: signed up, and never confirmed.
    Unconfirmed,
    /// Does not exist.
    Missing,
}

impl User {
    /// Returns the attributes that the user is made with.
    pub(crate) const fn attributes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bouncing => &[("email", "bounce@simulator.amazonses.com"), ("email_verified", "true")],
            // A number that is reserved for fiction.
            Self::Phone => &[("phone_number", "+12065550100"), ("phone_number_verified", "true")],
            // A user who signs up cannot verify an address by an attribute.
            Self::Unconfirmed => &[("email", "success@simulator.amazonses.com")],
            Self::NoAddress | Self::Missing => &[],
            Self::Confirmed | Self::Disabled | Self::ResetRequired | Self::ForceChangePassword => {
                &[("email", "success@simulator.amazonses.com"), ("email_verified", "true")]
            }
        }
    }

    /// Returns the mails that are sent while the user is made.
    pub(crate) const fn mails(self) -> u32 {
        match self {
            Self::ResetRequired | Self::Unconfirmed => 1,
            Self::Confirmed
            | Self::Bouncing
            | Self::Phone
            | Self::NoAddress
            | Self::Disabled
            | Self::ForceChangePassword
            | Self::Missing => 0,
        }
    }
}

/// The way in which the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As the operator makes it.
    Plain,
    /// The trigger is asked to behave in this way, which `trigger.py` lists.
    Trigger(&'static str),
    /// The trigger responds after the operator has stopped waiting.
    Impatient,
    /// To an address at which nothing listens.
    NoConnection,
    /// With credentials that AWS did not issue.
    UnknownKey,
    /// With a known key and another secret.
    WrongSecret,
    /// Under a role that allows nothing.
    RoleWithoutPermission,
}

/// The documented response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The reset is accepted.
    Accepted,
    /// One of these exceptions. The first is the one that the row is about.
    Exception(&'static [Exception]),
    /// No connection is made.
    NotSent,
    /// No response is received in time.
    NoResponse,
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// A name that stays the same, for reports.
    pub(crate) id: &'static str,
    /// The case in words.
    pub(crate) case: &'static str,
    pub(crate) pool: Pool,
    pub(crate) user: User,
    pub(crate) way: Way,
    pub(crate) wanted: Wanted,
    /// True if the emulator of the tests responds as it is documented. If not, only the service can
    /// show the row.
    pub(crate) emulated: bool,
}

impl Row {
    /// Returns true if it needs a role or a function.
    pub(crate) const fn needs_iam(&self) -> bool {
        self.pool.needs_iam() || matches!(self.way, Way::RoleWithoutPermission)
    }

    /// Returns the most mails that the call can cause. That a failure prevents the mail is what the
    /// row is to show, so it does not count as prevented.
    pub(crate) const fn mails(&self) -> u32 {
        let by_mail = !matches!(self.pool, Pool::Sms | Pool::Missing);
        let reaches_cognito = matches!(self.way, Way::Plain | Way::Trigger(_) | Way::Impatient);
        let has_address = !matches!(self.user, User::NoAddress | User::Missing | User::Phone);
        if by_mail && reaches_cognito && has_address { 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests;
