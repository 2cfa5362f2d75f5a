//! Given this request, its label is to be this.

use super::*;

const END: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn request(ttl: Option<i64>, label: Option<&str>) -> PasswordResetRequest {
    let spec = serde_json::json!({
        "userPoolID": "eu-west-1_Example01", "username": "alice", "ttlSecondsAfterFinished": ttl,
    });
    let mut made = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    made.metadata.labels = label.map(|value| [(LABEL.to_owned(), value.to_owned())].into());
    made
}

#[test]
fn a_request_with_a_time_to_live_gets_the_label_once() {
    let due = |seconds| Plan::Write(value(after(END, seconds)));
    for (name, ttl, label, wanted) in [
        ("off by default", None, None, Plan::Nothing),
        ("off, with somebody's label", None, Some("20270101T000000Z"), Plan::Nothing),
        ("on", Some(60), None, due(60)),
        ("at once", Some(0), None, due(0)),
        ("the longest", Some(31_536_000), None, due(31_536_000)),
        ("labelled by an earlier pass", Some(60), Some("20270115T080059Z"), Plan::Stands),
        ("labelled with the same", Some(60), Some("20270115T080100Z"), Plan::Stands),
        ("put off by its author", Some(60), Some("20270115T080101Z"), due(60)),
        ("with nonsense", Some(60), Some("tomorrow"), due(60)),
        ("with nothing in it", Some(60), Some(""), due(60)),
    ] {
        assert_eq!(plan(&request(ttl, label), END), wanted, "{name}");
    }
    assert_eq!(value(after(END, 60)), "20270115T080100Z");
}

#[test]
fn a_tracked_request_gets_none() {
    for mark in Mark::ALL {
        let mut tracked = request(Some(60), None);
        tracked.metadata.annotations = Some([(mark.key().to_owned(), String::new())].into());
        assert_eq!(plan(&tracked, END), Plan::Tracked(mark));
        tracked.spec.ttl_seconds_after_finished = None;
        assert_eq!(plan(&tracked, END), Plan::Nothing);
    }
}

#[test]
fn a_label_is_a_valid_value_and_is_read_as_it_was_written() {
    for moment in [END, Timestamp::UNIX_EPOCH, Timestamp::constant(253_402_200_000, 0)] {
        let written = value(moment);
        assert!(written.len() <= 63 && written.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{written}");
        assert_eq!(parse(&written), Some(moment), "{written}");
    }
    for nonsense in ["", "20270115", "20271315T080000Z", "20270115T080000", "20270115T080000Zz", "1800000000", "ä"] {
        assert_eq!(parse(nonsense), None, "{nonsense}");
    }
}
