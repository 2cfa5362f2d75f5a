//! The stories of a request: a closed list of what happens to it.

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::Value;

use super::random::Random;

/// The story of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Story {
    /// Applied, and left alone.
    Plain,
    /// Deleted at its end and applied again; in half of the cases after the user has chosen a new
    /// password.
    Again,
    /// Deleted at some moment, in flight or not.
    Deleted,
    /// The same, and applied again at once.
    DeletedAndAgain,
    /// Created suspended, and released a little later.
    Suspended,
    /// For a user who does not exist.
    Nobody,
    /// To be skipped if the user already has to reset, and the user does not.
    Skip,
    /// The same, and the user does.
    SkipReset,
    /// With a short time to live after its end; in half of the cases applied again when it has been
    /// deleted.
    ShortLived,
    /// With an expiry some minutes ahead; deleted at its end and applied again with one some days
    /// ahead.
    Expiring,
    /// Suspended until its expiry has passed.
    Expired,
    /// Suspended until its deadline has passed.
    Late,
}

impl Story {
    /// Returns a random story, each as often as its share.
    pub(super) fn any(random: &mut Random) -> Self {
        let mut left = random.below(100);
        for (story, share) in STORIES {
            if left < share {
                return story;
            }
            left -= share;
        }
        Self::Plain
    }

    /// Adds the fields of the story to a request's spec.
    pub(super) fn complete(self, spec: &mut Value, terms: Terms) {
        let seconds = terms.seconds;
        match self {
            Self::Suspended => spec["suspend"] = true.into(),
            Self::Skip | Self::SkipReset => spec["ifResetRequired"] = "Skip".into(),
            Self::ShortLived => spec["ttlSecondsAfterFinished"] = seconds.into(),
            Self::Expiring => spec["notAfter"] = in_future(terms.expiry).into(),
            Self::Expired => {
                spec["suspend"] = true.into();
                spec["notAfter"] = in_future(SignedDuration::from_secs(1)).into();
            }
            Self::Late => {
                spec["suspend"] = true.into();
                spec["deadlineSeconds"] = (1 + seconds).into();
            }
            Self::Plain | Self::Again | Self::Deleted | Self::DeletedAndAgain | Self::Nobody => {}
        }
    }

    /// Returns the reason with which a request ends that must never have been sent.
    pub(super) const fn never_sent(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("Expired"),
            Self::Late => Some("DeadlineExceeded"),
            Self::Plain
            | Self::Again
            | Self::Deleted
            | Self::DeletedAndAgain
            | Self::Suspended
            | Self::Nobody
            | Self::Skip
            | Self::SkipReset
            | Self::ShortLived
            | Self::Expiring => None,
        }
    }
}

/// The times in a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The seconds of short times.
    seconds: usize,
    /// The time from now until it expires.
    expiry: SignedDuration,
}

impl Terms {
    /// The times of a request that is applied again. Its expiry is further in the future than any
    /// clock jumps, so that it is remembered by every clock.
    pub(super) const AGAIN: Self = Self { seconds: 0, expiry: SignedDuration::from_hours(72) };

    /// Returns the times of a request that is applied for the first time.
    pub(super) fn first(random: &mut Random) -> Self {
        Self { seconds: random.below(3), expiry: SignedDuration::from_mins(10) }
    }
}

/// The share of each story, in percent.
const STORIES: [(Story, usize); 12] = [
    (Story::Plain, 30),
    (Story::Again, 12),
    (Story::Deleted, 6),
    (Story::DeletedAndAgain, 10),
    (Story::Suspended, 8),
    (Story::Nobody, 4),
    (Story::Skip, 5),
    (Story::SkipReset, 4),
    (Story::ShortLived, 11),
    (Story::Expiring, 6),
    (Story::Expired, 2),
    (Story::Late, 2),
];

/// Returns the moment after this time, in whole seconds, as the API server keeps them.
fn in_future(duration: SignedDuration) -> String {
    let then = Timestamp::now() + duration;
    then.round(Unit::Second).unwrap_or(then).to_string()
}

#[cfg(test)]
mod tests {
    use super::STORIES;

    #[test]
    fn the_shares_of_the_stories_are_a_hundred() {
        assert_eq!(STORIES.iter().map(|(_, share)| share).sum::<usize>(), 100);
    }
}
