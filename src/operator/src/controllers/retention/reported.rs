//! Remembers the reports about deletions: which policies reject them, and which requests a tool
//! tracks. Pure.

use std::collections::BTreeSet;

use cognito_reset_core::{recent::RecentSet, refusal::Refuser};

use crate::controllers::retention::store::Kind;

/// The number of requests that are remembered as reported because a tool tracks them.
const MOST: usize = 4096;
/// The number of them that are reported per scan, so that their Events leave room for others.
const MOST_IN_A_SCAN: usize = 10;

/// The policies and webhooks that reject deletions, as far as the log has reported them.
#[derive(Debug, Default)]
pub(super) struct RefusedDeletions {
    requests: OfKind,
    records: OfKind,
    ungranted_records: OfKind,
}

#[derive(Debug, Default)]
struct OfKind {
    refusers: RecentSet<Refuser>,
    in_this_scan: bool,
}

impl RefusedDeletions {
    fn of(&mut self, kind: Kind) -> &mut OfKind {
        match kind {
            Kind::Request => &mut self.requests,
            Kind::Record => &mut self.records,
            Kind::UngrantedRecord => &mut self.ungranted_records,
        }
    }

    /// Records that a deletion was rejected. Returns true if this has to be reported: once per
    /// policy or webhook.
    pub(super) fn is_new(&mut self, kind: Kind, refuser: &Refuser) -> bool {
        let of_kind = self.of(kind);
        of_kind.in_this_scan = true;
        of_kind.refusers.is_new(refuser)
    }

    /// Records the end of a scan. If nothing was rejected, the next rejection is reported again.
    pub(super) fn scanned(&mut self, kind: Kind) {
        let of_kind = self.of(kind);
        if !std::mem::take(&mut of_kind.in_this_scan) {
            *of_kind = OfKind::default();
        }
    }
}

/// The requests that were reported because a tool tracks them.
#[derive(Debug, Default)]
pub(super) struct TrackedRequests {
    uids: BTreeSet<String>,
    in_this_scan: usize,
}

impl TrackedRequests {
    /// Records the start of a scan.
    pub(super) const fn begin_scan(&mut self) {
        self.in_this_scan = 0;
    }

    /// Returns true if this request has to be reported: once per process. Requests beyond the limit
    /// of a scan are reported in a later one.
    pub(super) fn is_new(&mut self, uid: &str) -> bool {
        if self.in_this_scan >= MOST_IN_A_SCAN || self.uids.len() >= MOST || !self.uids.insert(uid.to_owned()) {
            return false;
        }
        self.in_this_scan += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracked_requests_are_reported_once_and_few_per_scan() {
        let mut tracked = TrackedRequests::default();
        let mut scan = |first: usize, last: usize| {
            tracked.begin_scan();
            (first..last).filter(|number| tracked.is_new(&number.to_string())).count()
        };
        assert_eq!((scan(0, 3), scan(0, 3), scan(0, 4)), (3, 0, 1));
        assert_eq!((scan(0, 30), scan(0, 30), scan(0, 30), scan(0, 30)), (10, 10, 6, 0));
        let all: usize = (0..1000).map(|_| scan(0, 10 * MOST)).sum();
        assert_eq!(30 + all, MOST);
    }

    #[test]
    fn refuser_is_reported_once_and_again_after_a_clean_scan() {
        let mut refused = RefusedDeletions::default();
        let policy = |name: &str| Refuser::ValidatingPolicy(name.into());
        let (a, b) = (policy("a"), policy("b"));
        assert!(refused.is_new(Kind::Request, &a) && !refused.is_new(Kind::Request, &a));
        assert!(refused.is_new(Kind::Request, &b) && refused.is_new(Kind::Record, &a));
        refused.scanned(Kind::Request);
        assert!(!refused.is_new(Kind::Request, &a), "it still refuses");
        refused.scanned(Kind::Request);
        refused.scanned(Kind::Request);
        assert!(refused.is_new(Kind::Request, &a) && refused.is_new(Kind::Request, &b));
        assert!(!refused.is_new(Kind::Record, &a), "records were not scanned");
    }
}
