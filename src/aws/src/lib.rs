//! Amazon Cognito and STS by the AWS SDK: the implementation of [`cognito_reset_core::action::port::Cognito`].

#![forbid(unsafe_code)]

pub mod client;
mod credentials;
pub mod endpoint;
pub mod transport;
mod validate_response;
