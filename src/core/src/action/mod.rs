//! The port to Amazon Cognito, and the classification of its responses.

pub mod port;
pub mod response;
pub mod user_names;
