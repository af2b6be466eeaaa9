//! Secrets: how they are made, kept, compared and never shown.
//!
//! What a client holds is 256 random bits as text; what is stored is its SHA-256, so that a copy of the database lets
//! nobody in. One file beside the database holds the root from which the keys of tokens and of the audit log are derived,
//! so that neither can be forged from such a copy.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use primitives::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Text that shows in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one place that must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a text.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// HMAC-SHA256.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Compares in a time that says nothing of where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives randomness once it has booted");
    bytes
}

/// 256 random bits as 43 characters fit for cookies, headers and addresses.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// So many random bytes as lower-case hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> String {
    hex(&random::<N>())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What pages must repeat in a header when a session changes something; follows from the cookie, which other sites cannot
/// read.
pub(crate) fn csrf(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(mac(session.as_bytes(), &[b"csrf"]))
}

/// Why the root of the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file cannot be read or made.
    #[error("cannot use the key file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} may be read by others (mode {mode:o}); chmod 600 it, or remove it to have a new one made, which ends all tokens and the proof of the audit log so far", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key.
    #[error("{} does not hold a key of 32 bytes; restore it from a backup", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

/// The root of the keys.
#[derive(Clone)]
pub(crate) struct Root([u8; 32]);

impl Root {
    /// Reads it, or makes it when there is none.
    pub(crate) fn open(path: &Path) -> Result<Root, RootError> {
        let failed = |source| RootError::File { path: path.to_owned(), source };
        match Root::create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(failed),
        }
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(RootError::Readable { path: path.to_owned(), mode });
        }
        let bytes = fs::read(path).map_err(failed)?;
        bytes.try_into().map(Root).map_err(|_| RootError::Unusable { path: path.to_owned() })
    }

    /// Whole or not at all: written beside, then linked under its name, so that two first starts agree on one.
    fn create(path: &Path) -> io::Result<Root> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let key = random::<32>();
        let beside = path.with_extension(random_hex::<8>());
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let made = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&beside, path));
        fs::remove_file(&beside)?;
        made.map(|()| Root(key))
    }

    /// The key for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        mac(&self.0, &[purpose.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_made_once_and_read_by_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let first = Root::open(&path).expect("made").derive("x");
        assert_eq!(Root::open(&path).expect("read").derive("x"), first);
        assert_ne!(Root::open(&path).expect("read").derive("y"), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(matches!(Root::open(&path), Err(RootError::Readable { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&path, "short").expect("written");
        assert!(matches!(Root::open(&path), Err(RootError::Unusable { .. })));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new(random_text());
        assert_eq!(secret.reveal().len(), 43);
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        assert_ne!(csrf(secret.reveal()), csrf("another"));
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"a"));
    }
}
