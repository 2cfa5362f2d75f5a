use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::IntoResponse,
};
use cognito_reset_core::{
    grants::{ListedKind, Versions},
    refusal::Refuser,
    watched_namespaces::WatchedNamespaces,
};
use tokio::{sync::watch, time::advance};

use super::{ApiRequests, Checks, Duration, Health, bind_everywhere, exposition};
use crate::{controllers::grant::shared::SharedGrants, kube::lease::Leadership};

const FRESH_FOR: Duration = Duration::from_secs(60);

fn confirm(grants: &SharedGrants) {
    for kind in [ListedKind::Grant, ListedKind::Hold] {
        let sent = grants.now();
        assert!(grants.update(|index| index.compare(kind, &Versions::new(), sent)));
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_says_what_is_not_done_yet() {
    let health = Health::new(Arc::default(), ApiRequests::default(), Duration::MAX);
    let (leads, leadership) = watch::channel(Leadership::NoLeaderSeen);
    let (refuses, lease_refuser) = watch::channel(None);
    let expect = |status: u16, text: &str| {
        let (seen, why) = health.readiness();
        assert!(seen.as_u16() == status && why.contains(text), "{status} {text}: {seen} {why}");
    };
    expect(503, "checking that the cluster has what it needs");
    health.reading();
    expect(503, "not read yet");
    let grants = Arc::new(SharedGrants::new(
        FRESH_FOR,
        cognito_reset_api::UserStateSource::AdminGetUser,
        WatchedNamespaces::All,
    ));
    confirm(&grants);
    let asked = Arc::clone(&grants);
    let checks =
        Checks { are_grants_confirmed: Arc::new(move || asked.is_confirming()), holds_effects: Arc::new(|| false) };
    health.serving(leadership, lease_refuser, checks);
    for (leadership, status) in [(Leadership::NoLeaderSeen, 503), (Leadership::Standby, 200), (Leadership::Leader, 200)]
    {
        leads.send_replace(leadership);
        expect(status, leadership.as_str());
    }
    refuses.send_replace(Some(Refuser::ValidatingPolicy("owner-label".into())));
    expect(200, "leader\n");
    advance(FRESH_FOR).await;
    expect(200, "leader\n");
    advance(Duration::from_secs(1)).await;
    expect(503, "the grants and holds are not confirmed");
    confirm(&grants);
    expect(200, "leader\n");
    advance(FRESH_FOR * 2).await;
    leads.send_replace(Leadership::Standby);
    expect(200, "standby");
    leads.send_replace(Leadership::NoLeaderSeen);
    expect(503, "no-leader-seen: the write of the Lease was rejected by the ValidatingAdmissionPolicy owner-label\n");
    health.stopping();
    expect(503, "stopping");
}

#[tokio::test(start_paused = true)]
async fn liveness_ends_with_the_responses_of_the_api_server() {
    let api = ApiRequests::default();
    let health = Health::new(Arc::default(), api.clone(), Duration::from_secs(300));
    for (seconds, status) in [(300, 200), (1, 503), (59, 503)] {
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(health.liveness().0.as_u16(), status, "after {seconds} s");
    }
    assert_eq!(health.liveness().1, "not alive: no response from the API server for 360 s\n");
    let (_, leadership) = watch::channel(Leadership::Leader);
    let (_, lease_refuser) = watch::channel(None);
    let holds = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&holds);
    let checks = Checks {
        are_grants_confirmed: Arc::new(|| true),
        holds_effects: Arc::new(move || asked.load(Ordering::SeqCst)),
    };
    health.serving(leadership, lease_refuser, checks);
    assert_eq!(health.liveness().0.as_u16(), 200, "an effect is known to this process alone");
    advance(Duration::from_secs(3600 - 360)).await;
    assert_eq!(health.liveness().0.as_u16(), 200);
    advance(Duration::from_secs(1)).await;
    assert_eq!(health.liveness().0.as_u16(), 503, "it cannot be stored any more");
    holds.store(false, Ordering::SeqCst);
    assert_eq!(health.liveness().0.as_u16(), 503);
    api.count_one();
    assert_eq!(health.liveness().0.as_u16(), 200);
}

#[test]
fn without_ipv6_ipv4_is_bound_and_other_errors_are_returned() {
    let both = ["[::]:8080", "0.0.0.0:8080"];
    for (code, tried) in [
        (None, &both[..1]),
        (Some(libc::EAFNOSUPPORT), &both[..]),
        (Some(libc::EADDRNOTAVAIL), &both[..]),
        (Some(libc::EADDRINUSE), &both[..1]),
        (Some(libc::EACCES), &both[..1]),
    ] {
        let seen = RefCell::new(Vec::new());
        let bound = bind_everywhere(8080, |address: SocketAddr| {
            seen.borrow_mut().push(address.to_string());
            code.filter(|_| address.is_ipv6()).map_or(Ok(address), |code| Err(io::Error::from_raw_os_error(code)))
        });
        assert_eq!(*seen.borrow(), tried, "{code:?}");
        match bound {
            Ok(address) => assert_eq!(address.to_string(), tried[tried.len() - 1]),
            Err(error) => assert_eq!(error.raw_os_error(), code),
        }
    }
}

#[tokio::test]
async fn metrics_have_the_format_that_accept_asks_for() {
    let health = Health::new(Arc::default(), ApiRequests::default(), Duration::MAX);
    for (accept, type_) in [
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        let response = exposition(State(health.clone()), headers).await.into_response();
        let of = |name| response.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(response.status().as_u16(), 200, "{accept}");
        assert_eq!(of(header::CONTENT_TYPE), Some(type_.as_bytes()), "{accept}");
        assert_eq!(of(header::VARY), Some(&b"Accept"[..]), "{accept}");
    }
}
