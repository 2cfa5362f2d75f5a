//! An HTTP reply, through hyper and the SDK to the operator's reading of it, and on to record and
//! status.

use arbitrary::Arbitrary;
use cognito_reset_api::{Effect, Exception};
use cognito_reset_core::{
    action::{
        port::ReadError,
        response::{Class, Code as Parsed, MAX_CODE, ResetResponse},
    },
    ledger::Settlement,
    machine::{
        decide::{Step, decide},
        state::{OwnAttempt, State},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    codes::{Code, PROOFS},
    edits::{ByteEdit, apply_bytes},
    records,
    wire::{self, Seen},
};

/// The parts of a reply.
#[derive(Clone, Debug, Arbitrary)]
pub struct Reply(Shape);

#[derive(Clone, Debug, Arbitrary)]
enum Shape {
    /// Near those of Cognito.
    Built {
        status: Status,
        headers: Vec<Header>,
        body: Body,
        /// True if a header gives the body's length; otherwise the body ends with the connection.
        length: bool,
        edits: Vec<ByteEdit>,
    },
    /// Anything.
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, Arbitrary)]
enum Status {
    Common(u8),
    Any(u16),
}

const COMMON: [u16; 12] = [200, 400, 400, 400, 500, 201, 204, 206, 307, 403, 502, 503];

#[derive(Clone, Debug, Arbitrary)]
enum Header {
    ErrorType(Name),
    RequestId(String),
    Chunked,
    Length(u16),
    Any(Vec<u8>, Vec<u8>),
}

#[derive(Clone, Debug, Arbitrary)]
enum Body {
    Empty,
    Object(Vec<Member>),
    ObjectAnd(Vec<Member>, Vec<u8>),
    Page(Code),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, Arbitrary)]
enum Member {
    Type(Name),
    Code(Name),
    Message(String),
    Upper(Code),
    Nested(Name),
    Number(String, i64),
    User(u8),
    Any(String, String),
}

/// A code and its spelling on the wire.
#[derive(Clone, Debug, Arbitrary)]
struct Name {
    namespace: Option<bool>,
    code: Code,
    url: bool,
}

impl Name {
    fn text(&self) -> String {
        let namespace = match self.namespace {
            None => "",
            Some(true) => "com.amazonaws.cognito.identity.idp.model#",
            Some(false) => "#",
        };
        let url = if self.url { ":http://internal.amazon.com/coral/com.amazon.coral.service/" } else { "" };
        format!("{namespace}{}{url}", self.code.text())
    }
}

impl Member {
    fn text(&self) -> String {
        let (key, value) = match self {
            Self::Type(name) => ("__type", json!(name.text())),
            Self::Code(name) => ("code", json!(name.text())),
            Self::Message(text) => ("message", json!(text)),
            Self::Upper(code) => ("Message", json!(code.text())),
            Self::Nested(name) => ("error", json!({ "__type": name.text(), "code": [name.text()] })),
            Self::Number(key, number) => (key.as_str(), json!(number)),
            Self::User(number) => {
                let known = ["CONFIRMED", "RESET_REQUIRED", "UNKNOWN", "BRAND_NEW"];
                ("UserStatus", json!(known[usize::from(*number) % known.len()]))
            }
            Self::Any(key, text) => (key.as_str(), json!(text)),
        };
        format!("{}:{value}", json!(key))
    }
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        let object =
            |members: &[Member]| format!("{{{}}}", members.iter().map(Member::text).collect::<Vec<_>>().join(","));
        match self {
            Self::Empty => Vec::new(),
            Self::Object(members) => object(members).into(),
            Self::ObjectAnd(members, more) => [object(members).as_bytes(), more].concat(),
            Self::Page(code) => format!("<html>{}</html>", code.text()).into(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let line = |name: &str, value: &[u8]| [name.as_bytes(), b": ", value, b"\r\n"].concat();
        match self {
            Self::ErrorType(name) => line("x-amzn-errortype", name.text().as_bytes()),
            Self::RequestId(text) => line("x-amzn-requestid", text.as_bytes()),
            Self::Chunked => line("transfer-encoding", b"chunked"),
            Self::Length(length) => line("content-length", length.to_string().as_bytes()),
            Self::Any(name, value) => [name, &b": "[..], value, b"\r\n"].concat(),
        }
    }
}

impl Shape {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Built { status, headers, body, length, edits } => {
                let status = match status {
                    Status::Common(number) => COMMON[usize::from(*number) % COMMON.len()],
                    Status::Any(number) => 100 + number % 900,
                };
                let body = body.bytes();
                let mut bytes = format!("HTTP/1.1 {status} So\r\n").into_bytes();
                headers.iter().for_each(|header| bytes.extend(header.bytes()));
                if *length {
                    bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
                }
                bytes.extend(b"\r\n");
                bytes.extend(body);
                apply_bytes(&mut bytes, edits);
                bytes
            }
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// Checks what holds for every reply.
pub fn check(reply: &Reply) {
    let bytes = reply.0.bytes();
    let call = wire::reset(&bytes);
    assert_eq!(call.requests, 1, "one call is one HTTP request");
    let response = &call.result.response;
    match &call.seen {
        None => assert_eq!(*response, ResetResponse::NoResponse, "nothing that is not read proves anything"),
        Some(seen) => check_response(seen, response),
    }
    assert!(call.result.request_id.as_deref().is_none_or(is_identifier), "{:?}", call.result.request_id);
    records::check_reported(settled(response), response.code().map(Parsed::as_str), call.result.request_id);
    check_user(&bytes);
}

fn check_response(seen: &Seen, response: &ResetResponse) {
    let accepted = seen.status == 200 && is_nothing(&seen.body);
    assert_eq!(*response == ResetResponse::Accepted, accepted, "{seen:?} is {response:?}");
    assert!(!matches!(response, ResetResponse::NotSent(_)), "it was sent");
    let Some(names) = names(seen) else {
        assert_eq!(accepted, *response != ResetResponse::NoResponse, "unreadable: {seen:?} is {response:?}");
        return;
    };
    if let Some((first, others)) = names.split_first()
        && others.iter().any(|name| bare(name) != bare(first))
        && !accepted
    {
        assert_eq!(*response, ResetResponse::NoResponse, "names two errors: {names:?}");
    }
    match response {
        ResetResponse::Exception(Parsed::Known(exception)) => {
            let named = names.iter().any(|name| Exception::from_code(bare(name)) == Some(*exception));
            assert!(named, "{names:?} is {exception:?}");
        }
        ResetResponse::Exception(Parsed::Unrecognized(code)) => {
            assert!(names.iter().any(|name| kept(bare(name)) == *code), "{names:?} is {code}");
        }
        ResetResponse::Accepted | ResetResponse::NotSent(_) | ResetResponse::NoResponse => {}
    }
    if response.code().is_some_and(|code| PROOFS.contains(&code.as_str())) {
        let throttled = response.class() == Some(Class::Throttled);
        assert!((400..if throttled { 600 } else { 500 }).contains(&seen.status), "proven by {seen:?}");
    }
    // The operator reads a single name in an error, if it is text, so that no refusal is unclear.
    if let [name] = names.as_slice()
        && !name.contains(char::REPLACEMENT_CHARACTER)
        && (400..500).contains(&seen.status)
    {
        let wanted = Parsed::parse(bare(name)).map_or(ResetResponse::NoResponse, ResetResponse::Exception);
        assert_eq!(*response, wanted, "{seen:?}");
    }
}

/// Returns true for the body that Cognito sends with a success: an empty body, or an empty object.
fn is_nothing(body: &[u8]) -> bool {
    body.is_empty() || serde_json::from_slice::<Value>(body).is_ok_and(|value| value == json!({}))
}

/// Returns every text in a reply that names its error, in the places of the protocol; `None` if the
/// body cannot be read.
fn names(seen: &Seen) -> Option<Vec<String>> {
    let headers = seen.headers.get_all("x-amzn-errortype").into_iter();
    let mut names: Vec<_> = headers.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    if !seen.body.is_empty() {
        let members: Members = serde_json::from_slice(&seen.body).ok()?;
        let naming = members.0.into_iter().filter(|(key, _)| key == "__type" || key == "code");
        names.extend(naming.map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    Some(names)
}

/// The members of an object, those of the same name too.
struct Members(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Returns a name without the namespace before and the URL after it.
fn bare(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or_default();
    name.split_once('#').map_or(name, |(_, name)| name)
}

fn kept(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(MAX_CODE).collect()
}

/// Returns the decision on a response after which no probe shows anything.
fn settled(response: &ResetResponse) -> Settlement {
    let mut state = State::unknown(0);
    state.attempt = OwnAttempt::Called(response.clone());
    let Step::Settle(settlement) = decide(&state, Timestamp::UNIX_EPOCH) else { panic!("{response:?}") };
    let proof = response.code().is_some_and(|code| PROOFS.contains(&code.as_str()));
    let wanted = match response {
        ResetResponse::Accepted => Effect::Performed,
        _ if proof => Effect::NotPerformed,
        _ => Effect::Unknown,
    };
    assert_eq!(settlement.effect, wanted, "{response:?}");
    assert!(!proof || !matches!(response.class(), None | Some(Class::Ambiguous | Class::AmbiguousFailure)));
    settlement
}

/// Checks the same reply to a read of the user: a reply that is not Cognito's response gives no
/// state.
fn check_user(bytes: &[u8]) {
    let call = wire::user(bytes);
    let ended_early = matches!(call.result, Err(ReadError::Connection(_)));
    assert_eq!(call.requests, if ended_early { 2 } else { 1 }, "only a read whose connection fails is repeated, once");
    match call.result {
        Ok(user) => {
            let seen = call.seen.expect("read out of nothing");
            assert_eq!(seen.status, 200, "{seen:?}");
            let members: Members = serde_json::from_slice(&seen.body).expect("read out of what is no object");
            assert!(members.0.iter().any(|(key, value)| key == "UserStatus" && value.is_string()), "{seen:?}");
            assert!(user.names.sub.as_deref().is_none_or(is_identifier), "{user:?}");
        }
        Err(unreadable) => {
            let text = unreadable.to_string();
            assert!(text.len() < 128 && text.chars().all(|it| it == ' ' || it.is_ascii_graphic()), "{text}");
        }
    }
}

fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
}
