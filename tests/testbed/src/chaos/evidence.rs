//! The requests that passed the proxies, by user: calls on their way to Cognito, and claims that
//! the API server stored.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::Value;

use super::judge::{Call, Claim, Effect, Fate, Reported};
use crate::Recorded;

/// The knowledge about one user, who belongs to one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) calls: Vec<Call>,
    pub(super) claims: Vec<(Duration, Claim)>,
    /// The same as text for people, with the sender and the fault that met it.
    pub(super) story: Vec<String>,
}

/// All of the evidence.
#[derive(Debug)]
pub(super) struct Evidence {
    start: Instant,
    users: HashMap<String, Heard>,
    /// The user of each record, by the record's name.
    records: HashMap<String, String>,
    collected: Collected,
}

/// The number of objects that the operator has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) requests: usize,
    pub(super) records: usize,
}

impl Evidence {
    pub(super) fn since(start: Instant) -> Self {
        Self { start, users: HashMap::new(), records: HashMap::new(), collected: Collected::default() }
    }

    pub(super) fn of(&self, user: &str) -> Heard {
        let mut heard = self.users.get(user).cloned().unwrap_or_default();
        heard.story.sort();
        heard
    }

    /// Notes a request of the past that the replica `who` sent.
    pub(super) fn hear(&mut self, who: &str, passed: &Recorded) {
        if passed.seen.operation() == Some("AdminResetUserPassword") {
            self.call(who, passed);
        } else if [Method::PUT, Method::POST].contains(&passed.seen.method) {
            self.write(who, passed);
        } else if passed.seen.method == Method::DELETE {
            self.collect(who, passed);
        }
    }

    pub(super) fn collected(&self) -> Collected {
        self.collected
    }

    fn note(&mut self, user: String, who: &str, passed: &Recorded, what: &str) -> (&mut Heard, Duration) {
        let at = passed.at.saturating_duration_since(self.start);
        let response = passed.status.map_or("no response".to_owned(), |status| status.as_u16().to_string());
        let fault = passed.fault.as_deref().map(|fault| format!(", met by {fault:.120}")).unwrap_or_default();
        let heard = self.users.entry(user).or_default();
        heard.story.push(format!("{:>9.3} s  {who}: {what}, response {response}{fault}", at.as_secs_f64()));
        (heard, at)
    }

    fn call(&mut self, who: &str, passed: &Recorded) {
        let Some((_, user)) = passed.seen.user() else { return };
        let fate = match (passed.forwarded, passed.status) {
            (false, _) => Fate::NotForwarded,
            (true, Some(status)) if status.is_success() => Fate::Accepted,
            (true, Some(_)) => Fate::Refused,
            (true, None) => Fate::Unseen,
        };
        let (heard, at) = self.note(user, who, passed, &format!("AdminResetUserPassword ({fate:?})"));
        heard.calls.push(Call { at, fate });
    }

    /// Counts a deleted object. A request has its user's name.
    fn collect(&mut self, who: &str, passed: &Recorded) {
        let path = passed.seen.path.split('?').next().unwrap_or_default();
        let Some((kind, name)) = path.rsplit_once('/') else { return };
        let deleted = usize::from(passed.status.is_some_and(|status| status.is_success()));
        if kind.ends_with("/passwordresetrequests") {
            self.collected.requests += deleted;
            self.note(name.to_owned(), who, passed, "deletes the request");
        } else if kind.ends_with("/passwordresetrecords") {
            self.collected.records += deleted;
            if let Some(user) = self.records.get(name).cloned() {
                self.note(user, who, passed, "deletes the record");
            }
        }
    }

    fn write(&mut self, who: &str, passed: &Recorded) {
        let path = &passed.seen.path;
        let body = passed.seen.json();
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (user, what, claim) = if path.contains("/passwordresetrecords") {
            let effect = Effect::of(&body);
            let attempt = body["attempts"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
            let what = format!(
                "record, attempt {}: {}",
                attempt["id"].as_str().unwrap_or_default(),
                match (effect, body["closed"]["cause"].as_str()) {
                    (None, _) => "claim".to_owned(),
                    (Some(effect), None) => format!("{effect:?}, {}", attempt["evidence"]),
                    (Some(effect), Some(cause)) => format!("{effect:?}, closed as {cause}"),
                },
            );
            self.records.insert(text("/metadata/name"), text("/username"));
            (text("/username"), what, effect.map(Claim::Effect))
        } else if path.contains("/passwordresetrequests/") && path.contains("/status") {
            let reported = Reported::of(&body);
            let what = format!("status {}/{}, invalidated {}", reported.outcome, reported.reason, reported.invalidated);
            (text("/spec/username"), what, Some(Claim::Status(reported)))
        } else {
            return;
        };
        let stored = passed.status.is_some_and(|status| status.is_success());
        let (heard, at) = self.note(user, who, passed, &what);
        if let Some(claim) = claim.filter(|_| stored) {
            heard.claims.push((at, claim));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::Seen;

    fn passed(method: Method, path: &str, body: &Value, status: Option<u16>) -> Recorded {
        let mut headers = HeaderMap::new();
        if path == "/" {
            let target = "AWSCognitoIdentityProviderService.AdminResetUserPassword";
            headers.insert("x-amz-target", HeaderValue::from_static(target));
        }
        Recorded {
            seen: Seen { method, path: path.into(), headers, body: body.to_string().into() },
            at: Instant::now(),
            fault: None,
            forwarded: true,
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
        }
    }

    fn heard(passed: &Recorded) -> Heard {
        let mut evidence = Evidence::since(Instant::now());
        evidence.hear("replica", passed);
        evidence.of("alice")
    }

    #[test]
    fn a_call_counts_by_the_response_that_cognito_sent() {
        let call = |status| passed(Method::POST, "/", &json!({ "UserPoolId": "p", "Username": "alice" }), status);
        for (status, fate) in [(Some(200), Fate::Accepted), (Some(400), Fate::Refused), (None, Fate::Unseen)] {
            assert_eq!(heard(&call(status)).calls.first().map(|call| call.fate), Some(fate));
        }
        let held = Recorded { forwarded: false, ..call(None) };
        assert_eq!(heard(&held).calls.first().map(|call| call.fate), Some(Fate::NotForwarded));
    }

    #[test]
    fn what_is_deleted_is_counted_once_it_is_gone() {
        let mut evidence = Evidence::since(Instant::now());
        let record = json!({ "metadata": { "name": "r2-a" }, "username": "alice", "attempts": [{ "id": "a" }] });
        let delete = |path, status| passed(Method::DELETE, path, &json!({}), Some(status));
        evidence.hear("replica", &passed(Method::POST, "/passwordresetrecords", &record, Some(201)));
        for (path, status) in [
            ("/namespaces/default/passwordresetrequests/alice?", 409),
            ("/namespaces/default/passwordresetrequests/alice?", 200),
            ("/passwordresetrecords/r2-a?", 200),
        ] {
            evidence.hear("replica", &delete(path, status));
        }
        assert_eq!(evidence.collected(), Collected { requests: 1, records: 1 });
        assert_eq!(evidence.of("alice").story.len(), 4, "the claim and three deletions");
    }

    #[test]
    fn a_claim_counts_once_the_api_server_has_stored_it() {
        let record = json!({ "username": "alice", "effect": "NotPerformed", "attempts": [{ "id": "a" }] });
        let open = json!({ "username": "alice", "attempts": [{ "id": "a" }] });
        let status = json!({ "spec": { "username": "alice" }, "status": { "outcome": "Failed" } });
        let (records, requests) = ("/passwordresetrecords", "/namespaces/default/passwordresetrequests/alice/status");
        let not_performed = Claim::Effect(Effect::NotPerformed);
        let failed = Claim::Status(Reported { outcome: "Failed".into(), ..Reported::default() });
        let cases = [
            (passed(Method::PUT, records, &record, Some(200)), Some(not_performed.clone())),
            (passed(Method::POST, records, &record, Some(201)), Some(not_performed)),
            (passed(Method::PUT, records, &record, Some(409)), None),
            (passed(Method::PUT, records, &record, None), None),
            (passed(Method::POST, records, &open, Some(201)), None),
            (passed(Method::PUT, requests, &status, Some(200)), Some(failed)),
        ];
        for (passed, claim) in cases {
            let heard = heard(&passed);
            assert_eq!(heard.claims.into_iter().map(|(_, claim)| claim).next(), claim, "{:?}", passed.seen);
            assert_eq!(heard.story.len(), 1);
        }
    }
}
