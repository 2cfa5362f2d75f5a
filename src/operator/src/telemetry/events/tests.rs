use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::*;
use crate::telemetry::exposition::Format;

/// An API server that responds to each Event by its number, and collects the notes.
fn api_server(
    take: impl Fn(usize) -> StatusCode + Clone + Send + 'static,
) -> (Client, mpsc::UnboundedReceiver<(StatusCode, String)>) {
    let (sender, received) = mpsc::unbounded_channel();
    let number = Arc::new(AtomicUsize::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (take, sender, number) = (take.clone(), sender.clone(), number.fetch_add(1, Ordering::SeqCst));
        async move {
            let sent = request.into_body().collect_bytes().await?;
            let status = take(number);
            let event: serde_json::Value = serde_json::from_slice(&sent)?;
            sender.send((status, event["note"].as_str().unwrap_or_default().to_owned()))?;
            let body = if status.is_success() { sent.to_vec() } else { refusal(status).to_string().into_bytes() };
            Ok::<_, tower::BoxError>(Response::builder().status(status).body(Body::from(body))?)
        }
    });
    (Client::new(service, "default"), received)
}

fn refusal(status: StatusCode) -> serde_json::Value {
    let message = "events.events.k8s.io \"a\" is forbidden: ValidatingAdmissionPolicy 'no-events' with binding 'b' denied request: x";
    serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "reason": "Invalid", "message": message })
}

fn text(metrics: &ProcessMetrics) -> String {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    Format::OpenMetrics.write(&registry).unwrap()
}

fn regarding(name: &str) -> ObjectReference {
    ObjectReference {
        name: Some(name.into()),
        namespace: Some("default".into()),
        uid: Some(name.into()),
        ..ObjectReference::default()
    }
}

#[tokio::test]
async fn an_event_that_panics_ends_itself_alone() {
    let take = |number| {
        assert!(number > 0, "the first one panics");
        StatusCode::CREATED
    };
    let (client, mut received) = api_server(take);
    let metrics = ProcessMetrics::default();
    let (events, publishing) = Events::new(client, "test".into(), metrics.clone());
    tokio::spawn(publishing);
    for name in ["first", "second"] {
        events.warning(regarding(name), "WriteRefused", name, "Claim");
    }
    let second = timeout(Duration::from_secs(60), received.recv()).await.unwrap();
    assert_eq!(second, Some((StatusCode::CREATED, "second".into())));
    let text = text(&metrics);
    assert!(text.contains("events_dropped_total 1"), "{text}");
}

#[tokio::test]
async fn refused_event_is_counted_by_refuser_and_stops_no_later_one() {
    let take = |number| if number < 2 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CREATED };
    let (client, mut received) = api_server(take);
    let metrics = ProcessMetrics::default();
    let (events, publishing) = Events::new(client, "test".into(), metrics.clone());
    tokio::spawn(publishing);
    let long = "c".repeat(250);
    for name in ["a", &long, "last"] {
        events.warning(regarding(name), "WriteRefused", "a note", "Claim");
        timeout(Duration::from_secs(60), received.recv()).await.unwrap();
    }
    let text = text(&metrics);
    for counted in ["writes_refused_total{object=\"event\",by=\"policy\"} 2", "events_dropped_total 2"] {
        assert!(text.contains(counted), "{counted}: {text}");
    }
}

#[test]
fn every_note_is_cut_to_what_the_api_server_takes() {
    let (warnings, mut urgent) = mpsc::channel(QUEUE);
    let events = Events { normal: warnings.clone(), warnings, metrics: ProcessMetrics::default() };
    let object = ObjectReference::default;
    for (note, length) in [
        ("a".repeat(1024), 1024),
        ("a".repeat(1025), 1024),
        ("\u{e9}".repeat(513), 1024),
        (format!("a{}", "\u{e9}".repeat(512)), 1023),
        (String::new(), 0),
    ] {
        events.normal(object(), "ResetAccepted", &note, "Reset");
        events.warning(object(), "WriteRefused", &note, "UpdateStatus");
        for _ in 0..2 {
            let (event, _) = urgent.try_recv().unwrap();
            let said = event.note.unwrap();
            assert!(note.starts_with(&said) && said.len() == length, "{}: {said}", event.reason);
        }
    }
}
