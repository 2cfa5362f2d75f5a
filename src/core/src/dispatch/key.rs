//! The keys of requests and users in the dispatcher: 16 bytes, regardless of the length of names.

use std::{cmp::Ordering, fmt};

use cognito_reset_api::PasswordResetRequest;
use sha2::{Digest, Sha256};

use crate::dispatch::steps;

/// The key of a request: the beginning of the SHA-256 of its uid.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(super) [u8; 16]);

/// The key of a user as a request names it: the beginning of the SHA-256 of pool and user name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserKey([u8; 16]);

impl Key {
    /// Returns the key of a request.
    #[must_use]
    pub fn of(request: &PasswordResetRequest) -> Self {
        Self::of_uid(request.metadata.uid.as_deref().unwrap_or_default())
    }

    /// Returns the key of the request with this uid.
    #[must_use]
    pub fn of_uid(uid: &str) -> Self {
        Self(shortened(&[uid]))
    }
}

impl UserKey {
    /// Returns the key of a user of a pool, by the spelling in the request.
    #[must_use]
    pub fn of(pool: &str, username: &str) -> Self {
        Self(shortened(&[pool, username]))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        steps::count();
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn shortened(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut key = [0; 16];
    key.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    key
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Shows nothing of the user: the hash of a name can be guessed.
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_what_they_are_made_of_differs() {
        assert_eq!(Key::of_uid("a"), Key::of_uid("a"));
        assert_ne!(Key::of_uid("a"), Key::of_uid("b"));
        assert_ne!(UserKey::of("ab", "c"), UserKey::of("a", "bc"));
        assert_eq!(UserKey::of("ab", "c"), UserKey::of("ab", "c"));
        assert_eq!(format!("{:?}", Key::of_uid("a")).len(), 32);
        assert_eq!(format!("{:?}", UserKey::of("a", "b")), "UserKey(..)");
    }
}
