//! The HTTP client of the testbed: for readiness, for the emulator and for the proxy's way out.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A client for http and, when it was given an authority to trust, https. Every request has a
/// connection of its own: no request is ever sent twice because a pooled connection had died.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(ca_pem: Option<&str>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
            roots.add(certificate.context("the authority is not PEM")?)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        // Otherwise a body waits 40 ms for the acknowledgement of its head.
        http.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let connector = builder.wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request; the response's body still streams.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.0.request(request).await
    }

    /// Sends a request and reads the whole response, within 10 s.
    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let uri = request.uri().clone();
        let exchange = async {
            let (head, body) = self.send(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .with_context(|| format!("no response from {uri} within 10 s"))?
            .with_context(|| format!("no response from {uri}"))
    }

    /// Returns true if the response to a GET has the status 200.
    pub(crate) async fn is_ok(&self, url: &str, bearer: Option<&str>) -> bool {
        let mut request = Request::get(url);
        if let Some(token) = bearer {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let Ok(request) = request.body(Full::default()) else { return false };
        self.exchange(request).await.is_ok_and(|response| response.status().is_success())
    }
}
