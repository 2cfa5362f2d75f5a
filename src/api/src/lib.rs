//! The custom resources `PasswordResetRequest`, `PasswordResetRecord`, `UserPoolGrant` and
//! `UserPoolHold`.
//!
//! The types are the only source of the manifests in `crds/`; [`crds`] generates them.

#![expect(unreachable_pub, reason = "the derive of validation rules repeats each type inside a function")]

pub mod conditions;
pub mod exception;
pub mod grant;
pub mod hold;
pub mod record;
pub mod request;
mod schema;

pub use conditions::{ConditionType, EndReason, GrantReason, HoldReason, Reason, WaitReason};
pub use exception::Exception;
pub use grant::{
    IdentityAttribute, SessionTags, UserPoolGrant, UserPoolGrantSpec, UserPoolGrantStatus, UserStateSource,
};
pub use hold::{UserPoolHold, UserPoolHoldSpec, UserPoolHoldStatus};
pub use record::{
    Action, Attempt, CloseCause, Closed, Effect, Evidence, FailureCause, Origin, PasswordResetRecord, RecordFields,
    RequestRef, UserStatus,
};
pub use request::{
    ApprovedBy, IfResetRequired, Outcome, Password, PasswordResetRequest, PasswordResetRequestSpec,
    PasswordResetRequestStatus, RecordRef, RequestedBy, UserExtra,
};
pub use schema::crds;
