//! The proxy injects the faults that a test asks for, and its journal is true. The other side is a
//! small server that counts.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use testbed::{Fault, FaultProxy, Matcher, Reply, ResetCount, eventually};
use tokio::{net::TcpListener, task::spawn_blocking};

const LIMIT: Duration = Duration::from_secs(10);
const RESET: &str = "AdminResetUserPassword";

/// A server that responds to `/watch` with two events and a pause that never ends, and to
/// everything else with 26 letters.
struct Upstream {
    url: String,
    arrived: Arc<AtomicUsize>,
}

impl Upstream {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let arrived = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&arrived);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    count.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(reply(request.uri().path())) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { url, arrived })
    }

    fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn reply(path: &str) -> Response<Body> {
    if path == "/watch" {
        let events = stream::iter(["first\n", "second\n"]).chain(stream::pending());
        let frames = events.map(|event| Ok(Frame::data(Bytes::from(event))));
        return Response::new(BodyExt::boxed(StreamBody::new(frames)));
    }
    Response::new(http_body_util::Full::new(Bytes::from("abcdefghijklmnopqrstuvwxyz")).boxed())
}

/// Sends a request as bytes, so that nothing is repeated or repaired on the way, and returns all
/// that comes back.
fn raw(proxy: &FaultProxy, request: String) -> tokio::task::JoinHandle<std::io::Result<String>> {
    let address = proxy.url().trim_start_matches("http://").to_owned();
    spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        Ok(String::from_utf8_lossy(&response).into_owned())
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
}

fn reset(username: &str) -> String {
    let body = format!(r#"{{"UserPoolId":"eu-west-1_a","Username":"{username}"}}"#);
    format!(
        "POST / HTTP/1.1\r\nhost: here\r\nconnection: close\r\nx-amz-target: AWSCognitoIdentityProviderService.{RESET}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn setup() -> Result<(Upstream, FaultProxy)> {
    let upstream = Upstream::start().await?;
    let proxy = FaultProxy::start(&upstream.url, None).await?;
    Ok((upstream, proxy))
}

#[tokio::test]
async fn without_a_rule_all_passes_and_resets_are_counted_by_user() -> Result<()> {
    let (upstream, proxy) = setup().await?;
    assert!(raw(&proxy, get("/x?y=z")).await??.ends_with("wxyz"));
    raw(&proxy, reset("zoë")).await??;
    raw(&proxy, reset("zoë")).await??;
    let rule = proxy.once(Matcher::reset_of("ann"), Fault::Respond(Reply::aws_error(400, "TooManyRequestsException")));
    let response = raw(&proxy, reset("ann")).await??;
    assert!(response.starts_with("HTTP/1.1 400") && response.contains("TooManyRequestsException"), "{response}");
    assert_eq!(rule.hits(), 1);
    assert_eq!(proxy.resets_of("eu-west-1_a", "zoë"), ResetCount { received: 2, forwarded: 2, accepted: 2 });
    assert_eq!(proxy.resets_of("eu-west-1_a", "ann"), ResetCount { received: 1, forwarded: 0, accepted: 0 });
    assert_eq!(proxy.requests()[0].seen.path, "/x?y=z");
    assert_eq!(proxy.operation(RESET).len(), 3);
    assert_eq!(upstream.arrived(), 3);
    proxy.forget();
    assert!(proxy.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_reply_that_is_lost_belongs_to_a_request_that_arrived() -> Result<()> {
    let (upstream, proxy) = setup().await?;
    proxy.once(Matcher::operation(RESET), Fault::ForwardThenLose);
    assert_eq!(raw(&proxy, reset("ann")).await??, "");
    assert_eq!(upstream.arrived(), 1);
    assert_eq!(proxy.resets_of("eu-west-1_a", "ann").accepted, 1);

    proxy.once(Matcher::operation(RESET), Fault::LoseBefore);
    assert_eq!(raw(&proxy, reset("bob")).await??, "");
    assert_eq!(upstream.arrived(), 1);
    assert!(!proxy.requests()[1].forwarded);
    Ok(())
}

#[tokio::test]
async fn replies_are_replaced_cut_or_turned_into_garbage() -> Result<()> {
    let (upstream, proxy) = setup().await?;
    proxy.once(Matcher::any(), Fault::ForwardThenRespond(Reply::new(500, "oops").header("x-made", "up")));
    let response = raw(&proxy, get("/")).await??;
    assert!(
        response.starts_with("HTTP/1.1 500") && response.contains("x-made: up") && response.ends_with("oops"),
        "{response}"
    );
    proxy.once(Matcher::any(), Fault::Truncate);
    let response = raw(&proxy, get("/")).await??;
    assert!(response.contains("content-length: 26\r\n") && response.ends_with("\r\n\r\nabcdefghijklm"), "{response}");
    proxy.once(Matcher::any(), Fault::Garbage(Bytes::from_static(b"\x01\x02no HTTP")));
    assert_eq!(raw(&proxy, get("/")).await??, "\u{1}\u{2}no HTTP");
    assert_eq!(upstream.arrived(), 2);
    Ok(())
}

#[tokio::test]
async fn a_held_request_waits_and_a_held_reply_has_arrived() -> Result<()> {
    let (upstream, proxy) = setup().await?;
    let rule = proxy.once(Matcher::any(), Fault::Hold);
    let call = raw(&proxy, get("/"));
    let held = rule.held(LIMIT).await?;
    assert_eq!((upstream.arrived(), call.is_finished()), (0, false));
    held.release();
    assert!(call.await??.ends_with("wxyz"));

    let rule = proxy.once(Matcher::any(), Fault::HoldReply);
    let call = raw(&proxy, get("/"));
    let held = rule.held(LIMIT).await?;
    assert_eq!((upstream.arrived(), call.is_finished()), (2, false));
    held.lose();
    assert_eq!(call.await??, "");
    Ok(())
}

#[tokio::test]
async fn a_held_request_of_a_lost_sender_never_arrives() -> Result<()> {
    let (upstream, proxy) = setup().await?;
    let address = proxy.url().trim_start_matches("http://").to_owned();
    let rule = proxy.once(Matcher::any(), Fault::Hold);
    let mut sender = TcpStream::connect(&address)?;
    sender.write_all(get("/").as_bytes())?;
    let held = rule.held(LIMIT).await?;
    drop(sender);
    held.abandoned(LIMIT).await?;
    assert_eq!(upstream.arrived(), 0);

    let rule = proxy.once(Matcher::any(), Fault::Late(Duration::from_millis(100)));
    let mut sender = TcpStream::connect(&address)?;
    sender.write_all(get("/").as_bytes())?;
    eventually(LIMIT, "the request to be met", async || (rule.hits() == 1).then_some(())).await?;
    drop(sender);
    eventually(LIMIT, "the late call", async || (upstream.arrived() == 1).then_some(())).await
}

#[tokio::test]
async fn streams_pass_while_they_are_open() -> Result<()> {
    let (_upstream, proxy) = setup().await?;
    let address = proxy.url().trim_start_matches("http://").to_owned();
    let text = spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(get("/watch").as_bytes())?;
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.contains("second") {
            let length = stream.read(&mut buffer)?;
            anyhow::ensure!(length > 0, "the stream ended: {text}");
            text.push_str(&String::from_utf8_lossy(buffer.get(..length).context("a short buffer")?));
        }
        Ok(text)
    });
    assert!(text.await??.contains("first"));
    assert_eq!(proxy.requests()[0].seen.method, Method::GET);
    Ok(())
}

#[tokio::test]
async fn a_stream_is_cut_frozen_or_late() -> Result<()> {
    let (_upstream, proxy) = setup().await?;
    let watch = || Matcher::path(Method::GET, "/watch");
    proxy.once(watch(), Fault::Cut(Duration::ZERO));
    // The reply ends, though the other side never ends it.
    raw(&proxy, get("/watch")).await??;
    let address = proxy.url().trim_start_matches("http://").to_owned();
    let begin = async |patience: Duration| {
        let address = address.clone();
        spawn_blocking(move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(get("/watch").as_bytes())?;
            let (mut seen, mut part) = (String::new(), [0; 1024]);
            while !seen.contains("second") {
                match stream.read(&mut part) {
                    Ok(0) => break,
                    Ok(length) => seen.push_str(&String::from_utf8_lossy(&part[..length])),
                    Err(_) => return Ok((seen, true)),
                }
            }
            std::io::Result::Ok((seen, false))
        })
        .await?
        .map_err(anyhow::Error::from)
    };
    proxy.once(watch(), Fault::Freeze(Duration::ZERO));
    let (seen, silent) = begin(Duration::from_millis(300)).await?;
    assert!(silent && !seen.contains("second"), "{seen}");
    proxy.once(watch(), Fault::Lag(Duration::from_millis(100)));
    let begun = std::time::Instant::now();
    let (seen, silent) = begin(LIMIT).await?;
    assert!(!silent && seen.contains("second"), "{seen}");
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_reserved_or_closed_port_refuses_until_it_is_opened() -> Result<()> {
    let upstream = Upstream::start().await?;
    let proxy = FaultProxy::reserve(&upstream.url, None)?;
    let refused =
        |outcome: std::io::Result<String>| outcome.unwrap_err().kind() == std::io::ErrorKind::ConnectionRefused;
    assert!(refused(raw(&proxy, get("/")).await?));
    proxy.open().await?;
    assert!(raw(&proxy, get("/")).await??.ends_with("wxyz"));
    proxy.close().await;
    assert!(refused(raw(&proxy, get("/")).await?));
    proxy.open().await?;
    assert!(raw(&proxy, get("/")).await??.ends_with("wxyz"));
    assert_eq!(upstream.arrived(), 2);
    Ok(())
}

#[tokio::test]
async fn waiting_in_vain_says_what_for_and_what_was_seen() {
    let problem = eventually(Duration::from_millis(120), "the moon", async || Err::<(), _>("only clouds")).await;
    let problem = problem.unwrap_err().to_string();
    assert!(problem.contains("the moon") && problem.contains("only clouds"), "{problem}");
}
