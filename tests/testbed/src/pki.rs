//! The keys and certificates of a control plane, for its one life.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A name that only a server of a test resolves.
pub(crate) const NAME: &str = "server.testbed.test";

/// Files the API server is started with.
#[derive(Debug)]
pub(crate) struct Pki {
    /// The authority that clients trust.
    pub(crate) ca_pem: String,
    /// The same, as a file.
    pub(crate) ca: PathBuf,
    pub(crate) serving_certificate: PathBuf,
    pub(crate) serving_key: PathBuf,
    /// Signs service account tokens.
    pub(crate) token_key: PathBuf,
    /// Verifies them.
    pub(crate) token_public_key: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        authority.distinguished_name.push(DnType::CommonName, "testbed authority");
        let ca_pem = authority.self_signed(&authority_key)?.pem();

        let serving_key = KeyPair::generate()?;
        let mut serving = CertificateParams::new(["localhost", NAME].map(str::to_owned))?;
        serving.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        serving.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let authority = Issuer::new(authority, authority_key);
        let serving_certificate = serving.signed_by(&serving_key, &authority)?.pem();

        let token_key = KeyPair::generate()?;
        let write = |name, text| write(directory, name, text);
        Ok(Self {
            ca: write("ca.crt", ca_pem.clone())?,
            serving_certificate: write("serving.crt", serving_certificate)?,
            serving_key: write("serving.key", serving_key.serialize_pem())?,
            token_key: write("tokens.key", token_key.serialize_pem())?,
            token_public_key: write("tokens.pub", token_key.public_key_pem())?,
            ca_pem,
            authority,
        })
    }

    /// The files of a certificate and its key, by which a client is the user of this name.
    pub(crate) fn client(&self, directory: &Path, username: &str) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, username);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = client.signed_by(&key, &self.authority)?.pem();
        Ok((
            write(directory, &format!("{username}.crt"), certificate)?,
            write(directory, &format!("{username}.key"), key.serialize_pem())?,
        ))
    }
}

fn write(directory: &Path, name: &str, text: String) -> Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}
