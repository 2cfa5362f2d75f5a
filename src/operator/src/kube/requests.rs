//! Measures the requests to the Kubernetes API server.

use std::{
    fmt::Write,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, Uri};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;
use tower::{Layer, Service};

/// The upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The kind of a request, as the API server's own metrics name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    resource: String,
    code: Code,
}

/// The status code of a response; `None` if there was no response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Code(Option<u16>);

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self.0 {
            Some(code) => write!(encoder, "{code}"),
            None => encoder.write_str("none"),
        }
    }
}

/// The durations of requests, until the headers of the response, by verb, resource and status code,
/// and the time of the last response.
#[derive(Clone, Debug)]
pub struct ApiRequests {
    durations: Family<Labels, Histogram>,
    /// The time of the last response of any status, or else of the start.
    responded: Arc<Mutex<Instant>>,
}

impl Default for ApiRequests {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            responded: Arc::new(Mutex::new(Instant::now())),
        }
    }
}

impl ApiRequests {
    /// Registers the histogram.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Duration of requests to the API server until the headers of the response, by verb, resource and status code (none without a response)";
        registry.register("api_request_duration_seconds", help, self.durations.clone());
    }

    /// Returns the time since the API server last responded, or since the start if it never has. In
    /// operation some request is sent every few seconds: a leader renews the Lease, a standby reads
    /// it, and without a Lease grants are confirmed.
    #[must_use]
    pub(crate) fn since_response(&self) -> Duration {
        self.responded.lock().elapsed()
    }

    /// Measures one request.
    #[cfg(test)]
    pub(crate) fn count_one(&self) {
        self.observe(("get", "version".to_owned()), Some(200), Instant::now());
    }

    fn observe(&self, (verb, resource): (&'static str, String), code: Option<u16>, begun: Instant) {
        let labels = Labels { verb, resource, code: Code(code) };
        self.durations.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
        if code.is_some() {
            *self.responded.lock() = Instant::now();
        }
    }
}

impl<S> Layer<S> for ApiRequests {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, requests: self.clone() }
    }
}

/// A service whose requests are measured.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    inner: S,
    requests: ApiRequests,
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (kind, begun, requests) = (kind(request.method(), request.uri()), Instant::now(), self.requests.clone());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            requests.observe(kind, response.as_ref().ok().map(|it| it.status().as_u16()), begun);
            response
        })
    }
}

/// Returns verb and resource of a request, without any name. A subresource follows after a slash.
fn kind(method: &Method, uri: &Uri) -> (&'static str, String) {
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
    // After the group and the version. A path that belongs to no group is its own resource.
    let resource = match parts.next() {
        Some("api") => parts.nth(1),
        Some("apis") => parts.nth(2),
        other => return (verb(method, uri, true), other.unwrap_or_default().to_owned()),
    };
    let mut rest: Vec<_> = resource.into_iter().chain(parts).collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let mut rest = rest.into_iter();
    let resource = rest.next().unwrap_or_default();
    let has_name = rest.next().is_some();
    let resource = rest.next().map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
    (verb(method, uri, has_name), resource)
}

fn verb(method: &Method, uri: &Uri, has_name: bool) -> &'static str {
    let watches = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    match *method {
        Method::GET if watches => "watch",
        Method::GET if has_name => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_the_api_server_names_it() {
        let group = "/apis/cognito-reset.dev/v1alpha1";
        for (method, path, wanted) in [
            (Method::GET, "/version".to_owned(), ("get", "version")),
            (Method::GET, "/api/v1/namespaces?limit=500".into(), ("list", "namespaces")),
            (Method::GET, "/api/v1/namespaces/support".into(), ("get", "namespaces")),
            (Method::GET, "/api/v1/namespaces?limit=1&watch=true".into(), ("watch", "namespaces")),
            (Method::GET, format!("{group}/userpoolgrants?"), ("list", "userpoolgrants")),
            (Method::POST, format!("{group}/passwordresetrecords?"), ("create", "passwordresetrecords")),
            (Method::PUT, format!("{group}/passwordresetrecords/r2-0?"), ("update", "passwordresetrecords")),
            (
                Method::PUT,
                format!("{group}/namespaces/support/passwordresetrequests/alice/status?"),
                ("update", "passwordresetrequests/status"),
            ),
            (
                Method::GET,
                format!("{group}/namespaces/support/passwordresetrequests/alice"),
                ("get", "passwordresetrequests"),
            ),
            (
                Method::POST,
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".into(),
                ("create", "selfsubjectaccessreviews"),
            ),
            (Method::DELETE, format!("{group}/passwordresetrecords/r2-0"), ("delete", "passwordresetrecords")),
            (Method::GET, "/apis/cognito-reset.dev".into(), ("list", "")),
        ] {
            let (verb, resource) = kind(&method, &path.parse().unwrap());
            assert_eq!((verb, resource.as_str()), wanted, "{method} {path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_response_ends_the_silence_of_the_api_server() {
        let requests = ApiRequests::default();
        let second = Duration::from_secs(1);
        for (code, silence) in [(None, 1), (None, 2), (Some(200), 0), (None, 1), (Some(403), 0), (Some(503), 0)] {
            tokio::time::advance(second).await;
            requests.observe(("get", "leases".into()), code, Instant::now());
            assert_eq!(requests.since_response(), second * silence, "{code:?}");
        }
    }

    #[tokio::test]
    async fn a_request_is_counted_with_its_status_code_or_none() {
        let requests = ApiRequests::default();
        let mut registry = Registry::default();
        requests.register(&mut registry);
        let server = tower::service_fn(|request: Request<()>| async move {
            match request.uri().path() {
                "/livez" => Ok(Response::builder().status(503).body(()).unwrap()),
                _ => Err(()),
            }
        });
        for path in ["/livez", "/readyz"] {
            let request = Request::get(path).body(()).unwrap();
            let _ = tower::ServiceExt::oneshot(requests.layer(server), request).await;
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (resource, code) in [("livez", "503"), ("readyz", "none")] {
            let series =
                format!("api_request_duration_seconds_count{{verb=\"get\",resource=\"{resource}\",code=\"{code}\"}} 1");
            assert!(text.contains(&series), "{text}");
        }
    }
}
