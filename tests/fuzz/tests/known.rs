//! The production port's reading of single replies: those that were once taken for more than they
//! say, Cognito's own replies for comparison, and none at all.

use std::{collections::BTreeSet, net::Ipv4Addr};

use cognito_reset_api::{Exception, FailureCause, UserStatus};
use cognito_reset_aws::transport::MAX_RESPONSE;
use cognito_reset_core::action::{
    port::User,
    response::{Class, Code, ResetResponse},
};
use fuzz::{codes::PROOFS, wire};
use tokio::net::TcpSocket;

const REFUSAL: &str = r#"{"__type":"UserNotFoundException","message":"User does not exist."}"#;

#[track_caller]
fn reset(status: &str, headers: &str, body: &str) -> ResetResponse {
    let call = wire::reset(format!("HTTP/1.1 {status}\r\n{headers}\r\n{body}").as_bytes());
    assert_eq!(call.seen.expect("hyper reads it").body, body);
    call.result.response
}

fn refusal() -> ResetResponse {
    ResetResponse::Exception(Code::parse("UserNotFoundException").expect("a known code"))
}

#[test]
fn proofs_are_the_codes_of_the_classes_that_prove_something() {
    let proves = |exception: &&Exception| match Class::of(**exception) {
        Class::Refused | Class::Throttled | Class::Blocked => true,
        Class::Ambiguous | Class::AmbiguousFailure => false,
    };
    let wanted: BTreeSet<_> = Exception::ALL.iter().filter(proves).map(|exception| exception.code()).collect();
    let different: Vec<_> = wanted.symmetric_difference(&BTreeSet::from(PROOFS)).copied().collect();
    assert!(different.is_empty(), "PROOFS in tests/fuzz/src/codes.rs and the classes differ in {different:?}");
}

#[test]
fn only_200_with_an_empty_body_is_a_success() {
    for body in ["", "{}", " { } "] {
        assert_eq!(reset("200 OK", "", body), ResetResponse::Accepted, "{body}");
    }
    for status in ["201 Created", "202 Accepted", "204 No Content", "206 Partial Content", "299 Odd"] {
        assert_eq!(reset(status, "", ""), ResetResponse::NoResponse, "{status}");
    }
    for body in [REFUSAL, "[]", "null", "{", "{}{}", "<html></html>"] {
        assert_eq!(reset("200 OK", "", body), ResetResponse::NoResponse, "{body}");
    }
}

#[test]
fn a_code_in_a_body_that_begins_like_a_response_proves_nothing() {
    assert_eq!(reset("400 Bad Request", "", REFUSAL), refusal());
    assert_eq!(reset("400 Bad Request", "x-amzn-errortype: UserNotFoundException\r\n", ""), refusal());
    for more in ["D", "{}", "\0", "<html></html>"] {
        assert_eq!(reset("400 Bad Request", "", &format!("{REFUSAL}{more}")), ResetResponse::NoResponse, "{more}");
    }
    for body in ["<html></html>", "[]", "{"] {
        assert_eq!(
            reset("400 Bad Request", "x-amzn-errortype: UserNotFoundException\r\n", body),
            ResetResponse::NoResponse,
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
        // The text beside the header cannot be read.
        ("x-amzn-errortype: UserNotFoundException\r\n", r#"{"code":1e999}"#),
        ("x-amzn-errortype: UserNotFoundException\r\n", r#"{"code":["UserNotFoundException"]}"#),
    ] {
        assert_eq!(reset("400 Bad Request", headers, body), ResetResponse::NoResponse, "{headers}{body}");
    }
}

#[test]
fn an_error_with_a_name_that_is_not_text_proves_nothing() {
    let unreadable = b"x-amzn-errortype: Internal\xffErrorException\r\n";
    for (headers, body) in [("x-amzn-errortype: UserNotFoundException\r\n", ""), ("", REFUSAL)] {
        let (headers, body) = (headers.as_bytes(), body.as_bytes());
        for headers in [[headers, unreadable].concat(), [unreadable, headers].concat()] {
            let call = wire::reset(&[b"HTTP/1.1 400 Bad Request\r\n", &*headers, b"\r\n", body].concat());
            assert_eq!(call.seen.expect("hyper reads it").body, body);
            assert_eq!(call.result.response, ResetResponse::NoResponse, "{}", headers.escape_ascii());
        }
    }
}

#[test]
fn an_error_whose_body_cannot_be_read_as_a_whole_proves_nothing() {
    for value in [&b"1e999"[..], br#""\ud800""#, b"\"\xff\"", br#"[{"a":1e999}]"#] {
        let body = [br#"{"__type":"UserNotFoundException","more":"#, value, b"}"].concat();
        let call = wire::reset(&[b"HTTP/1.1 400 Bad Request\r\n\r\n", &*body].concat());
        assert_eq!(call.seen.expect("hyper reads it").body, body);
        assert_eq!(call.result.response, ResetResponse::NoResponse, "{}", body.escape_ascii());
    }
}

#[test]
fn a_response_is_read_up_to_its_limit_and_no_further() {
    let of_length = |length: usize| {
        let (start, end) = (r#"{"__type":"UserNotFoundException","message":""#, r#""}"#);
        format!("{start}{}{end}", "a".repeat(length - start.len() - end.len()))
    };
    assert_eq!(reset("400 Bad Request", "", &of_length(MAX_RESPONSE)), refusal());
    assert_eq!(reset("400 Bad Request", "", &of_length(MAX_RESPONSE + 1)), ResetResponse::NoResponse);
}

#[test]
fn a_request_id_is_kept_unless_it_repeats_the_user_name() {
    let longest = "a".repeat(64);
    let longer = format!("{longest}a");
    for (id, kept) in [
        ("0a1b2c3d-0000-4000-8000-00000000000F", true),
        (&longest, true),
        (&longer, false),
        ("id-of-AliceSmith-1", false),
        ("alice_smith", false),
        ("two words", false),
        ("a/b", false),
        ("", false),
    ] {
        for (status, body) in [("200 OK", "{}"), ("400 Bad Request", REFUSAL)] {
            let reply = wire::reset(format!("HTTP/1.1 {status}\r\nx-amzn-requestid: {id}\r\n\r\n{body}").as_bytes());
            assert_eq!(reply.result.request_id.as_deref(), kept.then_some(id), "{status}");
        }
    }
}

#[test]
fn an_unknown_code_is_kept_unless_it_repeats_the_user_name() {
    let responded = |code: &str| reset("400 Bad Request", "", &format!(r#"{{"__type":"{code}"}}"#));
    let code = |code: &str| ResetResponse::Exception(Code::parse(code).expect("a code"));
    assert_eq!(responded("BrandNewException"), code("BrandNewException"));
    assert_eq!(responded("NoAliceSmithException"), code("Withheld"));
}

/// Returns the port's reading of this body as a response to a read of the user.
fn user(body: &str) -> Result<User, String> {
    wire::user(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).result.map_err(|error| error.to_string())
}

#[test]
fn each_state_of_a_user_is_read_as_what_it_is() {
    for (name, status) in [
        ("UNCONFIRMED", UserStatus::Unconfirmed),
        ("CONFIRMED", UserStatus::Confirmed),
        ("ARCHIVED", UserStatus::Archived),
        ("COMPROMISED", UserStatus::Compromised),
        ("UNKNOWN", UserStatus::Unknown),
        ("RESET_REQUIRED", UserStatus::ResetRequired),
        ("FORCE_CHANGE_PASSWORD", UserStatus::ForceChangePassword),
        ("EXTERNAL_PROVIDER", UserStatus::ExternalProvider),
        ("BRAND_NEW", UserStatus::Unknown),
    ] {
        let read = user(&format!(r#"{{"Username":"alice-smith","UserStatus":"{name}"}}"#)).map(|user| user.status);
        assert_eq!(read, Ok(status), "{name}");
    }
    assert!(user(r#"{"Username":"alice-smith"}"#).is_err(), "no state");
}

#[test]
fn of_a_users_attributes_the_sub_alone_is_read() {
    let with = |attributes: &str| {
        let body = format!(r#"{{"Username":"a","UserStatus":"CONFIRMED","UserAttributes":[{attributes}]}}"#);
        user(&body).map(|user| user.names.sub)
    };
    let attribute = |name: &str, value: &str| format!(r#"{{"Name":"{name}","Value":"{value}"}}"#);
    let (email, sub) = (attribute("email", "a@example.com"), attribute("sub", "0000-a"));
    assert_eq!(with(&format!("{email},{sub}")), Ok(Some("0000-a".into())));
    assert_eq!(with(&email), Ok(None));
    assert_eq!(with(&attribute("sub", "no identifier")), Ok(None));
}

#[test]
fn a_failed_read_is_reported_by_a_code_without_the_user_name() {
    let responded = |code: &str| {
        let body = format!(r#"{{"__type":"{code}"}}"#);
        let reply = format!("HTTP/1.1 400 Bad Request\r\n\r\n{body}");
        wire::user(reply.as_bytes()).result.expect_err("a refusal").to_string()
    };
    assert!(responded("UserNotFoundException").contains("UserNotFoundException"));
    assert!(!responded("NoAliceSmithException").contains("AliceSmith"));
}

#[test]
fn a_call_that_no_endpoint_can_be_made_for_was_not_sent() {
    let call = wire::reset_in("no region", b"HTTP/1.1 200 OK\r\n\r\n{}");
    assert_eq!((call.result.response, call.requests), (ResetResponse::NotSent(FailureCause::Request), 0));
}

#[test]
fn only_what_found_no_connection_was_not_sent() {
    // The socket keeps the port, and does not listen.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let nobody = socket.local_addr().expect("a port");
    assert_eq!(wire::reset_at(&format!("http://{nobody}")).response, ResetResponse::NotSent(FailureCause::Refused));
    assert_eq!(wire::reset(b"").result.response, ResetResponse::NoResponse, "hung up on");
}
