//! Counts what happened to the requests of a selection.

use crate::exit::Exit;

/// The result for one request.
pub(super) enum Change {
    Changed {
        /// A claim was made before.
        was_claimed: bool,
    },
    /// It ended before the change.
    Ended,
    /// It was deleted before the change.
    Gone,
    /// It was deleted and created again before the change.
    Replaced,
}

/// The number of requests of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) changed: usize,
    pub(super) claimed: usize,
    pub(super) already: usize,
    pub(super) ended: usize,
    pub(super) gone: usize,
    pub(super) replaced: usize,
    pub(super) tracked: usize,
}

impl Counts {
    pub(super) const fn add(&mut self, change: &Change) {
        match change {
            Change::Changed { was_claimed } => {
                self.changed += 1;
                if *was_claimed {
                    self.claimed += 1;
                }
            }
            Change::Ended => self.ended += 1,
            Change::Gone => self.gone += 1,
            Change::Replaced => self.replaced += 1,
        }
    }

    /// Returns the counts in words. What did not occur is left out, except for the changes.
    pub(super) fn described(&self, wanted: bool) -> String {
        let (done, was) = if wanted { ("suspended", "suspended") } else { ("resumed", "not suspended") };
        let mut text = format!("{} {done}", self.changed);
        for (count, words) in [
            (self.already, format!("{was} before")),
            (self.ended, "had ended and cannot be changed".to_owned()),
            (self.gone, "deleted in the meantime".to_owned()),
            (
                self.replaced,
                "deleted and created again in the meantime, and not changed: run the command again".to_owned(),
            ),
        ] {
            if count > 0 {
                text = format!("{text}, {count} {words}");
            }
        }
        text
    }

    /// Returns the remarks about what the change does not do.
    pub(super) fn remarks(&self, wanted: bool) -> Vec<String> {
        let mut remarks = Vec::new();
        if wanted && self.changed > 0 {
            remarks.push(
                "a suspend does not stop a call that is in flight, or whose claim was made within 1 s of it: look at status.outcome again in a moment"
                    .to_owned(),
            );
        }
        if wanted && self.claimed > 0 {
            let claimed = self.claimed;
            remarks
                .push(format!("{claimed} of them had an attempt before, whose call may be in flight or have happened"));
        }
        if self.tracked > 0 {
            remarks.push(format!(
                "a GitOps tool tracks {} of them, and changes suspend back if their manifests contain it: change it there, too",
                self.tracked
            ));
        }
        remarks
    }

    /// Returns the result. Requests that had ended matter only if they were named.
    pub(super) const fn exit(&self, named: bool, unreadable: usize) -> Exit {
        if self.replaced > 0 || unreadable > 0 || (named && (self.ended > 0 || self.gone > 0)) {
            Exit::NothingSent
        } else {
            Exit::Succeeded
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_name_what_occurred() {
        let counts = Counts { changed: 3, claimed: 1, already: 2, ended: 4, ..Counts::default() };
        let wanted = "3 suspended, 2 suspended before, 4 had ended and cannot be changed";
        assert_eq!(counts.described(true), wanted);
        assert_eq!(Counts::default().described(false), "0 resumed");
        assert_eq!((counts.remarks(true).len(), counts.remarks(false).len()), (2, 0));
        assert!(Counts { already: 1, ..Counts::default() }.remarks(true).is_empty());
    }

    #[test]
    fn a_request_that_had_ended_fails_only_if_named() {
        let ended = Counts { changed: 1, ended: 1, ..Counts::default() };
        assert_eq!((ended.exit(true, 0), ended.exit(false, 0)), (Exit::NothingSent, Exit::Succeeded));
        assert_eq!(ended.exit(false, 1), Exit::NothingSent);
        assert_eq!(Counts { replaced: 1, ..ended }.exit(false, 0), Exit::NothingSent);
    }
}
