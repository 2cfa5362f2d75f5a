//! Lists with every kind of result, and the filters that are sent.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use cognito_reset_api::UserStatus;
use cognito_reset_core::action::port::{Access, Cognito, Purpose};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::client::Timeouts;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
const SUB: &str = "0b0cb8d4-5a3f-4a53-a0e6-3a8e1a6b0c11";

/// The status and the body of a response; `None` if the connection is lost.
type Response = Option<(u16, Value)>;

/// A Cognito that gives these responses one after the other.
#[derive(Clone, Debug)]
struct Replies {
    replies: Arc<Mutex<Vec<Response>>>,
    /// The bodies of the requests so far.
    seen: Arc<Mutex<Vec<Value>>>,
}

impl HttpConnector for Replies {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().map(|bytes| serde_json::from_slice(bytes).unwrap());
        self.seen.lock().extend(body);
        let reply = self.replies.lock().remove(0);
        HttpConnectorFuture::new(async move {
            let (status, body) = reply.ok_or_else(|| ConnectorError::io("closed while idle".into()))?;
            let response = http::Response::builder().status(status).body(SdkBody::from(body.to_string())).unwrap();
            Ok(response.try_into().unwrap())
        })
    }
}

/// Finds a user of this name. Returns the result, and the filters that were sent.
async fn find(name: &str, replies: Vec<Response>) -> (Result<User, ReadError>, Vec<String>) {
    let connector = Replies { replies: Arc::new(Mutex::new(replies)), seen: Arc::default() };
    let shared = SharedHttpConnector::new(connector.clone());
    let client = http_client_fn(move |_, _| shared.clone());
    let loader = move || {
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            .empty_test_environment()
            .region(Region::new("eu-west-1"))
            .http_client(client.clone())
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
    };
    let timeouts = Timeouts { connect: TIMEOUT, call: TIMEOUT, read: TIMEOUT };
    let aws = Aws::load(loader, timeouts).await.unwrap();
    let purpose = Purpose::Reset { namespace: "team".into(), name: "reset".into(), uid: "uid".into() };
    let access = Access { region: "eu-west-1".into(), role: None, purpose };
    let session = aws.session(&access).await.unwrap();
    let found = aws.listed_user(&session, UserRef { pool: "eu-west-1_Example01", username: name }).await;
    let seen = connector.seen.lock().clone();
    let filters = seen.iter().map(|body| {
        assert_eq!((&body["Limit"], &body["UserPoolId"]), (&json!(2), &json!("eu-west-1_Example01")), "{body}");
        body["Filter"].as_str().unwrap().to_owned()
    });
    (found, filters.collect())
}

fn user(username: &str, email: &str) -> Value {
    user_with(username, email, "true")
}

fn user_with(username: &str, email: &str, verified: &str) -> Value {
    let attributes = [("sub", SUB), ("email", email), ("email_verified", verified)];
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
    json!({ "Username": username, "UserStatus": "CONFIRMED", "Enabled": true, "Attributes": attributes })
}

fn users(users: &[Value]) -> Response {
    Some((200, json!({ "Users": users })))
}

fn by_username(name: &str) -> String {
    format!("username = \"{name}\"")
}

#[tokio::test]
async fn user_is_found_by_the_form_of_the_name() {
    let (nobody, email) = (users(&[]), "a@example.com");
    for (case, name, replies, filters) in [
        ("the user name", "alice", vec![users(&[user("alice", email)])], vec![by_username("alice")]),
        ("a user name of the form of a sub", SUB, vec![users(&[user(SUB, email)])], vec![by_username(SUB)]),
        (
            "the sub",
            SUB,
            vec![nobody.clone(), users(&[user("alice", email)])],
            vec![by_username(SUB), format!("sub = \"{SUB}\"")],
        ),
        (
            "the address",
            email,
            vec![nobody.clone(), users(&[user("alice", email)])],
            vec![by_username(email), format!("email = \"{email}\"")],
        ),
        (
            "the address that the user signs in by, before it is verified",
            email,
            vec![nobody.clone(), users(&[user_with(SUB, email, "false")])],
            vec![by_username(email), format!("email = \"{email}\"")],
        ),
        ("after a lost connection", "alice", vec![None, users(&[user("alice", email)])], vec![by_username("alice"); 2]),
    ] {
        let (found, sent) = find(name, replies).await;
        let found = found.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!((found.status, found.names.sub.as_deref()), (UserStatus::Confirmed, Some(SUB)), "{case}");
        assert_eq!(found.names.email.as_deref(), Some(email), "{case}");
        assert_eq!(sent, filters, "{case}");
    }
}

#[tokio::test]
async fn user_who_is_not_certain_is_not_found() {
    let email = "a@example.com";
    let refused = |code: &str| Some((400, json!({ "__type": code })));
    let connection = ReadError::Connection(cognito_reset_api::FailureCause::Network);
    let two = users(&[user("one", email), user("two", email)]);
    let more = Some((200, json!({ "Users": [user("alice", email)], "PaginationToken": "more" })));
    let later = Some((200, json!({ "Users": [], "PaginationToken": "more" })));
    let stateless = users(&[json!({ "Username": "alice" })]);
    for (case, name, replies, wanted, calls) in [
        ("nobody", "alice", vec![users(&[])], ReadError::NotListed, 1),
        ("nobody by either filter", email, vec![users(&[]), users(&[])], ReadError::NotListed, 2),
        ("another case", "Alice", vec![users(&[user("alice", email)])], ReadError::NotListed, 1),
        ("another address", email, vec![users(&[]), users(&[user("alice", "A@example.com")])], ReadError::NotListed, 2),
        (
            "an address that anybody can claim",
            email,
            vec![users(&[]), users(&[user_with("alice", email, "false")])],
            ReadError::NotListed,
            2,
        ),
        ("maybe on a later page", email, vec![later], ReadError::NotListed, 1),
        ("several", email, vec![users(&[]), two.clone()], ReadError::SeveralListed, 2),
        ("several of one user name", "one", vec![two], ReadError::SeveralListed, 1),
        ("maybe several", email, vec![users(&[]), more], ReadError::SeveralListed, 2),
        ("without a state", "alice", vec![stateless], ReadError::NoResponse, 1),
        ("lost twice", "alice", vec![None, None], connection.clone(), 2),
        ("no call is left for the second filter", email, vec![None, users(&[])], connection, 2),
    ] {
        let (found, sent) = find(name, replies).await;
        assert_eq!((found.unwrap_err(), sent.len()), (wanted, calls), "{case}");
    }
    let (found, sent) = find(email, vec![refused("AccessDeniedException")]).await;
    let error = found.unwrap_err();
    assert_eq!((error.word(), sent.len()), ("AccessDeniedException", 1), "no further call after an exception");
}

#[test]
fn no_name_leaves_its_quotes_in_a_filter() {
    for (name, filter) in [
        ("alice", r#"username = "alice""#),
        (r#"a"b"#, r#"username = "a\"b""#),
        (r"a\b", r#"username = "a\\b""#),
        (r#"\"#, r#"username = "\\""#),
        (r#"\""#, r#"username = "\\\"""#),
        (r#"x"_or_username_^=_""#, r#"username = "x\"_or_username_^=_\"""#),
        (r#"";drop"#, r#"username = "\";drop""#),
        ("jörg-ß", r#"username = "jörg-ß""#),
    ] {
        assert_eq!(Filter::Username.text(name), filter);
        // Read as a quoted text, it is the name again.
        let quoted = filter.strip_prefix("username = ").unwrap();
        assert_eq!(serde_json::from_str::<String>(quoted).unwrap(), name);
    }
}

#[test]
fn second_filter_follows_from_the_form_of_the_name() {
    for (name, second) in [
        ("alice", None),
        ("a@example.com", Some(Filter::Email)),
        ("@", Some(Filter::Email)),
        (SUB, Some(Filter::Sub)),
        ("0B0CB8D4-5A3F-4A53-A0E6-3A8E1A6B0C11", None),
        ("0b0cb8d45a3f4a53a0e63a8e1a6b0c11", None),
        ("{0b0cb8d4-5a3f-4a53-a0e6-3a8e1a6b0c11}", None),
        ("+441234567", None),
    ] {
        let filters: Vec<_> = Filter::of(name).collect();
        let wanted: Vec<_> = std::iter::once(Filter::Username).chain(second).collect();
        assert_eq!(filters, wanted, "{name}");
    }
}
