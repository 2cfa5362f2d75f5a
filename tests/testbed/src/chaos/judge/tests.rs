use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(seconds: u64, fate: Fate) -> Call {
    Call { at: at(seconds), fate }
}

fn reported(outcome: &str, invalidated: &str) -> Reported {
    Reported { outcome: outcome.into(), reason: String::new(), invalidated: invalidated.into() }
}

fn status(seconds: u64, outcome: &str, invalidated: &str) -> (Duration, Claim) {
    (at(seconds), Claim::Status(reported(outcome, invalidated)))
}

fn effect(seconds: u64, effect: Effect) -> (Duration, Claim) {
    (at(seconds), Claim::Effect(effect))
}

fn over(reason: &str) -> Reported {
    Reported { reason: reason.into(), ..reported("Failed", "False") }
}

fn expires(reported: &str, remembered: Option<&str>) -> Option<(String, Option<String>)> {
    Some((reported.to_owned(), remembered.map(str::to_owned)))
}

/// A request that stays, with this end.
fn stays(calls: Vec<Call>, outcome: &str, invalidated: &str, effect: Effect) -> Facts {
    let final_status = Some(reported(outcome, invalidated));
    Facts { calls, stays: true, final_status, record: Some(Some(effect)), ..Facts::default() }
}

/// A request that was never sent.
fn held_back() -> Facts {
    stays(Vec::new(), "Failed", "False", Effect::NotPerformed)
}

#[test]
fn what_is_true_is_no_violation() {
    let accepted = || vec![call(5, Fate::Accepted)];
    let plain = stays(accepted(), "Succeeded", "True", Effect::Performed);
    let cases = [
        ("accepted, and in the status", plain.clone()),
        ("accepted, and nobody knows", stays(accepted(), "Unknown", "Unknown", Effect::Unknown)),
        ("accepted with an exception", stays(accepted(), "Failed", "True", Effect::Performed)),
        ("refused", stays(vec![call(5, Fate::Refused)], "Failed", "False", Effect::NotPerformed)),
        ("never sent on, and nobody knows", {
            stays(vec![call(5, Fate::NotForwarded)], "Unknown", "Unknown", Effect::Unknown)
        }),
        (
            "failed, deleted, applied again and performed",
            Facts {
                claims: vec![
                    status(1, "Failed", "False"),
                    effect(6, Effect::Performed),
                    status(7, "Succeeded", "True"),
                ],
                ..plain.clone()
            },
        ),
        (
            "without effect at first, then performed",
            Facts { claims: vec![effect(2, Effect::NotPerformed), effect(6, Effect::Performed)], ..plain },
        ),
        (
            "skipped, for somebody else had reset",
            Facts {
                reset_before: true,
                stays: true,
                final_status: Some(reported("Succeeded", "True")),
                ..Facts::default()
            },
        ),
        ("deleted before anything happened", Facts::default()),
        (
            "held back until its expiry had passed",
            Facts { never_sent: Some("Expired"), final_status: Some(over("Expired")), ..held_back() },
        ),
        (
            "throttled, and then too late",
            Facts {
                claims: vec![(at(7), Claim::Status(over("DeadlineExceeded")))],
                final_status: Some(over("DeadlineExceeded")),
                ..stays(vec![call(5, Fate::Refused)], "Failed", "False", Effect::NotPerformed)
            },
        ),
        (
            "its expiry, or a later one, is remembered",
            Facts { expires: expires("2026-11-24T21:55:58Z", Some("2026-11-24T21:55:59Z")), ..held_back() },
        ),
        (
            "without a status, so its expiry need not be remembered",
            Facts { stays: false, final_status: None, expires: expires("2026-11-24T21:55:58Z", None), ..held_back() },
        ),
    ];
    for (name, facts) in cases {
        assert_eq!(facts.violations(), [], "{name}");
    }
}

#[test]
fn every_violation_is_found() {
    use Violation as V;
    let accepted = || vec![call(5, Fate::Accepted)];
    let refused = || vec![call(5, Fate::Refused)];
    let fine = || stays(accepted(), "Succeeded", "True", Effect::Performed);
    let cases = [
        (
            "twice",
            Facts { calls: vec![call(5, Fate::Accepted), call(9, Fate::Accepted)], ..fine() },
            vec![V::ResetTwice],
        ),
        ("no end", Facts { final_status: Some(reported("Pending", "Unknown")), ..fine() }, vec![V::NeverTerminal]),
        ("lost", Facts { final_status: None, ..fine() }, vec![V::NeverTerminal]),
        ("open", Facts { record: Some(None), ..fine() }, vec![V::ClaimLeftOpen]),
        ("taken back", Facts { went_back: true, ..fine() }, vec![V::TookBack]),
        (
            "lost track",
            Facts { calls: vec![call(5, Fate::Accepted), call(6, Fate::Unseen)], ..fine() },
            vec![V::FateUnseen],
        ),
        (
            "a reset that no proxy saw",
            Facts { has_to_reset: true, ..stays(refused(), "Failed", "False", Effect::NotPerformed) },
            vec![V::FateUnseen],
        ),
        (
            "failed though accepted",
            stays(accepted(), "Failed", "False", Effect::NotPerformed),
            vec![V::NotPerformedThoughAccepted, V::ReportedNotInvalidatedThoughAccepted],
        ),
        (
            "succeeded though refused",
            stays(refused(), "Succeeded", "True", Effect::Performed),
            vec![
                V::PerformedThoughNotAccepted,
                V::ReportedInvalidatedThoughNotAccepted,
                V::ReportedSucceededThoughNotAccepted,
            ],
        ),
        (
            "invalidated though refused",
            stays(refused(), "Unknown", "True", Effect::Unknown),
            vec![V::ReportedInvalidatedThoughNotAccepted],
        ),
        (
            "wrong for a moment: without effect",
            Facts { claims: vec![effect(6, Effect::NotPerformed)], ..fine() },
            vec![V::NotPerformedThoughAccepted],
        ),
        (
            "wrong for a moment: performed too early",
            Facts { claims: vec![effect(4, Effect::Performed)], ..fine() },
            vec![V::PerformedThoughNotAccepted],
        ),
        (
            "wrong for a moment: in the status before it was",
            Facts { claims: vec![status(4, "Succeeded", "True")], ..fine() },
            vec![V::ReportedInvalidatedThoughNotAccepted, V::ReportedSucceededThoughNotAccepted],
        ),
        (
            "sent after its status said that its time is over",
            Facts {
                claims: vec![(at(4), Claim::Status(over("Expired")))],
                ..stays(vec![call(5, Fate::Refused)], "Failed", "False", Effect::NotPerformed)
            },
            vec![V::CalledThoughOver],
        ),
        (
            "sent, and its time was over",
            Facts {
                never_sent: Some("Expired"),
                final_status: Some(over("Expired")),
                calls: vec![call(5, Fate::NotForwarded)],
                ..held_back()
            },
            vec![V::CalledThoughOver],
        ),
        (
            "its deadline was over, and its status says otherwise",
            Facts { never_sent: Some("DeadlineExceeded"), final_status: Some(over("Expired")), ..held_back() },
            vec![V::EndNotReported],
        ),
        ("deleted too early", Facts { cut_short: true, ..fine() }, vec![V::DeletedTooEarly]),
        (
            "its expiry is forgotten",
            Facts { expires: expires("2026-11-24T21:55:58Z", None), ..fine() },
            vec![V::ExpiryForgotten],
        ),
        (
            "an earlier expiry is remembered",
            Facts { expires: expires("2026-11-24T21:55:58Z", Some("2026-11-24T21:55:57Z")), ..fine() },
            vec![V::ExpiryForgotten],
        ),
        (
            "wrong for a moment: its status said that it was not",
            Facts { claims: vec![status(6, "Failed", "False")], ..fine() },
            vec![V::ReportedNotInvalidatedThoughAccepted],
        ),
    ];
    for (name, facts, wanted) in cases {
        assert_eq!(facts.violations(), wanted, "{name}");
    }
}

#[test]
fn knowledge_only_grows() {
    use Effect::{NotPerformed, Performed, Unknown};
    let states = [None, Some(NotPerformed), Some(Unknown), Some(Performed)];
    for before in states {
        for now in states {
            for again in [false, true] {
                let fine = match (before, now) {
                    (None, _) => true,
                    (Some(NotPerformed), _) => again || now == before,
                    (Some(Unknown), Some(Unknown | Performed)) => true,
                    (Some(Performed), Some(Performed)) => true,
                    (Some(Unknown | Performed), _) => false,
                };
                assert_eq!(takes_back(before, now, again), !fine, "{before:?} {now:?} {again}");
            }
        }
    }
}

#[test]
fn a_status_is_read_from_its_conditions() {
    let request = serde_json::json!({ "status": { "outcome": "Failed", "conditions": [
        { "type": "Ready", "status": "False", "reason": "UserNotFoundException" },
        { "type": "PasswordInvalidated", "status": "False", "reason": "UserNotFoundException" },
    ]}});
    let wanted = Reported { reason: "UserNotFoundException".into(), ..reported("Failed", "False") };
    assert_eq!(Reported::of(&request), wanted);
    assert!(!Reported::of(&serde_json::json!({})).has_ended());
}
