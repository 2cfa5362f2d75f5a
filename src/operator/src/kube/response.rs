//! Reads responses of the API server with the server's time, which kube's own methods do not
//! return.

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Limited};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use kube::{Client, client::Body, core::Status};

/// The maximum size of a body, in bytes. The objects that etcd accepts cannot exceed it, nor can a
/// page of the lists that are read this way.
const MAX_BODY: usize = 32 << 20;

/// A successful response.
pub(crate) struct Response {
    /// The API server's time, if the response has one.
    pub(crate) server_time: Option<Timestamp>,
    /// The body.
    pub(crate) body: Bytes,
}

/// Sends a request, and returns the response if it is a success.
///
/// # Errors
/// Returns an error if there is no complete response, or if it is not a success.
pub(crate) async fn send(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Response> {
    let response = client.send(request.map(Body::from)).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(kube::Error::Service)?.to_bytes();
    if head.status.is_success() {
        return Ok(Response { server_time: server_time(&head.headers), body });
    }
    let failure: Option<Status> = serde_json::from_slice(&body).ok();
    let failure = failure.unwrap_or_else(|| Status::failure("", "NotAStatus").with_code(head.status.as_u16()));
    Err(kube::Error::Api(failure.boxed()))
}

/// Returns the API server's time from the headers of its response; `None` without exactly one Date,
/// or if a cache has stored the response.
fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let mut dates = headers.get_all(header::DATE).iter();
    match (dates.next(), dates.next(), headers.get(header::AGE)) {
        (Some(date), None, None) => DateTimeParser::new().parse_timestamp(date.to_str().ok()?).ok(),
        (Some(_), _, _) | (None, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response as HttpResponse};

    use super::*;

    #[test]
    fn server_time_needs_exactly_one_date_of_an_uncached_response() {
        let date = |text: &'static str| (header::DATE, HeaderValue::from_static(text));
        let good = date("Tue, 24 Nov 2026 21:55:58 GMT");
        let age = (header::AGE, HeaderValue::from_static("0"));
        let seen = Some(Timestamp::constant(1_795_557_358, 0));
        for (name, headers, wanted) in [
            ("one", vec![good.clone()], seen),
            ("none", vec![], None),
            ("two", vec![good.clone(), good.clone()], None),
            ("of a cache", vec![good, age], None),
            ("no date", vec![date("now")], None),
            ("a part", vec![date("Tue, 24 Nov 2026")], None),
            ("another weekday", vec![date("Wed, 24 Nov 2026 21:55:58 GMT")], None),
        ] {
            let mut map = HeaderMap::new();
            for (key, value) in headers {
                map.append(key, value);
            }
            assert_eq!(server_time(&map), wanted, "{name}");
        }
    }

    /// Returns a client of a server that returns this response to every request.
    fn client(status: u16, body: &'static str) -> Client {
        let date = "Tue, 24 Nov 2026 21:55:58 GMT";
        let respond = move |_: Request<Body>| async move {
            let response = HttpResponse::builder().status(status).header(header::DATE, date);
            response.body(Body::from(body.as_bytes().to_vec()))
        };
        Client::new(tower::service_fn(respond), "default")
    }

    #[tokio::test]
    async fn a_response_comes_with_the_time_of_its_server() {
        let request = || Request::get("/apis").body(Vec::new()).unwrap();
        let Response { server_time, body } = send(&client(200, "{}"), request()).await.unwrap();
        assert_eq!((server_time, &body[..]), (Some(Timestamp::constant(1_795_557_358, 0)), &b"{}"[..]));
        let gone = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound"}"#;
        for (status, body, reason) in [(404, gone, "NotFound"), (503, "busy", "NotAStatus")] {
            let Err(kube::Error::Api(failure)) = send(&client(status, body), request()).await else {
                panic!("{status} is a success")
            };
            assert_eq!((failure.code, failure.reason.as_str()), (status, reason));
        }
    }
}
