//! Decides what a command creates: for each user a request, unless it exists already.

use std::collections::{HashMap, HashSet};

use cognito_reset_api::Outcome;
use jiff::Timestamp;

use crate::{failure::Failure, request::Request, tally::State};

/// A request that the command wants to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the request.
    pub name: String,
    /// The user.
    pub username: String,
}

/// A request of the cluster, as far as the plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The user pool.
    pub pool: String,
    /// The user.
    pub username: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, in one word.
    pub reason: String,
    /// The time when it ended.
    pub ended: Option<Timestamp>,
}

impl From<&Request> for Existing {
    fn from(request: &Request) -> Self {
        Self {
            pool: request.spec.user_pool_id.clone(),
            username: request.spec.username.clone(),
            outcome: request.outcome(),
            reason: request.reason().to_owned(),
            ended: request.ended(),
        }
    }
}

/// The requests of the namespace that matter to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those with a wanted name.
    pub by_name: HashMap<String, Existing>,
    /// The earlier resets of the wanted users.
    pub earlier: Earlier,
}

/// The effects of requests of other names on the same users, and those that they may still have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The number of resets of a user, and the time of the last one.
    resets: HashMap<String, (usize, Option<Timestamp>)>,
    /// The users with a request that has not ended, or of which the effect is not known.
    open: HashSet<String>,
}

impl Earlier {
    /// Counts a request, if a reset was performed for it or may be.
    pub fn add(&mut self, request: &Request) {
        let username = request.spec.username.clone();
        match State::from(request) {
            State::Succeeded => {
                let (count, last) = self.resets.entry(username).or_default();
                *count += 1;
                *last = (*last).max(request.performed());
            }
            State::Pending | State::Unknown => {
                self.open.insert(username);
            }
            State::NotSent | State::Failed | State::Deleted => {}
        }
    }

    /// Returns the number of these users with a request that has not ended, or of which the effect
    /// is not known.
    #[must_use]
    pub fn open(&self, wanted: &[Wanted]) -> usize {
        wanted.iter().filter(|wanted| self.open.contains(&wanted.username)).count()
    }

    /// Returns the number of these users that were reset before, the number of their resets, and
    /// the time of the last one.
    #[must_use]
    pub fn of(&self, wanted: &[Wanted]) -> (usize, usize, Option<Timestamp>) {
        let resets = wanted.iter().filter_map(|wanted| self.resets.get(&wanted.username));
        resets.fold((0, 0, None), |(users, resets, last), (count, at)| (users + 1, resets + count, last.max(*at)))
    }
}

/// The work of the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The requests to create.
    pub new: Vec<Wanted>,
    /// The requests that exist, with what is known of them.
    pub unchanged: Vec<(Wanted, Existing)>,
}

impl Plan {
    /// Compares what is wanted with what is there.
    ///
    /// # Errors
    /// When a name belongs to the request of another user or pool. Nothing is created then.
    pub fn new(wanted: Vec<Wanted>, pool: &str, existing: &HashMap<String, Existing>) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for wanted in wanted {
            match existing.get(&wanted.name) {
                None => plan.new.push(wanted),
                Some(there) if there.pool == pool && there.username == wanted.username => {
                    plan.unchanged.push((wanted, there.clone()));
                }
                Some(_) => return Err(belongs_to_another(&wanted.name)),
            }
        }
        Ok(plan)
    }
}

/// Returns the failure of a name that is taken. It does not name the other user.
pub(super) fn belongs_to_another(name: &str) -> Failure {
    Failure::refused(format!(
        "the request {name} exists for another user or pool, and a request cannot be changed: give another --name, --name-prefix or --ticket; nothing was created for it"
    ))
}
