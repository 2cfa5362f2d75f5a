//! The table: every row, and every exception without one.

use cognito_reset_api::Exception;

use super::{Pool, Row, User, Wanted, Way};

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
