//! Remembers grants and holds whose status is rejected: the Events to publish instead, and the time
//! of the next try.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use cognito_reset_api::conditions::WaitReason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{recent::RecentSet, refusal::Refuser, status_retry::pause_after};

/// The reason and message of a changed condition, or of an Event.
pub type Note = (String, String);

/// The grants whose status is rejected, by name.
#[derive(Debug, Default)]
pub struct RefusedStatuses(HashMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    /// The changes that the status was to report.
    changes: Vec<Note>,
    refusers: RecentSet<Refuser>,
    failures: u32,
    due: Instant,
}

/// Returns the reason and message of each condition, without its time.
pub fn notes(changes: &[Condition]) -> Vec<Note> {
    changes.iter().map(|condition| (condition.reason.clone(), condition.message.clone())).collect()
}

impl RefusedStatuses {
    /// Returns true if the status of this grant should be tried now. A status with other changes
    /// does not wait.
    pub fn is_due(&self, grant: &str, changes: &[Note], now: Instant) -> bool {
        self.0.get(grant).is_none_or(|entry| entry.due <= now || entry.changes != changes)
    }

    /// Records that the status was rejected. Returns the notes that Events have to report instead:
    /// each one once per policy or webhook.
    pub fn refused(&mut self, grant: &str, changes: Vec<Note>, refuser: &Refuser, now: Instant) -> Vec<Note> {
        let entry = self.0.entry(grant.to_owned()).or_insert_with(|| Entry {
            changes: changes.clone(),
            refusers: RecentSet::default(),
            failures: 0,
            due: now,
        });
        if entry.changes != changes {
            entry.changes = changes;
            entry.refusers = RecentSet::default();
        }
        entry.due = now + pause_after(entry.failures);
        entry.failures = entry.failures.saturating_add(1);
        if !entry.refusers.is_new(refuser) {
            return Vec::new();
        }
        if entry.changes.is_empty() {
            let note = format!("the status may be out of date: its write was rejected by {refuser}; retrying");
            return vec![(WaitReason::WriteRefused.as_str().to_owned(), note)];
        }
        let event = |(reason, message): &Note| {
            (reason.clone(), format!("{message}. The status cannot be written: rejected by {refuser}; retrying"))
        };
        entry.changes.iter().map(event).collect()
    }

    /// Records that the status was written.
    pub fn written(&mut self, grant: &str) {
        self.0.remove(grant);
    }

    /// Drops all grants except these, whose status still has to be written.
    pub fn retain(&mut self, grants: &BTreeSet<String>) {
        self.0.retain(|grant, _| grants.contains(grant));
    }

    /// Returns the time of the next try.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().map(|entry| entry.due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy(name: &str) -> Refuser {
        Refuser::ValidatingPolicy(name.into())
    }

    fn new(reason: &str) -> Vec<Note> {
        vec![(reason.to_owned(), format!("as for {reason}"))]
    }

    #[test]
    fn refused_status_is_reported_by_one_event_per_refuser() {
        let (mut statuses, now) = (RefusedStatuses::default(), Instant::now());
        let both = [new("ConflictingGrants"), new("RoleNotAssumable")].concat();
        for (changes, by, wanted) in [
            (new("GrantSuspended"), "a", vec!["GrantSuspended"]),
            (new("GrantSuspended"), "a", vec![]),
            (new("GrantSuspended"), "b", vec!["GrantSuspended"]),
            (new("GrantSuspended"), "a", vec![]),
            (both.clone(), "b", vec!["ConflictingGrants", "RoleNotAssumable"]),
            (both, "b", vec![]),
            (vec![], "b", vec!["WriteRefused"]),
            (vec![], "b", vec![]),
        ] {
            let events = statuses.refused("grant", changes.clone(), &policy(by), now);
            let reasons: Vec<_> = events.iter().map(|(reason, _)| reason.as_str()).collect();
            assert_eq!(reasons, wanted, "{changes:?} by {by}");
            for (reason, note) in &events {
                assert!(note.contains(&format!("rejected by the ValidatingAdmissionPolicy {by}; retrying")), "{note}");
                assert!(
                    *reason == "WriteRefused" || note.starts_with(&format!("as for {reason}. The status")),
                    "{note}"
                );
            }
        }
    }

    #[test]
    fn refused_status_backs_off_but_a_changed_one_is_tried_at_once() {
        let (mut statuses, mut now) = (RefusedStatuses::default(), Instant::now());
        assert!(statuses.is_due("grant", &new("Valid"), now));
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            statuses.refused("grant", new("Valid"), &policy("a"), now);
            let due = now + Duration::from_secs(seconds);
            assert_eq!(statuses.next(), Some(due));
            assert!(!statuses.is_due("grant", &new("Valid"), due - Duration::from_millis(1)));
            assert!(statuses.is_due("grant", &new("GrantSuspended"), now) && statuses.is_due("another", &[], now));
            assert!(statuses.is_due("grant", &new("Valid"), due));
            now = due;
        }
    }

    #[test]
    fn written_or_deleted_grant_is_forgotten_and_reported_again() {
        let (mut statuses, now) = (RefusedStatuses::default(), Instant::now());
        for grant in ["written", "gone", "stays"] {
            assert_eq!(statuses.refused(grant, vec![], &policy("a"), now).len(), 1);
        }
        statuses.written("written");
        statuses.retain(&["stays".to_owned()].into());
        for (grant, events) in [("written", 1), ("gone", 1), ("stays", 0)] {
            assert_eq!(statuses.refused(grant, vec![], &policy("a"), now).len(), events, "{grant}");
        }
        statuses.retain(&BTreeSet::new());
        assert_eq!(statuses.next(), None);
    }
}
