//! What an action of AWS answers, and what is needed of the service for it.

pub mod port;
pub mod response;
