//! Responses of an API server, and what they confirm.

use cognito_reset_api::{UserStateSource, conditions::WaitReason};
use cognito_reset_core::watched_namespaces::WatchedNamespaces;
use http::{Request, Response, header};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::telemetry::metrics::ProcessMetrics;

const FRESH_FOR: Duration = Duration::from_secs(5);
const DATE: &str = "Tue, 24 Nov 2026 21:55:58 GMT";
const POOL: &str = "eu-west-1_Example01";

/// The kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// The metadata of all objects of a kind.
    Metadata,
    /// All objects of a kind.
    Objects,
    /// A namespace.
    Namespace,
}

/// An API server without grants and holds, with a labelled namespace.
#[derive(Clone, Default)]
struct Server {
    /// The reads so far.
    reads: Arc<Mutex<Vec<Read>>>,
    /// The reads whose responses are changed, and the change.
    broken: Arc<Mutex<Option<(Read, Broken)>>>,
}

/// A change of a response.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// A cache has stored it.
    Cached,
    /// It has no Date.
    Undated,
    /// It is an error.
    Refused,
}

impl Server {
    fn respond(&self, request: &Request<Body>) -> Response<Body> {
        let accepts = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let (read, body) = if request.uri().path().contains("/namespaces/") {
            (Read::Namespace, json!({ "metadata": { "name": "support", "uid": "n", "labels": { "a": "b" } } }))
        } else if accepts.contains("PartialObjectMetadataList") {
            (Read::Metadata, list("meta.k8s.io/v1", "PartialObjectMetadataList"))
        } else {
            (Read::Objects, list("cognito-reset.dev/v1alpha1", "List"))
        };
        self.reads.lock().push(read);
        let broken = self.broken.lock().filter(|(of, _)| *of == read).map(|(_, broken)| broken);
        let response = match broken {
            None => Response::builder().header(header::DATE, DATE),
            Some(Broken::Cached) => Response::builder().header(header::DATE, DATE).header(header::AGE, "0"),
            Some(Broken::Undated) => Response::builder(),
            Some(Broken::Refused) => Response::builder().header(header::DATE, DATE).status(403),
        };
        response.body(Body::from(serde_json::to_vec(&body).unwrap())).unwrap()
    }

    fn confirmation(&self) -> Confirmation {
        let server = self.clone();
        let respond = move |request: Request<Body>| {
            let response = server.respond(&request);
            async move { Ok::<_, std::io::Error>(response) }
        };
        let client = Client::new(tower::service_fn(respond), "default");
        let grants = SharedGrants::new(FRESH_FOR, UserStateSource::AdminGetUser, WatchedNamespaces::All);
        Confirmation::new(client, Metrics::new(ProcessMetrics::default()), grants)
    }

    fn breaks(&self, read: Read, broken: Option<Broken>) {
        *self.broken.lock() = broken.map(|broken| (read, broken));
    }

    fn count(&self, read: Read) -> usize {
        self.reads.lock().iter().filter(|other| **other == read).count()
    }
}

fn list(version: &str, kind: &str) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "resourceVersion": "7" }, "items": [] })
}

fn grant(spec: Value) -> UserPoolGrant {
    let mut all = json!({ "userPoolID": POOL });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    UserPoolGrant::new("labelled", serde_json::from_value(all).unwrap())
}

fn request() -> PasswordResetRequest {
    let spec = json!({ "userPoolID": POOL, "username": "alice" });
    let mut request = PasswordResetRequest::new("reset", serde_json::from_value(spec).unwrap());
    request.metadata.namespace = Some("support".into());
    request
}

/// Confirms grants and holds, for requests of namespaces with a label.
async fn labelled(server: &Server) -> Confirmation {
    let confirmation = server.confirmation();
    assert!(confirmation.confirm_grants().await.unwrap() && confirmation.confirm_holds().await.unwrap());
    let grant = grant(json!({ "namespaceSelector": { "matchLabels": { "a": "b" } } }));
    confirmation.grants.update(|index| index.put_grant(grant));
    confirmation
}

#[tokio::test]
async fn response_that_may_be_of_a_cache_confirms_nothing() {
    for broken in [Broken::Cached, Broken::Undated] {
        let server = Server::default();
        let confirmation = server.confirmation();
        server.breaks(Read::Metadata, Some(broken));
        assert!(confirmation.confirm_grants().await.is_err(), "{broken:?}");
        assert!(confirmation.confirm_holds().await.is_err(), "{broken:?}");
        server.breaks(Read::Metadata, None);
        assert!(confirmation.confirm_grants().await.unwrap() && confirmation.confirm_holds().await.unwrap());
        assert!(confirmation.grants.is_confirmed());
        // An object that the list lacks.
        let metadata = grant(json!({})).metadata;
        for kind in [ListedKind::Grant, ListedKind::Hold] {
            confirmation.grants.update(|index| index.deliver(kind, &metadata, |_| true));
        }
        server.breaks(Read::Objects, Some(broken));
        assert!(confirmation.confirm_grants().await.is_err(), "{broken:?}");
        assert!(confirmation.confirm_holds().await.is_err(), "{broken:?}");
        server.breaks(Read::Objects, None);
        assert!(!confirmation.grants.is_confirmed(), "{broken:?}");
        assert!(!confirmation.confirm_grants().await.unwrap() && !confirmation.confirm_holds().await.unwrap());
        assert!(confirmation.grants.is_confirmed());
    }
}

#[tokio::test]
async fn namespace_that_may_be_of_a_cache_is_not_confirmed() {
    for (broken, wanted) in [(None, true), (Some(Broken::Cached), false), (Some(Broken::Undated), false)] {
        let server = Server::default();
        let confirmation = labelled(&server).await;
        server.breaks(Read::Namespace, broken);
        let evaluation = confirmation.evaluate(&request(), &KnownUser::NotRead).await;
        assert_eq!((evaluation.confirmed, evaluation.authorization.is_ok()), (wanted, wanted), "{broken:?}");
    }
}

#[tokio::test]
async fn failed_read_of_a_namespace_is_made_once_for_all_requests() {
    let server = Server::default();
    let confirmation = labelled(&server).await;
    server.breaks(Read::Namespace, Some(Broken::Refused));
    for _ in 0..10 {
        let evaluation = confirmation.evaluate(&request(), &KnownUser::NotRead).await;
        assert_eq!((evaluation.confirmed, evaluation.authorization), (false, Err(WaitReason::NoMatchingGrant)));
    }
    assert_eq!(server.count(Read::Namespace), 1);
}
