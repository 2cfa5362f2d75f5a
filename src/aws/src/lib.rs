//! Implements [`cognito_reset_core::action::port::Cognito`] with the AWS SDK, for Amazon Cognito
//! and STS.

#![forbid(unsafe_code)]

pub mod client;
mod credentials;
pub mod endpoint;
pub mod transport;
mod validate_response;
