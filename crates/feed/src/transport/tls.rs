//! Whom to trust and as whom to appear: rustls with the ring provider, the public roots, and roots by configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Trust of the client side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM files with root certificates to trust beside the public ones, such as an emulator's or a proxy's.
    pub extra_roots: Vec<PathBuf>,
}

/// A certificate or key cannot be used.
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
    /// The file holds no certificate.
    #[error("{} holds no PEM certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no private key.
    #[error("{} holds no PEM private key: {reason}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A section of the file is not what it claims to be.
    #[error("{}: certificate {number} is not valid: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one in the file, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The certificate and key do not belong together, or the key is of an unknown kind.
    #[error("certificate {} and key {} cannot be used: {source}", certificate.display(), key.display())]
    Identity {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// What a client needs to open TLS connections. Cheap to clone; sessions are resumed across clones.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Reads the extra roots; the public ones are compiled in.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in &options.extra_roots {
            for (index, certificate) in certificates(path)?.into_iter().enumerate() {
                roots.add(certificate).map_err(|error| TlsError::BadCertificate {
                    path: path.clone(),
                    number: index + 1,
                    reason: error.to_string(),
                })?;
            }
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the ring provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// A server's certificate and key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
}

impl TlsServer {
    /// Reads a certificate chain and its private key from PEM files.
    pub fn from_pem(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| TlsError::NoKey { path: key.to_owned(), reason: error.to_string() })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the ring provider has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|source| TlsError::Identity {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The name that a certificate must be for: a DNS name or an address, an IPv6 one without brackets.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// Named rather than taken from the process's default: another crate's features must not change our cryptography.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let mut found = Vec::new();
    for section in CertificateDer::pem_slice_iter(&pem) {
        let number = found.len() + 1;
        let reason = |error: rustls::pki_types::pem::Error| error.to_string();
        found.push(section.map_err(|e| TlsError::BadCertificate {
            path: path.to_owned(),
            number,
            reason: reason(e),
        })?);
    }
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}
