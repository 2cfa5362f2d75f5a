//! TLS in front of a server that does not use it, with a certificate of a private authority.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::pki::{NAME, Pki};

/// Terminates TLS on 127.0.0.1, and passes everything on to a server. It ends when dropped.
#[derive(Debug)]
pub struct TlsFront {
    url: String,
    authority: PathBuf,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl TlsFront {
    /// Starts it before the server at `upstream`, `http://127.0.0.1:PORT`.
    ///
    /// # Errors
    /// When no certificate can be made or no port be had.
    pub async fn start(upstream: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("tls-").tempdir().context("no temporary directory")?;
        let pki = Pki::create(directory.path())?;
        let certificates = CertificateDer::pem_file_iter(&pki.serving_certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&pki.serving_key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = upstream.strip_prefix("http://").context("the server has to speak without TLS")?.to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                // A client that does not trust the certificate ends its connection here, as it
                // should.
                tokio::spawn(async move {
                    if let (Ok(mut near), Ok(mut far)) =
                        (acceptor.accept(stream).await, TcpStream::connect(address).await)
                    {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Ok(Self { url, authority: pki.ca, task, _directory: directory })
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host of [`named_url`](Self::named_url). It is in the certificate and in no DNS but a
    /// test's own.
    pub const HOST: &'static str = NAME;

    /// `https://HOST:PORT`.
    #[must_use]
    pub fn named_url(&self) -> String {
        self.url.replace("127.0.0.1", Self::HOST)
    }

    /// A file with the certificate of the authority, in PEM.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
