//! The names of requests. The same ticket, pool and user give the same name, so that a command that
//! is run again creates nothing a second time.

use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The greatest length of the readable part of a name.
const READABLE: usize = 40;
/// The number of bytes of the hash in a name. With 2,000 users, two share a name by a chance of one
/// in a hundred million; such a name is refused, because the request is another user's.
const HASHED: usize = 6;

/// Returns true if two texts are the same ticket: upper and lower case, and blanks around it, make
/// no difference.
#[must_use]
pub fn is_same_ticket(one: &str, other: &str) -> bool {
    seed(one) == seed(other)
}

fn seed(ticket: &str) -> String {
    ticket.trim().to_lowercase()
}

/// Names the requests of one command.
#[derive(Clone, Debug)]
pub struct Naming {
    seed: String,
    readable: String,
}

impl Naming {
    /// Names requests by a ticket, or by a prefix in its place. Upper and lower case, and blanks
    /// around it, make no difference: `inc-7` resets nobody again whom `INC-7` has reset.
    ///
    /// # Errors
    /// When it has no character that a name can have.
    pub fn new(seed: &str) -> Result<Self, Failure> {
        let (seed, mut readable) = (self::seed(seed), String::new());
        for it in seed.chars() {
            match it {
                'a'..='z' | '0'..='9' => readable.push(it),
                _ if !readable.is_empty() && !readable.ends_with('-') => readable.push('-'),
                _ => {}
            }
        }
        let readable: String = readable.chars().take(READABLE).collect();
        let readable = readable.trim_end_matches('-').to_owned();
        if readable.is_empty() {
            return Err(Failure::usage(format!(
                "no name can be made of {seed:?}, because it has neither letters a to z nor digits: give --name-prefix"
            )));
        }
        Ok(Self { seed, readable })
    }

    /// Returns the name of the request for a user: the readable part, and a hash of the ticket, the
    /// pool and the user. The name does not show the user, because names occur in logs and metrics.
    #[must_use]
    pub fn name(&self, pool: &str, username: &str) -> String {
        let hash = Sha256::digest([&self.seed, pool, username].join("\n"));
        let hash = hex::encode(hash.get(..HASHED).unwrap_or_default());
        format!("{}-{hash}", self.readable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = "eu-west-1_Example01";

    #[test]
    fn a_name_has_the_readable_part_of_its_ticket() {
        for (ticket, wanted) in [
            ("HELP-4711", "help-4711"),
            ("  INC 0012/b ", "inc-0012-b"),
            ("--x--", "x"),
            ("é4", "4"),
            (&"a".repeat(99), &"a".repeat(40)),
            (&format!("{}-b", "a".repeat(39)), &"a".repeat(39)),
        ] {
            let name = Naming::new(ticket).expect("a name").name(POOL, "alice");
            assert_eq!(name.rsplit_once('-').map(|(readable, hash)| (readable, hash.len())), Some((wanted, 12)));
        }
        assert!(Naming::new("###").is_err());
    }

    #[test]
    fn a_name_is_of_one_ticket_pool_and_user() {
        let name = |ticket: &str, pool: &str, user: &str| Naming::new(ticket).expect("a name").name(pool, user);
        let first = name("HELP-1", POOL, "alice");
        assert_eq!(first, name("HELP-1", POOL, "alice"));
        assert_eq!(first, name(" help-1", POOL, "alice"));
        for other in
            [name("HELP 1", POOL, "alice"), name("HELP-1", "eu-west-1_b", "alice"), name("HELP-1", POOL, "Alice")]
        {
            assert_ne!(first, other);
        }
        // A request that a command of an older release created has to be found again.
        assert_eq!(first, "help-1-f40e2faf1335");
    }
}
