//! Amazon Cognito: what its answers mean, the port that the reset is written against, and the AWS SDK behind it.

pub mod aws;
mod credentials;
pub mod endpoint;
mod genuine;
pub mod outcome;
pub mod port;
pub mod transport;
