//! Replies that were once taken for more than they say, and those of Cognito beside them.

use cognito_reset_operator::cognito::outcome::{Answer, Code};
use fuzz::wire;

const REFUSAL: &str = r#"{"__type":"UserNotFoundException","message":"User does not exist."}"#;

#[track_caller]
fn reset(status: &str, headers: &str, body: &str) -> Answer {
    let call = wire::reset(format!("HTTP/1.1 {status}\r\n{headers}\r\n{body}").as_bytes());
    assert_eq!(call.seen.expect("hyper reads it").body, body);
    call.result.answer
}

fn refusal() -> Answer {
    Answer::Exception(Code::parse("UserNotFoundException").expect("a known code"))
}

#[test]
fn only_200_with_an_empty_body_is_a_success() {
    for body in ["", "{}", " { } "] {
        assert_eq!(reset("200 OK", "", body), Answer::Accepted, "{body}");
    }
    for status in ["201 Created", "202 Accepted", "204 No Content", "206 Partial Content", "299 Odd"] {
        assert_eq!(reset(status, "", ""), Answer::Lost, "{status}");
    }
    for body in [REFUSAL, "[]", "null", "{", "{}{}", "<html></html>"] {
        assert_eq!(reset("200 OK", "", body), Answer::Lost, "{body}");
    }
}

#[test]
fn a_code_in_what_only_begins_like_an_answer_proves_nothing() {
    assert_eq!(reset("400 Bad Request", "", REFUSAL), refusal());
    assert_eq!(reset("400 Bad Request", "x-amzn-errortype: UserNotFoundException\r\n", ""), refusal());
    for more in ["D", "{}", "\0", "<html></html>"] {
        assert_eq!(reset("400 Bad Request", "", &format!("{REFUSAL}{more}")), Answer::Lost, "{more}");
    }
    for body in ["<html></html>", "[]", "{"] {
        assert_eq!(
            reset("400 Bad Request", "x-amzn-errortype: UserNotFoundException\r\n", body),
            Answer::Lost,
            "{body}"
        );
    }
}
