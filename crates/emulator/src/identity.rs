//! A certificate of one's own for TLS, made at the first run: a CA that clients can be told to trust, and a server's
//! certificate under it for the venues' own host names and for this machine.
//!
//! The folder appears as a whole or not at all, and what is there is never written again: a client that trusts the CA
//! today trusts it tomorrow. The CA's key signs once and is thrown away, so that nobody can have it sign more.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::error::StartError;
use crate::options::TlsIdentity;

/// Whom the certificate speaks for: the hosts that clients of the four venues have built in, and this machine.
pub const TLS_NAMES: [&str; 23] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "ws.kraken.com",
    "ws-auth.kraken.com",
    "beta-ws.kraken.com",
    "api.kraken.com",
    "stream.binance.com",
    "data-stream.binance.vision",
    "ws-api.binance.com",
    "api.binance.com",
    "data-api.binance.vision",
    "stream.binance.us",
    "api.binance.us",
    "ws-feed.exchange.coinbase.com",
    "ws-direct.exchange.coinbase.com",
    "api.exchange.coinbase.com",
    "advanced-trade-ws.coinbase.com",
    "api.coinbase.com",
    "stream.data.alpaca.markets",
    "data.alpaca.markets",
    "paper-api.alpaca.markets",
    "api.alpaca.markets",
];
const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

/// A server's certificate and the CA that vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIdentity {
    /// PEM file with the CA's certificate: what clients must trust.
    pub authority: PathBuf,
    /// What the server shows.
    pub server: TlsIdentity,
}

impl LocalIdentity {
    /// The identity kept in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be written, or holds a part of an identity only.
    pub fn at(folder: &Path) -> Result<Self, StartError> {
        let failed = |cause| StartError::Identity { path: folder.to_owned(), cause };
        if !folder.exists() {
            make(folder).map_err(failed)?;
        }
        let identity = Self {
            authority: folder.join(AUTHORITY),
            server: TlsIdentity { certificate: folder.join(CERTIFICATE), key: folder.join(KEY) },
        };
        for file in [&identity.authority, &identity.server.certificate, &identity.server.key] {
            fs::metadata(file)
                .map_err(|error| failed(io::Error::new(error.kind(), format!("{}: {error}", file.display()))))?;
        }
        Ok(identity)
    }
}

/// Makes the folder beside its place and moves it there: two servers that start at once end with one identity.
fn make(folder: &Path) -> io::Result<()> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = folder.with_file_name(name);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&draft)?;
    let moved = write(&draft).and_then(|()| match fs::rename(&draft, folder) {
        Err(_) if folder.exists() => Ok(false),
        renamed => renamed.map(|()| true),
    });
    if !matches!(moved, Ok(true)) {
        fs::remove_dir_all(&draft)?;
    }
    moved.map(|_| ())
}

fn write(folder: &Path) -> io::Result<()> {
    let (authority, certificate, key) = sign().map_err(io::Error::other)?;
    for (name, text, mode) in [(AUTHORITY, authority, 0o644), (CERTIFICATE, certificate, 0o644), (KEY, key, 0o600)] {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(folder.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    Ok(())
}

/// PEM texts of the CA, of the server's certificate and of its key.
fn sign() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "AlphaPulse emulator, simulated venues only");
    let authority_key = KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let mut server = CertificateParams::new(TLS_NAMES.map(str::to_owned).to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "AlphaPulse emulator");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok((root.pem(), certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_its_key_is_the_owners_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("state/tls");
        let first = LocalIdentity::at(&folder).expect("made");
        let texts = |identity: &LocalIdentity| {
            [&identity.authority, &identity.server.certificate, &identity.server.key]
                .map(|f| fs::read(f).expect("there"))
        };
        let made = texts(&first);
        let second = LocalIdentity::at(&folder).expect("found");
        assert_eq!((texts(&second), &second), (made, &first));
        let mode = fs::metadata(&first.server.key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let around: Vec<_> = fs::read_dir(home.path().join("state")).expect("there").flatten().collect();
        assert_eq!(around.len(), 1, "no draft is left: {around:?}");
    }

    #[test]
    fn servers_that_start_at_once_share_one_identity() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("tls");
        make(&folder).expect("made");
        let before = fs::read(folder.join(AUTHORITY)).expect("there");
        // The second saw no folder when it looked.
        make(&folder).expect("the loser takes the winner's");
        assert_eq!(fs::read(folder.join(AUTHORITY)).expect("there"), before);
    }

    #[test]
    fn a_part_of_an_identity_is_named() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("tls");
        let identity = LocalIdentity::at(&folder).expect("made");
        fs::remove_file(&identity.server.key).expect("removed");
        let error = LocalIdentity::at(&folder).expect_err("no key").to_string();
        assert!(error.contains("server.key") && error.contains("remove the folder"), "{error}");
        assert!(identity.authority.exists());
    }
}
