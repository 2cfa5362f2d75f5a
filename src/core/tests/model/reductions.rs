//! The reductions of the number of states. docs/architecture.md says why none of them loses a
//! behavior.

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequestStatus};
use cognito_reset_core::machine::Command;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    steps::{Label, Steps},
    world::{Frozen, Message, NOW, Read, Task, World, guard},
};

/// Puts one time in place of all times of a record that no decision about one request reads.
/// Production writes them for people, and compares them with those of other records only.
pub fn without_times(record: &mut PasswordResetRecord) {
    for attempt in &mut record.spec.attempts {
        attempt.claimed_at = Time(NOW);
        for time in [&mut attempt.settled_at, &mut attempt.sent_at, &mut attempt.state_read_after] {
            *time = time.as_ref().map(|_| Time(NOW));
        }
    }
    if let Some(closed) = &mut record.spec.closed {
        closed.closed_at = Time(NOW);
    }
}

/// Returns the status with one time in place of those of its conditions and of its end, which are
/// for people.
pub fn status_without_times(mut status: PasswordResetRequestStatus) -> PasswordResetRequestStatus {
    for condition in &mut status.conditions {
        condition.last_transition_time = Time(NOW);
    }
    status.completion_time = status.completion_time.map(|_| Time(NOW));
    status
}

impl World {
    /// Drops the messages that cannot have an effect any more, now or later: calls that were
    /// performed and that no process waits for, and writes to a version that is not the last one.
    pub fn drop_dead_messages(&mut self) {
        let Self { requests, records, replicas, wire, .. } = self;
        let is_waited_for = |call: &str| replicas.iter().flatten().any(|task| task.waits_for() == Some(call));
        wire.retain(|message| match message {
            Message::Call { attempt, performed } => !performed || is_waited_for(attempt),
            Message::Record { subject, wanted } => match (&records[*subject], &wanted.metadata.resource_version) {
                // A creation. A record without an attempt may be deleted early.
                (standing, None) => standing.as_ref().is_none_or(|standing| standing.spec.attempts.is_empty()),
                (Some(standing), guard) => standing.metadata.resource_version == *guard,
                (None, Some(_)) => false,
            },
            Message::Status { subject, wanted } => {
                let standing = requests[*subject].as_ref();
                standing.is_some_and(|standing| guard(standing) == guard(wanted))
            }
        });
    }
}

impl Steps<'_> {
    /// Adds a state, and with it those that follow if replicas which read request and record have
    /// read what this step changes right before it. A read of what does not change before the other
    /// one commutes with all steps between them, so both are then one step.
    pub fn find(&mut self, label: Label, mut world: World) {
        world.drop_dead_messages();
        let mut found = vec![(label, world)];
        let readers = self.from.replicas.iter().enumerate().filter(|(replica, _)| label.replica != Some(*replica));
        for (replica, task) in readers.filter_map(|(replica, task)| Some((replica, task.as_ref()?))) {
            if !matches!((&task.command, &task.read), (Command::Read, Read::Nothing)) {
                continue;
            }
            for read in self.reads_of_the_past(task.subject, &found[0].1) {
                let partly = Some(Frozen::new(Task { read, ..Task::clone(task) }));
                let with = |(label, world): &(Label, World)| {
                    let mut world = world.clone();
                    world.replicas[replica].clone_from(&partly);
                    (Label { before: "after a replica has read what it changes", ..*label }, world)
                };
                found.extend(found.iter().map(with).collect::<Vec<_>>());
            }
        }
        self.found.append(&mut found);
    }

    /// Returns what could be read of a request or its record until this step.
    fn reads_of_the_past(&self, subject: usize, after: &World) -> Vec<Read> {
        let (request, server_time) = (&self.from.requests[subject], self.from.server_time(subject));
        let record = &self.from.records[subject];
        let mut reads = Vec::new();
        if (request, server_time) != (&after.requests[subject], after.server_time(subject)) {
            reads.push(Read::Request(request.clone(), server_time));
        }
        if *record != after.records[subject] {
            reads.push(Read::Record(record.clone()));
        }
        reads
    }
}
