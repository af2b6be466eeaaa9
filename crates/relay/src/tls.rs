//! Whom to trust and as whom to appear between machines: rustls, TLS 1.3 only, as both ends are ours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// Certificates, keys or names that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the file is not what is needed.
    #[error("{} holds no usable PEM {what}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// Certificate and key do not belong together, or the key is of an unknown kind.
    #[error("certificate {} and key {} cannot be used together: {reason}", certificate.display(), key.display())]
    Identity {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// What rustls says.
        reason: String,
    },
    /// The name cannot be in a certificate.
    #[error("{name:?} is no server name: write a DNS name or an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// The operating system gives no randomness.
    #[error("TLS cannot be set up: {reason}")]
    Setup {
        /// What rustls says.
        reason: String,
    },
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason| TlsError::Unusable { path: path.to_owned(), what: "certificate", reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("there is none".to_owned()));
    }
    Ok(found)
}

/// A server's identity, from its certificate chain and private key.
pub(crate) fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| TlsError::Unusable {
        path: key.to_owned(),
        what: "private key",
        reason: error.to_string(),
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| TlsError::Setup { reason: error.to_string() })?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| TlsError::Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason: error.to_string(),
        })?;
    // Connections live for days: a session that could be resumed would be state for nothing.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The server's side of one connection.
pub(crate) fn accept(config: &Arc<ServerConfig>) -> Result<rustls::Connection, rustls::Error> {
    ServerConnection::new(config.clone()).map(Into::into)
}

/// What a client trusts: the certificates of these files and nobody else.
pub(crate) fn client(roots: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(roots)? {
        store.add(certificate).map_err(|error| TlsError::Unusable {
            path: roots.to_owned(),
            what: "certificate",
            reason: error.to_string(),
        })?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| TlsError::Setup { reason: error.to_string() })?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A name as certificates have it.
pub(crate) fn name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name { name: name.to_owned() })
}

/// The client's side of one connection.
pub(crate) fn connect(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<rustls::Connection, rustls::Error> {
    ClientConnection::new(config.clone(), name).map(Into::into)
}
