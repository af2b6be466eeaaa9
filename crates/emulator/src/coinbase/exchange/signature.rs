//! Signatures of subscriptions to channels that want a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto::hmac;
use serde_json::Value;

use crate::options::Account;

/// Whether a subscribe message carries the account's signature over its own time.
pub(crate) fn is_signed(request: &Value, account: &Account) -> bool {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let timestamp = match &request["timestamp"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return false,
    };
    let (Ok(secret), Ok(signature)) = (STANDARD.decode(&account.secret), STANDARD.decode(text("signature"))) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signed = format!("{timestamp}GET/users/self/verify");
    text("key") == account.key
        && text("passphrase") == account.passphrase
        && hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signature_is_checked_over_the_message_of_the_venue() {
        let account = Account::default();
        let signed = |timestamp: Value, signature: &str| {
            let (key, passphrase) = (&account.key, &account.passphrase);
            json!({"key": key, "passphrase": passphrase, "timestamp": timestamp, "signature": signature})
        };
        let good = "YfAT1S7tYUAqBSL+7TbzDKW4FQjICi6/TFbwrK81Z6I=";
        assert!(is_signed(&signed(json!("1700000000"), good), &account));
        assert!(is_signed(&signed(json!(1_700_000_000), good), &account));
        assert!(!is_signed(&signed(json!("1700000001"), good), &account));
        assert!(!is_signed(&signed(json!("1700000000"), &good.replace('Y', "Z")), &account));
        let mut other = signed(json!("1700000000"), good);
        other["passphrase"] = json!("x");
        assert!(!is_signed(&other, &account));
        assert!(!is_signed(&json!({}), &account));
    }
}
