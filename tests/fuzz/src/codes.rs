//! Codes of exceptions: known, nearly known and new ones, as a response or a record may contain
//! them.

use arbitrary::Arbitrary;
use cognito_reset_api::Exception;

/// The codes that prove that nothing happened. They are copied from the API reference, not from the
/// code.
pub const PROOFS: [&str; 17] = [
    "InvalidParameterException",
    "NotAuthorizedException",
    "ResourceNotFoundException",
    "TooManyRequestsException",
    "UserNotFoundException",
    "OperationNotEnabledException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestExpired",
];

/// A code.
#[derive(Clone, Debug, Arbitrary)]
pub enum Code {
    /// One of the table.
    Known(u8),
    /// One of the table with a character inserted.
    Nearly(u8, u8, char),
    /// One of the table without its end.
    Cut(u8, u8),
    /// A long and unknown one.
    Long(u8),
    /// Anything.
    Any(String),
}

impl Code {
    /// Returns the code as it is sent.
    pub fn text(&self) -> String {
        match self {
            Self::Known(number) => known(*number).to_owned(),
            Self::Nearly(number, at, character) => {
                let mut text = known(*number).to_owned();
                text.insert(usize::from(*at) % (text.len() + 1), *character);
                text
            }
            Self::Cut(number, length) => known(*number).chars().take(usize::from(*length) % 24).collect(),
            Self::Long(length) => "New".repeat(usize::from(*length)),
            Self::Any(text) => text.clone(),
        }
    }
}

fn known(number: u8) -> &'static str {
    Exception::ALL[usize::from(number) % Exception::ALL.len()].code()
}
