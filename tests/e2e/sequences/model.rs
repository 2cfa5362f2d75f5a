//! The promises to a user of the operator, without anything about how it works.

use std::{collections::BTreeMap, ops::RangeInclusive};

use anyhow::{Result, ensure};

pub const NAMES: [&str; 2] = ["one", "two"];

/// A user of the pool, for whom requests are made.
pub struct User {
    pub name: &'static str,
    /// True if the pool has this user.
    pub exists: bool,
}

pub const USERS: [User; 3] =
    [User { name: "alice", exists: true }, User { name: "bob", exists: true }, User { name: "nobody", exists: false }];

#[derive(Clone, Debug)]
pub enum Action {
    /// `kubectl apply`: creates the request, or changes `suspend`, or fails.
    Apply {
        name: usize,
        user: usize,
        suspend: bool,
    },
    /// Tries to change another field.
    Edit {
        name: usize,
    },
    Delete {
        name: usize,
    },
    /// Restarts the operator, by SIGKILL or by SIGTERM.
    Restart {
        kill: bool,
    },
    /// Suspends the grant, or ends the suspension.
    Grant {
        suspend: bool,
    },
    /// Waits until nothing changes any more, and compares.
    Settle,
}

/// The response of the API server to `kubectl apply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Accepted,
    /// Refused: the field is immutable.
    Immutable,
    /// Refused: the request has ended.
    Finished,
}

/// The state of one name and one user, over all objects that had them.
#[derive(Clone, Debug, Default)]
struct Identity {
    /// There was a moment at which the operator was allowed to call.
    possible: bool,
    /// An object of it was seen to have ended.
    ended: bool,
    /// The operator was killed after a call became possible and before an end was seen.
    killed: bool,
}

#[derive(Clone, Debug)]
struct Object {
    user: usize,
    suspend: bool,
    /// A call was possible, or seen, before this object existed.
    earlier: bool,
    known: bool,
    ended: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    grant_suspended: bool,
    objects: BTreeMap<usize, Object>,
    identities: BTreeMap<(usize, usize), Identity>,
}

impl Model {
    pub fn user_of(&self, name: usize) -> Option<usize> {
        self.objects.get(&name).map(|object| object.user)
    }

    /// # Errors
    /// When the API server had to respond otherwise.
    pub fn applied(&mut self, name: usize, user: usize, suspend: bool, applied: Applied) -> Result<()> {
        let identity = self.identities.entry((name, user)).or_default().clone();
        let Some(object) = self.objects.get_mut(&name) else {
            ensure!(applied == Applied::Accepted, "{applied:?} for something new");
            let new = Object { user, suspend, earlier: identity.possible, known: identity.ended, ended: false };
            self.objects.insert(name, new);
            self.expose();
            return Ok(());
        };
        let wanted: &[Applied] = if object.user != user {
            &[Applied::Immutable]
        } else if object.suspend == suspend || !identity.possible {
            &[Applied::Accepted]
        } else if object.ended {
            &[Applied::Finished]
        } else {
            &[Applied::Accepted, Applied::Finished]
        };
        ensure!(wanted.contains(&applied), "{applied:?} instead of {wanted:?}");
        if applied == Applied::Accepted {
            object.suspend = suspend;
            self.expose();
        }
        Ok(())
    }

    pub fn deleted(&mut self, name: usize) {
        self.objects.remove(&name);
    }

    pub fn killed(&mut self) {
        for identity in self.identities.values_mut() {
            identity.killed |= identity.possible && !identity.ended;
        }
    }

    pub fn grant(&mut self, suspend: bool) {
        self.grant_suspended = suspend;
        self.expose();
    }

    /// Returns the states that the request may have once nothing changes any more; `None` if there
    /// is no such request.
    pub fn allowed(&self, name: usize) -> Option<Vec<String>> {
        let object = self.objects.get(&name)?;
        let identity = self.identities.get(&(name, object.user))?;
        let mut allowed: Vec<&str> = Vec::new();
        if identity.possible {
            allowed.extend(ends(object, identity));
        }
        if !object.ended && !identity.ended && (object.suspend || self.grant_suspended) {
            if self.grant_suspended {
                allowed.push("Pending/GrantSuspended");
            }
            if object.suspend {
                allowed.push("Pending/Suspended");
            }
        }
        Some(allowed.into_iter().map(str::to_owned).collect())
    }

    pub fn ended(&mut self, name: usize) {
        if let Some(object) = self.objects.get_mut(&name) {
            object.ended = true;
            self.identities.entry((name, object.user)).or_default().ended = true;
        }
    }

    /// Returns how many calls Cognito may have received for the user: at most one for each name.
    pub fn resets(&self, user: usize) -> RangeInclusive<usize> {
        let of = |counts: fn(&Identity) -> bool| {
            self.identities.iter().filter(|((_, whose), identity)| *whose == user && counts(identity)).count()
        };
        of(|identity| identity.ended && !identity.killed)..=of(|identity| identity.possible)
    }

    fn expose(&mut self) {
        for (name, object) in &self.objects {
            if !object.suspend && !self.grant_suspended {
                self.identities.entry((*name, object.user)).or_default().possible = true;
            }
        }
    }
}

fn ends(object: &Object, identity: &Identity) -> Vec<&'static str> {
    let mut ends = match (USERS[object.user].exists, object.known, object.earlier) {
        (false, _, _) => vec!["Failed/UserNotFoundException"],
        (true, true, _) => vec!["Succeeded/AlreadyPerformed"],
        (true, false, true) => vec!["Succeeded/AlreadyPerformed", "Succeeded/ResetAccepted"],
        (true, false, false) => vec!["Succeeded/ResetAccepted"],
    };
    if identity.killed {
        ends.push("Unknown/OutcomeUnknown");
        if USERS[object.user].exists {
            ends.push("Succeeded/ConfirmedByProbe");
        }
    }
    ends
}
