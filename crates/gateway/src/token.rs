//! API tokens: short JWTs signed with Ed25519 (RFC 8037), read as strictly as they are written.
//!
//! There is one algorithm and one spelling of the header, compared as text before anything is parsed, so that no token can
//! choose how it is judged. Every registered claim is required with its type; a claim of another type is an error, not an
//! absent claim. Pure: the time is handed in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use primitives::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::access::Scopes;
use crate::secret::{Root, Secret};

/// The longest life of a token.
pub const TOKEN_MINUTES_MAX: u32 = 60;
/// The life of a token when nothing else is asked for.
pub const TOKEN_MINUTES_DEFAULT: u32 = 10;

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;
const ISSUER: &str = "alphapulse";
const AUDIENCE: &str = "alphapulse-gateway";
/// Longer than any token written here.
const BYTES_MAX: usize = 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    scope: String,
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) user: i64,
    pub(crate) id: String,
    pub(crate) scopes: Scopes,
    pub(crate) issued_s: u64,
    pub(crate) expires_s: u64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("this is no token of this gateway's form")]
    Form,
    #[error("the token's signature is not this gateway's")]
    Signature,
    #[error("the token lacks a claim, or has one of another type")]
    Claims,
    #[error("the token is for somebody else")]
    Audience,
    #[error("the token is not valid yet")]
    Early,
    #[error("the token has expired; make another")]
    Expired,
}

/// Writes and reads tokens.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    header: String,
}

impl Signer {
    pub(crate) fn new(root: &Root) -> Signer {
        let pair = Ed25519KeyPair::from_seed_unchecked(&root.derive("token"));
        Signer { pair: pair.expect("a seed has 32 bytes"), header: URL_SAFE_NO_PAD.encode(HEADER) }
    }

    pub(crate) fn write(&self, grant: &Grant) -> Secret {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: grant.user.to_string(),
            aud: AUDIENCE.to_owned(),
            exp: grant.expires_s,
            nbf: grant.issued_s,
            iat: grant.issued_s,
            jti: grant.id.clone(),
            scope: grant.scopes.to_string(),
        };
        let claims = serde_json::to_string(&claims).expect("claims are plain JSON");
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        Secret::new(format!("{signed}.{signature}"))
    }

    pub(crate) fn read(&self, text: &str, now_s: u64) -> Result<Grant, TokenError> {
        if text.len() > BYTES_MAX {
            return Err(TokenError::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        if header != self.header {
            return Err(TokenError::Form);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Form)?;
        UnparsedPublicKey::new(&ED25519, self.pair.public_key())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Form)?;
        judge(serde_json::from_slice(&claims).map_err(|_| TokenError::Claims)?, now_s)
    }
}

fn judge(claims: Claims, now_s: u64) -> Result<Grant, TokenError> {
    if claims.iss != ISSUER || claims.aud != AUDIENCE {
        return Err(TokenError::Audience);
    }
    if claims.nbf > now_s || claims.iat > now_s {
        return Err(TokenError::Early);
    }
    if claims.exp <= now_s {
        return Err(TokenError::Expired);
    }
    if claims.exp.saturating_sub(claims.iat) > u64::from(TOKEN_MINUTES_MAX) * 60 || claims.jti.is_empty() {
        return Err(TokenError::Claims);
    }
    let user = claims.sub.parse().map_err(|_| TokenError::Claims)?;
    let scopes = claims.scope.parse().map_err(|_| TokenError::Claims)?;
    Ok(Grant { user, id: claims.jti, scopes, issued_s: claims.iat, expires_s: claims.exp })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn signer() -> Signer {
        let folder = tempfile::tempdir().expect("a folder");
        Signer::new(&Root::open(&folder.path().join("keys")).expect("a root"))
    }

    fn grant() -> Grant {
        let scopes = "read,stream".parse().expect("scopes");
        Grant { user: 7, id: "abc".to_owned(), scopes, issued_s: NOW, expires_s: NOW + 600 }
    }

    fn signed(signer: &Signer, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signer.pair.sign(signed.as_bytes())))
    }

    #[test]
    fn what_was_written_is_read_while_it_is_valid() {
        let signer = signer();
        let text = signer.write(&grant());
        assert_eq!(signer.read(text.reveal(), NOW), Ok(grant()));
        assert_eq!(signer.read(text.reveal(), NOW + 599), Ok(grant()));
        assert_eq!(signer.read(text.reveal(), NOW + 600), Err(TokenError::Expired));
        assert_eq!(signer.read(text.reveal(), NOW - 1), Err(TokenError::Early));
        assert_eq!(self::signer().read(text.reveal(), NOW), Err(TokenError::Signature), "another gateway's");
    }

    #[test]
    fn every_changed_character_is_refused() {
        let signer = signer();
        let text = signer.write(&grant()).reveal().to_owned();
        for at in 0..text.len() {
            let old = text.as_bytes()[at];
            let other = if old == b'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(signer.read(&changed, NOW).is_err(), "character {at} changed: {changed}");
            assert!(signer.read(&text[..at], NOW).is_err(), "cut at {at}");
        }
    }

    /// Claims with one of them as another text, or absent when it is empty.
    fn with(claim: &str, value: &str) -> String {
        let all = [
            ("iss", r#""alphapulse""#.to_owned()),
            ("sub", r#""7""#.to_owned()),
            ("aud", r#""alphapulse-gateway""#.to_owned()),
            ("exp", (NOW + 600).to_string()),
            ("nbf", NOW.to_string()),
            ("iat", NOW.to_string()),
            ("jti", r#""abc""#.to_owned()),
            ("scope", r#""read,stream""#.to_owned()),
        ];
        let one = |(name, text): &(&str, String)| match *name == claim {
            true if value.is_empty() => None,
            true => Some(format!("\"{name}\":{value}")),
            false => Some(format!("\"{name}\":{text}")),
        };
        format!("{{{}}}", all.iter().filter_map(one).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn claims_of_another_type_or_absent_are_refused_though_the_signature_is_right() {
        let signer = signer();
        let read = |claims: &str| signer.read(&signed(&signer, HEADER, claims), NOW);
        assert_eq!(read(&with("", "")), Ok(grant()), "the form the others depart from");
        for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope"] {
            for value in ["", "null", "[]", "{}", "true", "1e400", "-1", "1.5", r#"["alphapulse-gateway"]"#] {
                assert!(read(&with(claim, value)).is_err(), "{claim} = {value:?}");
            }
        }
        for claim in ["exp", "nbf", "iat"] {
            for value in [format!("\"{}\"", NOW + 600), format!("[{}]", NOW + 600), format!("{}.0", NOW + 600)] {
                assert_eq!(read(&with(claim, &value)), Err(TokenError::Claims), "{claim} = {value}");
            }
        }
        for (claims, why) in [
            (with("exp", "99999999999"), "a life beyond the longest"),
            (with("iss", r#""somebody""#), "another issuer"),
            (with("aud", r#""another""#), "another audience"),
            (with("sub", r#""root""#), "no user"),
            (with("jti", r#""""#), "no id"),
            (with("scope", r#""root""#), "no scope"),
            (with("", "").replace("\"exp\":", "\"exp\":1,\"exp\":"), "a claim twice"),
            (with("", "").replace('{', "{\"admin\":true,"), "a claim too many"),
        ] {
            assert!(read(&claims).is_err(), "{why}: {claims}");
        }
    }

    #[test]
    fn no_token_chooses_how_it_is_judged() {
        let signer = signer();
        let claims = with("", "");
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"typ":"JWT","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","crit":["b64"]}"#,
            r#"{"alg":["EdDSA"],"typ":"JWT"}"#,
        ] {
            assert_eq!(signer.read(&signed(&signer, header, &claims), NOW), Err(TokenError::Form), "{header}");
        }
        let bare = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(&claims));
        // The public key as an HMAC key: the classic confusion.
        let mac = crate::secret::mac(signer.pair.public_key().as_ref(), &[bare.as_bytes()]);
        for signature in [String::new(), URL_SAFE_NO_PAD.encode(mac), URL_SAFE_NO_PAD.encode([0; 64])] {
            assert!(signer.read(&format!("{bare}.{signature}"), NOW).is_err());
        }
        for text in ["", ".", "..", "...", "a.b.c", &"x".repeat(5000)] {
            assert_eq!(signer.read(text, NOW), Err(TokenError::Form), "{text:.20}");
        }
    }
}
