//! The secret that a relay and its clients on other machines share.
//!
//! It comes from a file that only its owner can read, is compared in constant time, and shows in no log and no message.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// The fewest bytes a token may have: 128 bits of randomness as hexadecimal text.
pub const TOKEN_BYTES_MIN: usize = 32;
/// The most bytes a token may have.
pub const TOKEN_BYTES_MAX: usize = 512;

/// A shared secret of printable ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}; make one with: (umask 077; openssl rand -hex 32 > FILE)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("the token file {} may be read by others (mode {mode:o}): chmod 600 it, and make a new token", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The token is no token.
    #[error(
        "the token in {} must be one line of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} printable ASCII characters without \
         blanks: make one with: (umask 077; openssl rand -hex 32 > FILE)",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// Reads the one line of a file that nobody but its owner can read.
    pub fn read(path: &Path) -> Result<Token, TokenError> {
        let failed = |source| TokenError::Read { path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Readable { path: path.to_owned(), mode });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Token::new(text.trim_end_matches(['\r', '\n'])).ok_or_else(|| TokenError::Unusable { path: path.to_owned() })
    }

    /// A token, if the text can be one.
    pub fn new(text: &str) -> Option<Token> {
        let usable = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Token(text.to_owned()))
    }

    /// Whether `given` is this token, in a time that says nothing of how much of it was right.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The secret itself, for the line that is sent over TLS.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("a mode");
        file
    }

    #[test]
    fn a_token_is_read_from_a_file_that_nobody_else_reads() {
        let secret = "0123456789abcdef0123456789abcdef";
        let token = Token::read(file(&format!("{secret}\n"), 0o600).path()).expect("a token");
        assert!(token.is(secret));
        assert!(!token.is(&secret[1..]));
        assert!(!token.is("0123456789abcdef0123456789abcdeX"));
        assert_eq!(format!("{token:?}"), "Token(…)");
        for (text, mode, words) in [
            (secret, 0o640, "chmod 600"),
            (secret, 0o604, "chmod 600"),
            ("short", 0o600, "32 to 512"),
            ("", 0o600, "32 to 512"),
            ("0123456789abcdef 0123456789abcdef", 0o600, "32 to 512"),
        ] {
            let error = Token::read(file(text, mode).path()).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
            assert!(text.len() < 32 || !error.contains(text), "the message shows the secret: {error}");
        }
        let error = Token::read(Path::new("/no/such/token")).expect_err("no file").to_string();
        assert!(error.contains("/no/such/token") && error.contains("openssl rand"), "{error}");
    }
}
