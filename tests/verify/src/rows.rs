//! The rows: the cases in which Cognito is asked to reset a user, and the documented response to
//! each. A row names only conditions, so that plan and comparison are functions of it.

use cognito_reset_api::Exception;

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

/// A row about a confirmed user, whom the emulator treats as Cognito does.
const EMULATED: Row = Row {
    id: "",
    case: "",
    pool: Pool::Mail,
    user: User::Confirmed,
    way: Way::Plain,
    wanted: Wanted::Accepted,
    emulated: true,
};
/// A row that only the service can show.
const REAL: Row = Row { emulated: false, ..EMULATED };

/// Every row, in the order of the report.
pub(crate) const ROWS: &[Row] = &[
    Row { id: "accepted", case: "a confirmed user with a verified address", ..EMULATED },
    Row {
        id: "accepted-again",
        case: "a user who already has to reset the password",
        user: User::ResetRequired,
        ..EMULATED
    },
    Row { id: "accepted-bounce", case: "a confirmed user whose mail bounces", user: User::Bouncing, ..EMULATED },
    Row {
        id: "no-user",
        case: "no such user",
        user: User::Missing,
        wanted: Wanted::Exception(&[Exception::UserNotFound]),
        ..EMULATED
    },
    Row {
        id: "no-pool",
        case: "no such pool",
        pool: Pool::Missing,
        user: User::Missing,
        wanted: Wanted::Exception(&[Exception::ResourceNotFound]),
        ..EMULATED
    },
    Row {
        id: "no-address",
        case: "a confirmed user without a verified address",
        user: User::NoAddress,
        wanted: Wanted::Exception(&[Exception::InvalidParameter]),
        ..EMULATED
    },
    Row {
        id: "disabled",
        case: "a disabled user",
        user: User::Disabled,
        wanted: Wanted::Exception(&[Exception::NotAuthorized]),
        ..EMULATED
    },
    Row {
        id: "force-change-password",
        case: "a user with a temporary password",
        user: User::ForceChangePassword,
        wanted: Wanted::Exception(&[Exception::NotAuthorized]),
        ..EMULATED
    },
    Row {
        id: "unconfirmed",
        case: "a user who signed up and is not confirmed",
        user: User::Unconfirmed,
        wanted: Wanted::Exception(&[Exception::NotAuthorized]),
        ..EMULATED
    },
    Row {
        id: "no-connection",
        case: "no server at the address of Cognito",
        way: Way::NoConnection,
        wanted: Wanted::NotSent,
        ..EMULATED
    },
    Row {
        id: "recovery-off",
        case: "a pool whose recovery is admin_only",
        pool: Pool::AdminOnly,
        wanted: Wanted::Exception(&[Exception::OperationNotEnabled]),
        ..REAL
    },
    Row {
        id: "trigger-forbidden",
        case: "a Lambda trigger that Cognito may not invoke",
        pool: Pool::ForbiddenTrigger,
        wanted: Wanted::Exception(&[Exception::UnexpectedLambda]),
        ..REAL
    },
    Row {
        id: "trigger-throws",
        case: "a Lambda trigger that throws",
        pool: Pool::FailingTrigger,
        way: Way::Trigger("throw"),
        wanted: Wanted::Exception(&[Exception::UserLambdaValidation]),
        ..REAL
    },
    Row {
        id: "trigger-nonsense",
        case: "a Lambda trigger that returns nonsense",
        pool: Pool::FailingTrigger,
        way: Way::Trigger("nonsense"),
        wanted: Wanted::Exception(&[Exception::InvalidLambdaResponse]),
        ..REAL
    },
    Row {
        id: "trigger-late",
        case: "a Lambda trigger that exceeds Cognito's timeout",
        pool: Pool::FailingTrigger,
        way: Way::Trigger("late"),
        // The documentation does not say which of these.
        wanted: Wanted::Exception(&[
            Exception::UnexpectedLambda,
            Exception::UserLambdaValidation,
            Exception::InvalidLambdaResponse,
        ]),
        ..REAL
    },
    Row {
        id: "no-response",
        case: "a response after the operator's timeout, because of a slow Lambda trigger",
        pool: Pool::FailingTrigger,
        way: Way::Impatient,
        wanted: Wanted::NoResponse,
        ..REAL
    },
    Row {
        id: "sms-role",
        case: "an SMS role without the permission to publish",
        pool: Pool::Sms,
        user: User::Phone,
        wanted: Wanted::Exception(&[Exception::InvalidSmsRoleAccessPolicy]),
        ..REAL
    },
    Row {
        id: "no-permission",
        case: "a role that allows nothing",
        way: Way::RoleWithoutPermission,
        wanted: Wanted::Exception(&[Exception::AccessDenied]),
        ..REAL
    },
    Row {
        id: "unknown-key",
        case: "credentials that AWS did not issue",
        way: Way::UnknownKey,
        wanted: Wanted::Exception(&[Exception::UnrecognizedClient]),
        ..REAL
    },
    Row {
        id: "wrong-secret",
        case: "a known access key with another secret",
        way: Way::WrongSecret,
        wanted: Wanted::Exception(&[Exception::InvalidSignature]),
        ..REAL
    },
];

/// The exceptions for which there is no row, and the reason.
pub(crate) const NOT_PROVOKED: &[(Exception, &str)] = &[
    (Exception::InternalError, FAILURE_OF_AWS),
    (Exception::ServiceUnavailable, FAILURE_OF_AWS),
    (Exception::InvalidEmailRoleAccessPolicy, "needs an e-mail identity of Amazon SES whose policy changes later"),
    (
        Exception::InvalidSmsRoleTrustRelationship,
        "needs a role whose trust policy changes after the pool was made, which takes effect at an unknown time",
    ),
    (Exception::LimitExceeded, "needs all e-mails of the account's day, which its users would lack"),
    (Exception::CodeDeliveryFailure, "needs a delivery that fails while Cognito waits for it"),
    (Exception::TooManyRequests, QUOTA_OF_USERS),
    (Exception::Throttling, QUOTA_OF_USERS),
    (Exception::RequestLimitExceeded, QUOTA_OF_USERS),
    (Exception::ExpiredToken, OLD_TOKEN),
    (Exception::ExpiredTokenException, OLD_TOKEN),
    (Exception::IncompleteSignature, UNSIGNED),
    (Exception::MissingAuthenticationToken, UNSIGNED),
    (Exception::OptInRequired, "needs an account without a subscription to the service"),
    (Exception::RequestExpired, "needs a clock that is wrong by more than 5 minutes"),
];

const FAILURE_OF_AWS: &str = "needs a failure of the service itself";
const QUOTA_OF_USERS: &str = "needs the quota that the account's users share";
const OLD_TOKEN: &str = "needs a session token of at least 15 minutes";
const UNSIGNED: &str = "needs a request that the AWS SDK does not send";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_exception_has_a_row_or_a_reason_why_not() {
        let first = |row: &Row| match row.wanted {
            Wanted::Exception([first, ..]) => Some(first.code()),
            Wanted::Exception([]) | Wanted::Accepted | Wanted::NotSent | Wanted::NoResponse => None,
        };
        let shown: BTreeSet<_> = ROWS.iter().filter_map(first).collect();
        for exception in Exception::ALL {
            let reasons = NOT_PROVOKED.iter().filter(|(it, _)| it == exception).count();
            assert_eq!(reasons + usize::from(shown.contains(exception.code())), 1, "{}", exception.code());
        }
        for wanted in [Wanted::Accepted, Wanted::NotSent, Wanted::NoResponse] {
            assert!(ROWS.iter().any(|row| row.wanted == wanted), "{wanted:?}");
        }
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| !row.id.is_empty() && !row.case.is_empty()));
    }

    #[test]
    fn every_state_that_the_admin_api_can_make_has_a_row() {
        for user in [
            User::Confirmed,
            User::Bouncing,
            User::Phone,
            User::NoAddress,
            User::Disabled,
            User::ResetRequired,
            User::ForceChangePassword,
            User::Unconfirmed,
            User::Missing,
        ] {
            assert!(ROWS.iter().any(|row| row.user == user), "{user:?}");
        }
    }

    #[test]
    fn only_calls_that_can_send_a_mail_count_as_mails() {
        let counted: Vec<_> = ROWS.iter().filter(|row| row.mails() > 0).map(|row| row.id).collect();
        assert_eq!(
            counted,
            [
                "accepted",
                "accepted-again",
                "accepted-bounce",
                "disabled",
                "force-change-password",
                "unconfirmed",
                "recovery-off",
                "trigger-forbidden",
                "trigger-throws",
                "trigger-nonsense",
                "trigger-late",
                "no-response",
            ]
        );
    }
}
