//! The calls of `AdminResetUserPassword` in log files of CloudTrail.
//!
//! The format is built from AWS's documentation, and was not tried with a real trail: a file is a
//! JSON object with the array `Records`, one event for each call. The fields of an event are those
//! of the pages `cloudtrail-event-reference-record-contents.html` and
//! `cloudtrail-event-reference-user-identity.html` in
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/>. An event of Amazon Cognito has
//! the user's `sub` in `additionalEventData` and hides the user name, by the page
//! `logging-using-cloudtrail.html` in
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/>.

use std::{fmt, io::BufRead};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::failure::Failure;

/// The name of the event.
const EVENT: &str = "AdminResetUserPassword";
/// The first bytes of a file that gzip has compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A call, as CloudTrail logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The time of the call, by the clock of AWS.
    pub time: Timestamp,
    /// The id of the event, which a copy of it has as well.
    pub event_id: Option<String>,
    /// The AWS request id.
    pub request_id: Option<String>,
    /// The user pool.
    pub pool: Option<String>,
    /// The `sub` of the user.
    pub sub: Option<String>,
    /// The ARN of the caller.
    pub caller: Option<String>,
    /// The code of the error; `None` if the call succeeded.
    pub error: Option<String>,
}

impl Call {
    /// Returns the uid of the request in the name of the caller's session.
    #[must_use]
    pub fn request_uid(&self) -> Option<&str> {
        let caller = self.caller.as_deref()?;
        if !caller.contains(":assumed-role/") {
            return None;
        }
        caller.rsplit('/').next()?.strip_prefix("prr-")
    }
}

/// Reads the calls of a file. Only they are kept.
///
/// # Errors
/// When the file is not a log file of CloudTrail. The message names it with the line or event.
pub fn read(name: &str, mut input: impl BufRead) -> Result<Vec<Call>, Failure> {
    let wrong = |reason: String| Failure::usage(format!("{name}: {reason}"));
    let start = input.fill_buf().map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    if start.starts_with(&GZIP) {
        return Err(wrong(format!("it is compressed: run `gunzip -k {name}`, and pass the file that this writes")));
    }
    let log: Result<Log, _> = serde_json::from_reader(input);
    let log = log.map_err(|error| {
        wrong(format!(
            "this is no log file of CloudTrail: {error}; pass the files that CloudTrail delivers to S3 (.json.gz), after gunzip: the output of `aws cloudtrail lookup-events` is not one of them"
        ))
    })?;
    Ok(log.0)
}

/// The calls of a file.
struct Log(Vec<Call>);

impl<'de> Deserialize<'de> for Log {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LogVisitor)
    }
}

struct LogVisitor;

impl<'de> Visitor<'de> for LogVisitor {
    type Value = Log;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the array Records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Log, A::Error> {
        let mut log = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "Records" {
                log = Some(Log(map.next_value::<Calls>()?.0));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        log.ok_or_else(|| A::Error::missing_field("Records"))
    }
}

/// The calls of an array of events.
struct Calls(Vec<Call>);

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CallsVisitor)
    }
}

struct CallsVisitor;

impl<'de> Visitor<'de> for CallsVisitor {
    type Value = Calls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<Calls, A::Error> {
        let (mut calls, mut number) = (Vec::new(), 0_usize);
        while let Some(event) = events.next_element::<Value>()? {
            match call(&event) {
                Ok(call) => calls.extend(call),
                Err(reason) => return Err(A::Error::custom(format!("Records[{number}]: {reason}"))),
            }
            number += 1;
        }
        Ok(Calls(calls))
    }
}

/// Returns the call of an event; `None` for another event.
fn call(event: &Value) -> Result<Option<Call>, String> {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    match text("/eventName") {
        Some(EVENT) => {}
        Some(_) => return Ok(None),
        None => return Err("it has no eventName".to_owned()),
    }
    let time = text("/eventTime").ok_or("it has no eventTime")?;
    let owned = |path: &str| text(path).map(str::to_owned);
    Ok(Some(Call {
        time: time.parse().map_err(|_| format!("its eventTime is no time: {time:?}"))?,
        event_id: owned("/eventID"),
        request_id: owned("/requestID"),
        pool: owned("/requestParameters/userPoolId"),
        sub: owned("/additionalEventData/sub"),
        caller: owned("/userIdentity/arn"),
        error: owned("/errorCode"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_calls_of_a_file_are_kept() {
        let log = json!({"Other": [1], "Records": [
            {"eventName": "Decrypt", "eventTime": 5, "requestParameters": "odd"},
            {"eventName": EVENT, "eventTime": "2030-01-01T10:00:01Z", "requestID": "aws-a", "eventID": "e-1",
             "errorCode": "",
             "requestParameters": {"userPoolId": "eu-west-1_Example01", "username": "HIDDEN_DUE_TO_SECURITY_REASONS"},
             "additionalEventData": {"sub": "sub-1"}, "responseElements": null,
             "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/resets/prr-uid-1"}},
            {"eventName": EVENT, "eventTime": "2030-01-01T10:00:02Z", "errorCode": "UserNotFoundException",
             "userIdentity": {"arn": "arn:aws:iam::1:user/prr-uid-1"}},
        ]});
        let calls = read("a.json", log.to_string().as_bytes()).unwrap();
        let [first, second] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!((first.request_id.as_deref(), first.pool.as_deref()), (Some("aws-a"), Some("eu-west-1_Example01")));
        assert_eq!((first.event_id.as_deref(), &second.event_id), (Some("e-1"), &None));
        assert_eq!((first.sub.as_deref(), first.request_uid(), &first.error), (Some("sub-1"), Some("uid-1"), &None));
        assert_eq!(second.error.as_deref(), Some("UserNotFoundException"));
        assert_eq!((second.request_uid(), &second.request_id), (None, &None));
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line_or_event() {
        for (text, wanted) in [
            (&b"{\"Records\": [\n{\"eventName\" \"x\"}]}"[..], "line 2"),
            (b"{\"Records\": [{\"eventName\": \"x\"}", "line 1"),
            (b"{\"Events\": []}", "Records"),
            (
                b"{\"Events\": []}",
                "delivers to S3 (.json.gz), after gunzip: the output of `aws cloudtrail lookup-events` is not",
            ),
            (b"[]", "Records"),
            (b"", "line 1"),
            (b"{\"Records\": 5}", "array of events"),
            (b"{\"Records\": [{\"eventName\": \"x\"}, {}]}", "Records[1]: it has no eventName"),
            (b"{\"Records\": [{\"eventName\": \"AdminResetUserPassword\"}]}", "Records[0]: it has no eventTime"),
            (b"{\"Records\": [{\"eventName\": \"AdminResetUserPassword\", \"eventTime\": \"now\"}]}", "is no time"),
            (b"\x1f\x8b\x08", "gunzip -k a.json"),
        ] {
            let error = read("a.json", text).unwrap_err();
            assert_eq!(error.exit, crate::exit::Exit::Usage);
            assert!(error.message.starts_with("a.json: ") && error.message.contains(wanted), "{error} has no {wanted}");
        }
    }
}
