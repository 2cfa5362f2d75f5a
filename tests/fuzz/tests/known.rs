//! Replies that were once taken for more than they say, and those of Cognito beside them.

use cognito_reset_operator::cognito::{
    bounded::MAX_ANSWER,
    outcome::{Answer, Code},
};
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

#[test]
fn an_error_that_names_two_codes_proves_neither() {
    let header = "x-amzn-errortype: UserNotFoundException:http://internal.amazon.com/coral/\r\n";
    assert_eq!(reset("400 Bad Request", header, REFUSAL), refusal());
    assert_eq!(
        reset("400 Bad Request", "", r#"{"__type":"a.b#UserNotFoundException","code":"UserNotFoundException"}"#),
        refusal()
    );
    for (headers, body) in [
        ("", r#"{"__type":"UserNotFoundException","__type":"InternalErrorException"}"#),
        ("", r#"{"__type":"InternalErrorException","__type":"UserNotFoundException"}"#),
        ("", r#"{"__type":"UserNotFoundException","code":"InternalErrorException"}"#),
        ("x-amzn-errortype: UserNotFoundException\r\n", r#"{"__type":"InternalErrorException"}"#),
        ("x-amzn-errortype: UserNotFoundException\r\nx-amzn-errortype: InternalErrorException\r\n", "{}"),
    ] {
        assert_eq!(reset("400 Bad Request", headers, body), Answer::Lost, "{headers}{body}");
    }
}

#[test]
fn an_answer_is_read_up_to_its_limit_and_no_further() {
    let of_length = |length: usize| {
        let (start, end) = (r#"{"__type":"UserNotFoundException","message":""#, r#""}"#);
        format!("{start}{}{end}", "a".repeat(length - start.len() - end.len()))
    };
    assert_eq!(reset("400 Bad Request", "", &of_length(MAX_ANSWER)), refusal());
    assert_eq!(reset("400 Bad Request", "", &of_length(MAX_ANSWER + 1)), Answer::Lost);
}
