//! The requests and records that exist already for the wanted names and users. Pure.

use std::collections::{HashMap, HashSet};

use cognito_reset_api::{Effect, Password, PasswordResetRecord, RequestRef};
use cognito_reset_core::ledger::{self, performed_at};
use jiff::Timestamp;
use serde_json::Value;

use super::plan::{Existing, Wanted};
use crate::{
    ledger::Entry,
    request::{Id, Request},
    tally::State,
    terminal::frequencies,
};

/// The requests and records that matter to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The requests of its namespace with a wanted name.
    pub by_name: HashMap<String, Existing>,
    /// The effects of requests with a wanted name and user that were deleted, by the user; `open`
    /// for one whose call may have been sent. The operator sends nothing for another request of
    /// such a name.
    pub ended: HashMap<String, &'static str>,
    /// The earlier resets of the wanted users.
    pub earlier: Earlier,
    /// True if the requests of other namespaces cannot be listed.
    pub is_partial: bool,
    /// The cause for which the records are not known.
    pub records_unknown: Option<String>,
}

impl Found {
    /// Adds a record of the pool, if it is about one of these users, whose requests would have
    /// these names in the namespace.
    pub fn add_record(&mut self, entry: &Entry, namespace: &str, names: &HashMap<&str, &str>) {
        let username = entry.stored.get("username").and_then(Value::as_str).unwrap_or_default();
        let Some(&name) = names.get(username) else { return };
        match &entry.record {
            Err(_) => self.earlier.add_unparsed(username),
            Ok(record) if record.spec.request == (RequestRef { namespace: namespace.into(), name: name.into() }) => {
                self.ended.extend(final_effect(record).map(|effect| (username.to_owned(), effect)));
            }
            Ok(record) => self.earlier.add_record(record),
        }
    }

    /// Returns those of these requests for which something may be sent.
    #[must_use]
    pub fn sending(&self, new: &[Wanted]) -> Vec<Wanted> {
        new.iter().filter(|wanted| !self.ended.contains_key(&wanted.username)).cloned().collect()
    }

    /// Returns a remark about those of these requests for which nothing is sent.
    #[must_use]
    pub fn ended(&self, new: &[Wanted]) -> Option<String> {
        let effects: Vec<_> = new.iter().filter_map(|wanted| self.ended.get(&wanted.username).copied()).collect();
        let (count, effects) = (effects.len(), frequencies(effects));
        let (by, them) = match count {
            1 => ("a request of the same name that was deleted", "it"),
            _ => ("requests of the same names that were deleted", "them"),
        };
        (count > 0).then(|| {
            format!(
                "{count} of these users, by {by}: {effects}; nothing is sent for {them} now; a request of another name sends again"
            )
        })
    }
}

/// Returns the effect of a record after which nothing more is sent for its name; `open` for an open
/// claim, of which the operator only finds out the effect.
fn final_effect(record: &PasswordResetRecord) -> Option<&'static str> {
    let is_retried = || record.spec.closed.is_none() && ledger::last(record).and_then(ledger::retry_reason).is_some();
    match record.spec.effect {
        None => Some("open"),
        Some(Effect::NotPerformed) if is_retried() => None,
        Some(effect) => Some(effect.as_str()),
    }
}

/// The effects of requests of other names on the same users, and those that they may still have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The times of the resets of a user, by the request, which its record names as well.
    resets: HashMap<String, HashMap<Id, Option<Timestamp>>>,
    /// The users with a request that has not ended, or of which the effect is not known.
    open: HashSet<String>,
}

impl Earlier {
    /// Adds a request, if a reset was performed for it or may be.
    pub fn add(&mut self, request: &Request) {
        let username = &request.spec.username;
        match State::from(request) {
            State::Succeeded => self.add_reset(username, request.id(), request.performed()),
            State::Pending | State::Unknown => self.add_unparsed(username),
            // Such as a code that could not be delivered.
            State::Failed if request.status.password == Password::Invalidated => {
                self.add_reset(username, request.id(), request.performed());
            }
            State::NotNeeded | State::Failed | State::Deleted => {}
        }
    }

    /// Adds a record, if a reset was performed for its request or may be.
    fn add_record(&mut self, record: &PasswordResetRecord) {
        let RequestRef { namespace, name } = record.spec.request.clone();
        match record.spec.effect {
            Some(Effect::Performed) => {
                self.add_reset(&record.spec.username, Id { namespace, name }, performed_at(record));
            }
            None | Some(Effect::Unknown) => self.add_unparsed(&record.spec.username),
            Some(Effect::NotPerformed) => {}
        }
    }

    fn add_reset(&mut self, username: &str, id: Id, at: Option<Timestamp>) {
        self.resets.entry(username.to_owned()).or_default().insert(id, at);
    }

    /// Adds a request or record of a user that this plugin cannot parse: its effect is not known.
    pub fn add_unparsed(&mut self, username: &str) {
        self.open.insert(username.to_owned());
    }

    /// Returns a remark about those of these users with a request that has not ended, or of which
    /// the effect is not known.
    #[must_use]
    pub fn still_open(&self, wanted: &[Wanted]) -> Option<String> {
        let users = wanted.iter().filter(|wanted| self.open.contains(&wanted.username)).count();
        let they = if users == 1 { "the user" } else { "they" };
        (users > 0).then(|| {
            format!(
                "{users} of these users, by requests that wait or whose effect is not known; {they} may be reset twice"
            )
        })
    }

    /// Returns a remark about those of these users that were reset before. `skips` says that those
    /// who still have to reset their password are skipped.
    #[must_use]
    pub fn resets(&self, wanted: &[Wanted], skips: bool) -> Option<String> {
        let resets: Vec<_> = wanted.iter().filter_map(|wanted| self.resets.get(&wanted.username)).collect();
        let last = resets.iter().flat_map(|resets| resets.values()).max().copied().flatten();
        let last = last.map_or_else(String::new, |last| format!(", the last at {last}"));
        let by = match resets.iter().map(|resets| resets.len()).sum() {
            1 => "1 request of another name".to_owned(),
            count => format!("{count} requests of other names"),
        };
        let users = resets.len();
        let again = match (users, skips) {
            (1, false) => "the user is reset again",
            (_, false) => "they are reset again",
            (1, true) => "the user is skipped if a reset is still required, and otherwise reset again",
            (_, true) => "those who still have to reset are skipped, and the others reset again",
        };
        (users > 0).then(|| format!("{users} of these users, by {by}{last}; {again}"))
    }
}

#[cfg(test)]
mod tests;
