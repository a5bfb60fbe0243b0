//! Signed requests: a key, a nonce, and a signature over both and the body.

use secp256k1::{Message, PublicKey, ecdsa};
use sha2::{Digest, Sha256};

use crate::domain::hex::{decode_hex, encode_hex};
use crate::error::{Error, Kind, Result};

/// Longest nonce, bytes.
const MAX_NONCE: usize = 200;

/// What a signed request shows.
#[derive(Debug, Clone)]
pub struct Signed<'a> {
    /// Compressed secp256k1 public key, 66 hex digits.
    pub identity_key: &'a str,
    /// What the signer names the request by, and uses once.
    pub nonce: &'a str,
    /// ECDSA signature, DER in hex.
    pub signature: &'a str,
}

/// What is signed: SHA-256 of `Gitdata-Req|v1|<nonce>|<SHA-256 of the body, hex>`.
pub fn digest(nonce: &str, body: &[u8]) -> [u8; 32] {
    let body = encode_hex(&Sha256::digest(body));
    Sha256::digest(format!("Gitdata-Req|v1|{nonce}|{body}")).into()
}

impl Signed<'_> {
    /// Whether the key's holder signed the nonce and `body`.
    ///
    /// # Errors
    /// `signature-invalid`, saying which part is at fault.
    pub fn verify(&self, body: &[u8]) -> Result<()> {
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'|';
        if !(8..=MAX_NONCE).contains(&self.nonce.len()) || !self.nonce.bytes().all(is_plain) {
            return Err(refused(
                "`X-Nonce` must be 8 to 200 visible ASCII characters without `|`, new for each request",
            ));
        }
        let key = decode_hex(self.identity_key).ok().filter(|bytes| bytes.len() == 33);
        let key = key.filter(|_| !self.identity_key.bytes().any(|b| b.is_ascii_uppercase()));
        let key = key.and_then(|bytes| PublicKey::from_slice(&bytes).ok());
        let key = key.ok_or_else(|| {
            refused("`X-Identity-Key` must be a compressed secp256k1 public key, 66 lower-case hex digits")
        })?;
        // 72 bytes are the longest DER of two numbers below the curve's order.
        let der = decode_hex(self.signature).ok().filter(|der| der.len() <= 72);
        let signature = der.and_then(|der| ecdsa::Signature::from_der(&der).ok());
        let mut signature = signature.ok_or_else(|| refused("`X-Signature` must be an ECDSA signature, DER in hex"))?;
        // Of the two signatures that mean the same, some signers make the one that the library does not take.
        signature.normalize_s();
        let message = Message::from_digest(digest(self.nonce, body));
        ecdsa::verify(&signature, message, &key).map_err(|_| {
            refused(
                "`X-Signature` does not sign this nonce and this body with this key: it must sign SHA-256 of \
                     `Gitdata-Req|v1|<nonce>|<SHA-256 of the body, hex>`",
            )
        })
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(Kind::Unauthenticated, "signature-invalid", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secp256k1::SecretKey;

    fn signed(secret: u8, nonce: &str, body: &[u8]) -> (String, String) {
        let secret = SecretKey::from_secret_bytes([secret; 32]).expect("in range");
        let signature = ecdsa::sign(Message::from_digest(digest(nonce, body)), &secret);
        let key = PublicKey::from_secret_key(&secret);
        (encode_hex(&key.serialize()), encode_hex(&signature.serialize_der()))
    }

    #[test]
    fn what_is_signed_is_taken_and_nothing_else() {
        let (nonce, body) = ("nonce-12345", b"{\"a\":1}");
        let (key, signature) = signed(7, nonce, body);
        let good = Signed { identity_key: &key, nonce, signature: &signature };
        assert!(good.verify(body).is_ok());
        let (other_key, other_signature) = signed(8, nonce, body);
        let upper = key.to_uppercase();
        let long = "n".repeat(201);
        let bad = [
            Signed { identity_key: &other_key, ..good.clone() },
            Signed { signature: &other_signature, ..good.clone() },
            Signed { nonce: "nonce-12346", ..good.clone() },
            Signed { nonce: "short", ..good.clone() },
            Signed { nonce: "has a space", ..good.clone() },
            Signed { nonce: "has|a|pipe", ..good.clone() },
            Signed { nonce: &long, ..good.clone() },
            Signed { identity_key: &upper, ..good.clone() },
            Signed { identity_key: "", ..good.clone() },
            Signed { identity_key: &key[..64], ..good.clone() },
            Signed { signature: "", ..good.clone() },
            Signed { signature: "30", ..good.clone() },
            Signed { signature: &signature[..signature.len() - 2], ..good.clone() },
        ];
        for signed in bad {
            assert_eq!(signed.verify(body).expect_err("refused").code(), "signature-invalid", "{signed:?}");
        }
        assert!(good.verify(b"{\"a\":2}").is_err(), "another body");
        assert!(good.verify(b"").is_err(), "no body");
    }

    /// A vector that any implementation of the scheme can be held to.
    #[test]
    fn the_digest_is_the_one_of_the_format() {
        let told = encode_hex(&digest("0123456789abcdef", b"{}"));
        assert_eq!(told, "2724517e5ba553f13c8a314e286d9c82fc793eb5091c852517998b5d1faa5826");
    }
}
