//! The steps around the replicas: of the network, with messages that no process waits for, and of
//! people.

use cognito_reset_api::Outcome;

use crate::{
    steps::{DEADLINE, FORGOTTEN, Label, Steps},
    world::{Hold, Message},
};

impl Steps<'_> {
    /// Delivers or drops messages that no process waits for.
    pub fn network(&mut self) {
        let waited: Vec<_> = self.from.replicas.iter().flatten().filter_map(|task| task.waits_for()).collect();
        for (place, message) in self.from.wire.iter().enumerate() {
            if matches!(message, Message::Call { attempt, .. } if waited.contains(&attempt.as_str())) {
                continue;
            }
            self.add(None, "a message is lost", true, |world| {
                world.wire.remove(place);
            });
            self.add(None, "a late message arrives", true, |world| {
                match message {
                    Message::Call { .. } => world.perform(place),
                    Message::Record { subject, wanted } => {
                        world.write_record(*subject, wanted);
                    }
                    Message::Status { subject, wanted } => {
                        world.write_status(*subject, wanted);
                    }
                }
                world.wire.remove(place);
            });
        }
    }

    pub fn people(&mut self) {
        if !self.from.server_over && self.from.over.contains(&true) {
            self.add(None, DEADLINE, true, |world| world.server_over = true);
        }
        for (clock, over) in self.from.over.iter().enumerate() {
            let (what, fair) = if *over { ("a clock is set back", false) } else { (DEADLINE, true) };
            self.add(None, what, fair, |world| {
                world.over[clock] = !over;
                world.server_over |= !over;
            });
            if !over && !self.from.server_over {
                self.add(None, "a clock runs ahead", false, |world| world.over[clock] = true);
            }
        }
        if self.from.user.last() == Some(&true) {
            self.add(None, "the user completes the reset", false, |world| world.user.push(false));
        }
        self.add(None, "somebody else resets the user", false, |world| world.user.push(true));
        if self.from.earlier.iter().any(Option::is_some) {
            self.add(None, "the last change of grants and holds becomes old", true, |world| world.earlier.fill(None));
        }
        self.add(None, "a grant comes or goes", false, |world| {
            world.change_rules(|rules| rules.granted = !rules.granted);
        });
        for hold in [Hold::None, Hold::Pool, Hold::User] {
            let comes_or_goes = (self.from.rules.hold == Hold::None) != (hold == Hold::None);
            if comes_or_goes {
                self.add(None, "a hold comes or goes", false, |world| {
                    world.change_rules(|rules| rules.hold = hold);
                });
            }
        }
        self.add(None, "a grant names another role", false, |world| {
            world.change_rules(|rules| rules.role = 1 - rules.role);
        });
        for subject in 0..self.from.requests.len() {
            let Some(request) = &self.from.requests[subject] else {
                if self.from.is_forgotten_early(subject) {
                    self.add(None, FORGOTTEN, true, |world| world.records[subject] = None);
                }
                // Deleting it and applying it again cost one fault together.
                let label =
                    Label { replica: None, before: "", what: "the request is applied again", then: "", fair: false };
                self.push(label, |world| world.apply(subject));
                continue;
            };
            self.add(None, "the request is deleted", false, |world| world.requests[subject] = None);
            if self.from.outcome(subject) == Some(Outcome::Pending) {
                let suspend = !request.spec.suspend;
                self.add(None, "suspend changes", false, |world| {
                    world.edit(subject, |request| request.spec.suspend = suspend);
                });
            } else {
                self.add(None, "the status is dropped", false, |world| {
                    world.edit(subject, |request| request.status = None);
                });
            }
        }
    }
}
