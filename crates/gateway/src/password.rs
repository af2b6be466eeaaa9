//! Passwords: Argon2id at OWASP's parameters, and how many may be hashed at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::secret::{Secret, random, random_text};

/// The fewest characters a password may have.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// The most bytes a password may have: hashing more would be work for nothing.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Passwords hashed at once: each takes 19 MiB, and a flood of logins must not take more than that twice.
pub(crate) const HASHES_MAX: usize = 2;

/// 19 MiB, two passes, one lane: OWASP's first choice.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A password that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes")]
pub struct PasswordError;

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within the algorithm's");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What is stored of a password.
pub(crate) fn hash(password: &Secret) -> Result<String, PasswordError> {
    let text = password.reveal();
    if text.chars().count() < PASSWORD_CHARS_MIN || text.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError);
    }
    let hashed = hasher().hash_password_with_salt(text.as_bytes(), &random::<16>());
    Ok(hashed.expect("password and salt are within the algorithm's lengths").to_string())
}

/// Whether it is the password that was stored. Without one stored, as long is spent to say no: how long a refusal takes
/// tells nobody which accounts exist.
pub(crate) fn verify(password: &Secret, stored: Option<&str>) -> bool {
    let nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let Ok(parsed) = PasswordHash::new(stored.unwrap_or(nobody)) else { return false };
    let right = password.reveal().len() <= PASSWORD_BYTES_MAX
        && hasher().verify_password(password.reveal().as_bytes(), &parsed).is_ok();
    right && stored.is_some()
}

/// A random password, for those who name none.
pub fn random_password() -> Secret {
    Secret::new(&random_text()[..22])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let password = Secret::new("correct horse battery");
        let stored = hash(&password).expect("long enough");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify(&password, Some(&stored)));
        assert_ne!(hash(&password).expect("long enough"), stored, "salted");
        for (wrong, stored) in [("correct horse batterz", Some(stored.as_str())), ("", Some(&stored)), ("x", None)] {
            assert!(!verify(&Secret::new(wrong), stored));
        }
        assert!(!verify(&password, Some("plain text")));
        assert_eq!(hash(&Secret::new("elevenchars")), Err(PasswordError));
        assert_eq!(hash(&Secret::new("x".repeat(PASSWORD_BYTES_MAX + 1))), Err(PasswordError));
        assert!(hash(&random_password()).is_ok());
    }
}
