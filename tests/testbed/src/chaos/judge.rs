//! Compares what was claimed about a request with Cognito's own record. Pure.
//!
//! There are two kinds of claims: those that were written (each status and each effect that the API
//! server stored, at the moment when the proxies saw it pass) and those that exist at the end. The
//! responses of the emulator show what Cognito accepted, regardless of what reached the operator.

use std::{fmt, time::Duration};

use serde_json::Value;

/// A record's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    NotPerformed,
    Unknown,
    Performed,
}

impl Effect {
    /// Returns the effect in a record; `None` while the claim is open.
    pub(super) fn of(record: &Value) -> Option<Self> {
        match record.get("effect")?.as_str()? {
            "NotPerformed" => Some(Self::NotPerformed),
            "Performed" => Some(Self::Performed),
            _ => Some(Self::Unknown),
        }
    }
}

/// The content of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) outcome: String,
    pub(super) reason: String,
    /// The status of `PasswordInvalidated`.
    pub(super) invalidated: String,
}

impl Reported {
    pub(super) fn of(request: &Value) -> Self {
        let conditions = request.pointer("/status/conditions").and_then(Value::as_array);
        let of_type = |type_: &str, field: &str| {
            let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
            found.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned()
        };
        let outcome = request.pointer("/status/outcome").and_then(Value::as_str).unwrap_or("Pending").to_owned();
        Self { outcome, reason: of_type("Ready", "reason"), invalidated: of_type("PasswordInvalidated", "status") }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.outcome != "Pending"
    }

    /// Returns true if the status says that the time was over before anything could happen.
    fn says_over(&self) -> bool {
        self.outcome == "Failed" && ["Expired", "DeadlineExceeded"].contains(&self.reason.as_str())
    }
}

/// A claim that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Effect(Effect),
    Status(Reported),
}

/// A call of AdminResetUserPassword, with the time of its arrival on the way to Cognito.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) at: Duration,
    pub(super) fate: Fate,
}

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It never reached Cognito.
    NotForwarded,
    /// Cognito refused.
    Refused,
    /// Cognito accepted.
    Accepted,
    /// The call was sent on and no response was seen: the run itself does not know.
    Unseen,
}

/// All that is known of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Somebody else had reset the user before.
    pub(super) reset_before: bool,
    /// The emulator itself shows at the end that the user has to reset. It is only read if no call
    /// is known to have done it.
    pub(super) has_to_reset: bool,
    pub(super) calls: Vec<Call>,
    /// The claims in the order in which they passed.
    pub(super) claims: Vec<(Duration, Claim)>,
    /// It was not deleted for good, so its status has to exist.
    pub(super) stays: bool,
    /// The status at the end.
    pub(super) final_status: Option<Reported>,
    /// Its record at the end, and that record's effect.
    pub(super) record: Option<Option<Effect>>,
    /// A watch has seen an effect, or a final outcome, that took something back.
    pub(super) went_back: bool,
    /// The reason in its status at the end, if it was held back until its time was over and must
    /// never have been sent.
    pub(super) never_sent: Option<&'static str>,
    /// The operator has deleted the request without an end, or the record with its claim open, or
    /// the record of an existing request.
    pub(super) cut_short: bool,
    /// The expiry that it was applied again with, and the latest one that its record remembers at
    /// the end.
    pub(super) expires: Option<(String, Option<String>)>,
}

/// The violations: states that must never exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Violation {
    ResetTwice,
    NeverTerminal,
    ClaimLeftOpen,
    NotPerformedThoughAccepted,
    PerformedThoughNotAccepted,
    ReportedNotInvalidatedThoughAccepted,
    ReportedInvalidatedThoughNotAccepted,
    ReportedSucceededThoughNotAccepted,
    TookBack,
    CalledThoughOver,
    EndNotReported,
    DeletedTooEarly,
    ExpiryForgotten,
    FateUnseen,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResetTwice => "Cognito accepted more than one reset",
            Self::NeverTerminal => "the request never became terminal",
            Self::ClaimLeftOpen => "the record's claim was left open",
            Self::NotPerformedThoughAccepted => "the record says NotPerformed, and Cognito had accepted",
            Self::PerformedThoughNotAccepted => "the record says Performed, and Cognito had not accepted",
            Self::ReportedNotInvalidatedThoughAccepted => "the status says PasswordInvalidated=False, and it was",
            Self::ReportedInvalidatedThoughNotAccepted => "the status says PasswordInvalidated=True, and it was not",
            Self::ReportedSucceededThoughNotAccepted => "the status says Succeeded, and Cognito had not accepted",
            Self::TookBack => "an effect or an outcome was taken back",
            Self::CalledThoughOver => {
                "a call left after its time was over: a status had said so, or it was held back until then"
            }
            Self::EndNotReported => "it was held back until its time was over, and its status does not say so",
            Self::DeletedTooEarly => "a request was deleted without an end, or a record that was still needed",
            Self::ExpiryForgotten => "the record does not remember the expiry of a request whose status relies on it",
            Self::FateUnseen => "the run lost track of a call (its own fault, not the operator's)",
        })
    }
}

impl Violation {
    /// Returns true if the violation is a claim in a status or record that is not true.
    pub(super) const fn is_wrong_claim(self) -> bool {
        match self {
            Self::NotPerformedThoughAccepted
            | Self::PerformedThoughNotAccepted
            | Self::ReportedNotInvalidatedThoughAccepted
            | Self::ReportedInvalidatedThoughNotAccepted
            | Self::ReportedSucceededThoughNotAccepted
            | Self::TookBack
            | Self::CalledThoughOver
            | Self::EndNotReported
            | Self::DeletedTooEarly
            | Self::ExpiryForgotten => true,
            Self::ResetTwice | Self::NeverTerminal | Self::ClaimLeftOpen | Self::FateUnseen => false,
        }
    }
}

impl Facts {
    /// Returns how often Cognito accepted.
    pub(super) fn resets(&self) -> usize {
        self.calls.iter().filter(|call| call.fate == Fate::Accepted).count()
    }

    fn accepted_before(&self, moment: Duration) -> bool {
        self.calls.iter().any(|call| call.fate == Fate::Accepted && call.at <= moment)
    }

    /// Returns true if a call left after a status had said that the time was over. The record has
    /// such an end before the status does.
    fn called_though_over(&self) -> bool {
        let over = |(at, claim): &(Duration, Claim)| {
            matches!(claim, Claim::Status(reported) if reported.says_over()).then_some(*at)
        };
        let reported = self.claims.iter().find_map(over);
        reported.is_some_and(|reported| self.calls.iter().any(|call| call.at > reported))
    }

    /// Returns true if the operator wrote a status for an expiry that the record does not remember.
    /// The moments are whole seconds in UTC.
    fn expiry_was_forgotten(&self) -> bool {
        let ended = self.final_status.as_ref().is_some_and(Reported::has_ended);
        ended && self.expires.as_ref().is_some_and(|(reported, remembered)| remembered.as_ref() < Some(reported))
    }

    /// Returns the violations of the request; there should be none.
    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for (at, claim) in &self.claims {
            found.extend(self.wrong(claim, *at));
        }
        if let Some(reported) = &self.final_status {
            found.extend(self.wrong(&Claim::Status(reported.clone()), Duration::MAX));
        }
        if let Some(Some(effect)) = self.record {
            found.extend(self.wrong(&Claim::Effect(effect), Duration::MAX));
        }
        let ended = self.final_status.as_ref().is_some_and(Reported::has_ended);
        let checks = [
            (self.resets() > 1, Violation::ResetTwice),
            (self.stays && !ended, Violation::NeverTerminal),
            (self.record == Some(None), Violation::ClaimLeftOpen),
            (self.went_back, Violation::TookBack),
            (self.called_though_over(), Violation::CalledThoughOver),
            (self.never_sent.is_some() && !self.calls.is_empty(), Violation::CalledThoughOver),
            (self.never_sent.is_some_and(|reason| !self.ends_by(reason)), Violation::EndNotReported),
            (self.cut_short, Violation::DeletedTooEarly),
            (self.expiry_was_forgotten(), Violation::ExpiryForgotten),
            (self.calls.iter().any(|call| call.fate == Fate::Unseen), Violation::FateUnseen),
            (self.has_to_reset && self.resets() == 0 && !self.reset_before, Violation::FateUnseen),
        ];
        found.extend(checks.into_iter().filter_map(|(holds, violation)| holds.then_some(violation)));
        found.sort_unstable();
        found.dedup();
        found
    }

    fn ends_by(&self, reason: &str) -> bool {
        self.final_status.as_ref().is_some_and(|reported| reported.says_over() && reported.reason == reason)
    }

    fn wrong(&self, claim: &Claim, at: Duration) -> Vec<Violation> {
        let accepted = self.accepted_before(at);
        let invalidated = accepted || self.reset_before;
        match claim {
            Claim::Effect(Effect::NotPerformed) if accepted => vec![Violation::NotPerformedThoughAccepted],
            Claim::Effect(Effect::Performed) if !accepted => vec![Violation::PerformedThoughNotAccepted],
            Claim::Effect(_) => Vec::new(),
            Claim::Status(reported) => {
                let checks = [
                    (reported.invalidated == "False" && accepted, Violation::ReportedNotInvalidatedThoughAccepted),
                    (reported.invalidated == "True" && !invalidated, Violation::ReportedInvalidatedThoughNotAccepted),
                    (reported.outcome == "Succeeded" && !invalidated, Violation::ReportedSucceededThoughNotAccepted),
                ];
                checks.into_iter().filter_map(|(holds, violation)| holds.then_some(violation)).collect()
            }
        }
    }
}

/// Returns true if an effect takes back what the one before said. `again` is true if the claim is
/// another one.
pub(super) fn takes_back(before: Option<Effect>, now: Option<Effect>, again: bool) -> bool {
    match before {
        None => false,
        Some(Effect::Performed) => now != Some(Effect::Performed),
        Some(Effect::Unknown) => !matches!(now, Some(Effect::Unknown | Effect::Performed)),
        Some(Effect::NotPerformed) => now != Some(Effect::NotPerformed) && !again,
    }
}

#[cfg(test)]
mod tests;
