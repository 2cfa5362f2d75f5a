//! The responses of Cognito and STS, or of something before them.

use std::time::Duration;

use super::{random::Random, troubles::Trouble};
use crate::{Fault as Broken, Reply};

/// Delays beyond the timeout of 1 s: two within the 7 s after which an open claim is resolved, and
/// one beyond.
const LATE: [Duration; 3] = [Duration::from_millis(1300), Duration::from_secs(3), Duration::from_secs(9)];

/// Sends a request on too late.
pub(super) fn late(random: &mut Random) -> Broken {
    Broken::Late(*random.pick(&LATE))
}

/// Returns an error with one of several equivalent codes.
fn exception(codes: &[(u16, &str)], random: &mut Random) -> Reply {
    let (status, code) = *random.pick(codes);
    Reply::aws_error(status, code)
}

/// Returns the response to an operation of Cognito.
pub(super) fn to_cognito(trouble: Trouble, random: &mut Random) -> Broken {
    let internal = &[(500, "InternalErrorException"), (503, "ServiceUnavailable")];
    let failed = &[
        (400, "CodeDeliveryFailureException"),
        (400, "UserLambdaValidationException"),
        (400, "UnexpectedLambdaException"),
        (400, "InvalidLambdaResponseException"),
        (400, "InvalidEmailRoleAccessPolicyException"),
        (400, "InvalidSmsRoleAccessPolicyException"),
        (400, "InvalidSmsRoleTrustRelationshipException"),
        (400, "LimitExceededException"),
    ];
    let page = || {
        let status = 200;
        Reply::new(status, "<html><body>Please sign in to the network</body></html>")
            .header("content-type", "text/html")
    };
    match trouble {
        Trouble::Refused => Broken::Respond(exception(
            &[
                (400, "UserNotFoundException"),
                (400, "NotAuthorizedException"),
                (400, "InvalidParameterException"),
                (400, "ResourceNotFoundException"),
                (400, "OperationNotEnabledException"),
            ],
            random,
        )),
        Trouble::Throttled => Broken::Respond(exception(
            &[(400, "TooManyRequestsException"), (400, "ThrottlingException"), (503, "RequestLimitExceeded")],
            random,
        )),
        Trouble::Denied => Broken::Respond(exception(
            &[
                (400, "AccessDeniedException"),
                (403, "InvalidSignatureException"),
                (400, "UnrecognizedClientException"),
                (403, "OptInRequired"),
            ],
            random,
        )),
        Trouble::ExpiredCredentials => Broken::Respond(exception(
            &[(400, "ExpiredTokenException"), (403, "ExpiredToken"), (400, "RequestExpired")],
            random,
        )),
        Trouble::InternalError => Broken::Respond(exception(internal, random)),
        Trouble::InternalErrorAfter => Broken::ForwardThenRespond(exception(internal, random)),
        Trouble::Failed => Broken::Respond(exception(failed, random)),
        Trouble::FailedAfter => Broken::ForwardThenRespond(exception(failed, random)),
        Trouble::Unrecognized => Broken::Respond(Reply::aws_error(400, "BrandNewException")),
        Trouble::UnrecognizedAfter => Broken::ForwardThenRespond(Reply::aws_error(400, "BrandNewException")),
        Trouble::Slow => Broken::Delay(random.up_to(Duration::from_millis(1500))),
        Trouble::Late => late(random),
        Trouble::LostBefore => Broken::LoseBefore,
        Trouble::LostAfter => Broken::ForwardThenLose,
        Trouble::Garbage => Broken::Garbage(b"\x16\x03\x01\x00\x05hello\r\n\r\n".as_slice().into()),
        Trouble::Html => Broken::Respond(page()),
        Trouble::HtmlAfter => Broken::ForwardThenRespond(page()),
        Trouble::Truncated => Broken::Truncate,
    }
}

/// Returns the response to AssumeRole.
pub(super) fn to_assume_role(trouble: Trouble, random: &mut Random) -> Broken {
    let error = |code: &str| {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>made up by the test</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        );
        Broken::Respond(Reply::new(403, body).header("content-type", "text/xml"))
    };
    match trouble {
        Trouble::Denied => error("AccessDenied"),
        Trouble::ExpiredCredentials => error("ExpiredToken"),
        other => to_cognito(other, random),
    }
}
