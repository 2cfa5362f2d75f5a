//! The troubles of a call to Cognito or STS: a closed list. The responses are in `responses.rs`.

/// The trouble that Cognito or STS, or something before it, makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    Refused,
    Throttled,
    Denied,
    ExpiredCredentials,
    InternalError,
    InternalErrorAfter,
    Failed,
    FailedAfter,
    Unrecognized,
    UnrecognizedAfter,
    Slow,
    Late,
    LostBefore,
    LostAfter,
    Garbage,
    Html,
    HtmlAfter,
    Truncated,
}

impl Trouble {
    /// The troubles of a reset. A response that proves that nothing happened never follows a reset:
    /// that would be false evidence by Cognito.
    pub(super) const RESET: [Self; 18] = [
        Self::Refused,
        Self::Throttled,
        Self::Denied,
        Self::ExpiredCredentials,
        Self::InternalError,
        Self::InternalErrorAfter,
        Self::Failed,
        Self::FailedAfter,
        Self::Unrecognized,
        Self::UnrecognizedAfter,
        Self::Slow,
        Self::Late,
        Self::LostBefore,
        Self::LostAfter,
        Self::Garbage,
        Self::Html,
        Self::HtmlAfter,
        Self::Truncated,
    ];
    /// The troubles of AdminGetUser, for the snapshot and the probe.
    pub(super) const PROBE: [Self; 9] = [
        Self::Throttled,
        Self::Denied,
        Self::InternalError,
        Self::Slow,
        Self::Late,
        Self::LostAfter,
        Self::Garbage,
        Self::Html,
        Self::Truncated,
    ];
    /// The troubles of AssumeRole.
    pub(super) const ROLE: [Self; 5] =
        [Self::Denied, Self::ExpiredCredentials, Self::LostBefore, Self::Late, Self::Garbage];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "a refusal",
            Self::Throttled => "throttled",
            Self::Denied => "not allowed",
            Self::ExpiredCredentials => "expired credentials",
            Self::InternalError => "internal error, not performed",
            Self::InternalErrorAfter => "internal error, performed",
            Self::Failed => "failed at a trigger or delivery, not performed",
            Self::FailedAfter => "failed at a trigger or delivery, performed",
            Self::Unrecognized => "an unknown code, not performed",
            Self::UnrecognizedAfter => "an unknown code, performed",
            Self::Slow => "slow",
            Self::Late => "lands after the time limit",
            Self::LostBefore => "connection lost, not performed",
            Self::LostAfter => "connection lost, performed",
            Self::Garbage => "garbage",
            Self::Html => "a page of HTML, not performed",
            Self::HtmlAfter => "a page of HTML, performed",
            Self::Truncated => "truncated, performed",
        }
    }
}
