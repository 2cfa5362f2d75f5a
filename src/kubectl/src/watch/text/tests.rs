use super::*;
use crate::{snapshot::snapshot, style::plain};

fn ended(request: &Request, all_namespaces: bool, names_users: bool) -> String {
    plain(&super::ended(request, all_namespaces, names_users))
}

fn request(outcome: &str, reason: &str, message: &str) -> Request {
    serde_json::from_value(json!({
        "metadata": {"name": "one", "namespace": "support"},
        "spec": {"userPoolID": "eu-west-1_Example01", "username": "ali\u{202e}ce"},
        "status": {"outcome": outcome, "password": "Unchanged", "completionTime": "2026-01-01T00:00:00Z", "conditions": [{
            "type": "Ready", "status": "False", "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .expect("a request")
}

#[test]
fn a_line_names_request_outcome_and_reason() {
    let done = request("Succeeded", "ResetAccepted", "accepted");
    assert_eq!(ended(&done, false, false), "one: Succeeded/ResetAccepted");
    assert_eq!(ended(&done, true, true), "support/one (ali\\u202ece): Succeeded/ResetAccepted");
    let before = request("Succeeded", "AlreadyPerformed", "");
    assert_eq!(ended(&before, false, false), "one: Succeeded/AlreadyPerformed (nothing was sent for this request)");
    let mut required = request("Succeeded", "AlreadyResetRequired", "");
    assert!(ended(&required, false, false).ends_with("(nothing was sent for this request)"));
    required.status.attempts = Some(1);
    assert_eq!(ended(&required, false, false), "one: Succeeded/AlreadyResetRequired");
    let failed = request("Failed", "UserNotFoundException", "no such\u{1b}[2J user");
    assert_eq!(ended(&failed, false, false), "one: Failed/UserNotFoundException: no such\\u001b[2J user");
    let gone = deleted(&done.id(), true, false);
    assert_eq!(gone, "support/one: deleted before an outcome was seen; if a call was made, its record has the outcome");
}

#[test]
fn the_lines_of_every_state_look_like_their_snapshot() {
    let (mut progress, mut piped, mut terminal) = (Progress::default(), String::new(), String::new());
    progress.list_begins();
    for (number, (_, mut object)) in crate::reasons::tests::states().into_iter().enumerate() {
        object["metadata"] = json!({"name": format!("inc-7-{number}"), "namespace": "support"});
        let request: Request = serde_json::from_value(object).expect("a request");
        if progress.put(&request, Duration::ZERO) {
            piped += &format!("{}\n", ended(&request, false, false));
            terminal += &format!("{}\n", ended(&request, true, true));
        }
    }
    snapshot("watch/text/piped.txt", &format!("{piped}{}\n", tally(&progress)));
    snapshot("watch/text/terminal.txt", &format!("{terminal}{}\n", below_bar(&progress)));
}

#[test]
fn the_counts_name_what_is_waited_for() {
    let mut progress = Progress::default();
    progress.list_begins();
    let mut put = |name: &str, outcome: &str, reason: &str| {
        let mut request = request(outcome, reason, "");
        request.metadata.name = Some(name.to_owned());
        if reason.is_empty() {
            request.status.conditions.clear();
        }
        progress.put(&request, Duration::ZERO);
    };
    put("a", "Pending", "RateLimited");
    put("b", "Pending", "RateLimited");
    put("c", "Pending", "");
    put("d", "Failed", "Expired");
    put("e", "Succeeded", "AlreadyPerformed");
    assert_eq!(
        tally(&progress),
        "0 succeeded, 1 failed, 0 unknown, 3 pending, 1 succeeded without a reset now (2 RateLimited, 1 without a status yet)"
    );
    assert_eq!(pace(&progress), "3 left");
    let below = "0 ok, 1 failed, 0 unknown, 1 without a reset now\nwaiting: 2 RateLimited, 1 without a status yet";
    assert_eq!(below_bar(&progress), below);
    assert_eq!(
        tally_json(&progress).to_string(),
        r#"{"deleted":0,"event":"tally","failed":1,"pending":3,"succeeded":0,"unknown":0,"waiting":{"":1,"RateLimited":2},"withoutReset":1}"#
    );
    progress.list_ends(Duration::from_secs(1));
    let mut request = request("Succeeded", "ResetAccepted", "");
    request.metadata.name = Some("b".into());
    progress.put(&request, Duration::from_secs(2));
    progress.measure(Duration::from_secs(3));
    assert_eq!(pace(&progress), "0.5/s, 2 left, 4 s");
}

#[test]
fn an_operator_that_shows_nothing_is_not_said_to_go_on() {
    for (reasons, ended_since, exit, goes_on) in [
        (&["", ""][..], false, Exit::TimedOut, false),
        (&["", ""], true, Exit::TimedOut, true),
        (&["", "RateLimited"], false, Exit::TimedOut, true),
        (&["RateLimited"], false, Exit::TimedOut, true),
        (&[""], false, Exit::Interrupted, true),
    ] {
        let mut progress = Progress::default();
        for (number, reason) in reasons.iter().enumerate() {
            let mut request = request("Pending", reason, "");
            request.metadata.name = Some(format!("r-{number}"));
            if reason.is_empty() {
                request.status.conditions.clear();
            }
            progress.put(&request, Duration::ZERO);
        }
        let ended = |name: &str| {
            let mut request = request("Succeeded", "ResetAccepted", "");
            request.metadata.name = Some(name.to_owned());
            request
        };
        progress.put(&ended("before"), Duration::ZERO);
        progress.list_ends(Duration::ZERO);
        if ended_since {
            progress.put(&ended("since"), Duration::ZERO);
        }
        // One that is created again under its name shows nothing.
        let mut again = ended("before");
        again.status = crate::request::Status::default();
        progress.put(&again, Duration::ZERO);
        assert_eq!(ended_early(exit, &progress).ends_with("the operator goes on"), goes_on, "{reasons:?}");
    }
}

#[test]
fn the_json_of_an_end_has_what_the_status_says() {
    assert_eq!(
        ended_json(&request("Failed", "Expired", "too late")).to_string(),
        r#"{"completionTime":"2026-01-01T00:00:00Z","event":"ended","message":"too late","name":"one","namespace":"support","outcome":"Failed","password":"Unchanged","reason":"Expired","userPoolID":"eu-west-1_Example01","username":"USER"}"#.replace("USER", "ali\u{202e}ce")
    );
}

#[test]
fn durations_have_two_units() {
    for (milliseconds, wanted) in
        [(0, "0 s"), (1, "1 s"), (59_001, "1 min 0 s"), (200_000, "3 min 20 s"), (7_260_000, "2 h 1 min")]
    {
        assert_eq!(about(Duration::from_millis(milliseconds)), wanted);
    }
}
