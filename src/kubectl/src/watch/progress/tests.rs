use serde_json::json;

use super::*;

/// Returns a request with this outcome and reason. A reason of `-` is that of a request that no
/// operator has seen.
fn request(name: &str, outcome: &str, reason: &str) -> Request {
    let observed = if reason == "-" { -1 } else { 1 };
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "support"},
        "spec": {"userPoolID": "eu-west-1_Example01", "username": name},
        "status": {"outcome": outcome, "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": reason, "message": "",
            "observedGeneration": observed, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .expect("a request")
}

/// An event, and the time in seconds.
enum Event {
    Begin,
    Put(&'static str, &'static str, &'static str),
    Delete(&'static str, &'static str, &'static str),
    End,
}

use Event::{Begin, Delete, End, Put};

fn after(events: &[Event]) -> (Progress, Vec<String>) {
    let (mut progress, mut news) = (Progress::default(), Vec::new());
    let now = Duration::from_secs(1);
    for event in events {
        match event {
            Begin => progress.list_begins(),
            Put(name, outcome, reason) => {
                news.extend(progress.put(&request(name, outcome, reason), now).then(|| format!("{name} ended")));
            }
            Delete(name, outcome, reason) => {
                let state = progress.delete(&request(name, outcome, reason), now);
                news.extend(state.map(|state| format!("{name} {state:?}")));
            }
            End => news.extend(progress.list_ends(now).into_iter().map(|id| format!("{} gone", id.name))),
        }
    }
    (progress, news)
}

const WAITS: Event = Put("a", "Pending", "RateLimited");
const DONE: Event = Put("a", "Succeeded", "ResetAccepted");

#[test]
fn each_end_is_news_once() {
    let none = Tally::default();
    for (events, wanted, tally) in [
        (&[Begin, WAITS, End][..], &[][..], Tally { pending: 1, ..none }),
        (&[Begin, WAITS, End, WAITS, DONE, DONE], &["a ended"], Tally { succeeded: 1, ..none }),
        (&[Begin, DONE, End, Begin, DONE, End], &["a ended"], Tally { succeeded: 1, ..none }),
        (&[Begin, Put("a", "Succeeded", "AlreadyPerformed")], &["a ended"], Tally { not_needed: 1, ..none }),
        (&[Begin, Put("a", "Failed", "Expired"), End], &["a ended"], Tally { failed: 1, ..none }),
        (&[Begin, Put("a", "Unknown", "OutcomeUnknown"), End], &["a ended"], Tally { unknown: 1, ..none }),
        // Deleted with its outcome, without one, and with one that the deletion shows first.
        (&[DONE, Delete("a", "Succeeded", "ResetAccepted")], &["a ended"], Tally { succeeded: 1, ..none }),
        (&[WAITS, Delete("a", "Pending", "RateLimited")], &["a Deleted"], Tally { deleted: 1, ..none }),
        (&[WAITS, Delete("a", "Failed", "Expired")], &["a Failed"], Tally { failed: 1, ..none }),
        (&[Delete("a", "Pending", "-")], &["a Deleted"], Tally { deleted: 1, ..none }),
        // Deleted while the connection was lost.
        (&[Begin, WAITS, End, Begin, End, Begin, End], &["a gone"], Tally { deleted: 1, ..none }),
        (&[Begin, DONE, End, Begin, End], &["a ended"], Tally { succeeded: 1, ..none }),
        // A list that was not read to its end says nothing.
        (&[Begin, WAITS, End, Begin, Begin, WAITS, End], &[], Tally { pending: 1, ..none }),
        // Created again under the same name.
        (
            &[WAITS, Delete("a", "Pending", "-"), Put("a", "Pending", "-"), DONE],
            &["a Deleted", "a ended"],
            Tally { succeeded: 1, ..none },
        ),
    ] {
        let (progress, news) = after(events);
        assert_eq!((news.as_slice(), progress.tally()), (wanted.map_owned().as_slice(), tally));
        assert_eq!(progress.unseen, 0);
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|&text| text.to_owned()).collect()
    }
}

#[test]
fn it_is_over_when_all_are_listed_and_have_ended() {
    assert!(!after(&[Begin, DONE]).0.is_over());
    assert!(!after(&[Begin, WAITS, End]).0.is_over());
    assert!(after(&[Begin, WAITS, End, DONE]).0.is_over());
    assert!(after(&[Begin, End]).0.is_over());
}

#[test]
fn requests_that_have_to_exist_are_missed() {
    let (mut progress, _) = after(&[Begin, DONE, End]);
    let id = |name: &str| Id { namespace: "support".into(), name: name.into() };
    assert_eq!(progress.miss([id("a"), id("b")], Duration::ZERO), [id("b")]);
    assert_eq!(progress.tally(), Tally { succeeded: 1, deleted: 1, ..Tally::default() });
}

#[test]
fn pending_requests_are_counted_by_their_reason() {
    let (progress, _) =
        after(&[WAITS, Put("b", "Pending", "-"), Put("c", "Pending", "RateLimited"), Put("d", "Failed", "x")]);
    let waiting: Vec<_> = progress.waiting().into_iter().map(|(reason, count)| (reason.to_string(), count)).collect();
    assert_eq!(waiting, [(String::new(), 1), ("RateLimited".to_owned(), 2)]);
}

#[test]
fn the_rate_is_that_of_the_last_minute() {
    let at = Duration::from_secs;
    let mut progress = Progress::default();
    let mut names = (0..).map(|number: u32| number.to_string());
    let mut end = |progress: &mut Progress, count: usize| {
        for name in names.by_ref().take(count) {
            progress.put(&request(&name, "Succeeded", "ResetAccepted"), Duration::ZERO);
        }
    };
    for number in 0..100 {
        progress.put(&request(&format!("waits-{number}"), "Pending", "RateLimited"), Duration::ZERO);
    }
    end(&mut progress, 5_000);
    progress.list_ends(at(2));
    assert_eq!((progress.rate(), progress.left()), (None, None), "what had ended before is no rate");
    for second in 3..=12 {
        end(&mut progress, 5);
        progress.measure(at(second));
        progress.measure(at(second) + Duration::from_millis(1));
    }
    assert_eq!((progress.rate(), progress.left()), (Some(5.0), Some(at(20))));
    for second in 13..=200 {
        progress.measure(at(second));
    }
    assert_eq!((progress.rate(), progress.left()), (Some(0.0), None));
    assert!(progress.ends.len() <= 62, "{}", progress.ends.len());
}

#[test]
fn silence_about_an_unseen_request_is_a_warning_once() {
    let at = Duration::from_secs;
    let mut progress = Progress::default();
    progress.put(&request("seen", "Pending", "NoMatchingGrant"), at(0));
    assert!(!progress.warns(at(99)), "the operator has seen it");
    progress.put(&request("new", "Pending", "-"), at(100));
    assert!(!progress.warns(at(159)));
    assert!(progress.warns(at(160)) && !progress.warns(at(500)), "once");
    progress.put(&request("new", "Pending", "-"), at(501));
    assert!(!progress.warns(at(502)), "the same again is no news");
    progress.put(&request("seen", "Pending", "RateLimited"), at(510));
    assert!(!progress.warns(at(569)), "the operator runs");
    assert!(progress.warns(at(570)));
}

#[test]
fn those_that_wait_are_reported_soon_and_each_minute() {
    let mut progress = Progress::default();
    progress.list_begins();
    let request = serde_json::from_value(serde_json::json!({"metadata": {"name": "a", "namespace": "n"}})).unwrap();
    progress.put(&request, Duration::ZERO);
    assert!(!progress.reports(Duration::from_secs(99)), "not all are listed");
    progress.list_ends(Duration::ZERO);
    let reports = |progress: &mut Progress, seconds| progress.reports(Duration::from_secs(seconds));
    let told = [9, 10, 11, 69, 70, 71].map(|second| reports(&mut progress, second));
    assert_eq!(told, [false, true, false, false, true, false]);
    progress.delete(&request, Duration::ZERO);
    assert!(!reports(&mut progress, 999), "none waits");
}
