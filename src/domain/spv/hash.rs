//! 32-byte double-SHA-256 hashes and the two byte orders they live in.
//!
//! Bitcoin hashes bytes in *internal* order and prints them reversed, in *display* order. [`Hash32`] keeps the
//! internal order inside and meets the outside only in display order, so no other code reverses anything.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::domain::hex::{HexError, decode_hex, encode_hex};

/// A transaction id, block hash or Merkle node.
///
/// Text form (`Display`, `FromStr`, serde): display order, exactly 64 lower-case hex digits. One spelling only,
/// because these strings are primary keys and cache keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash32([u8; 32]);

impl Hash32 {
    /// What the first block names as its predecessor, and a coinbase as the transaction it spends.
    pub const ZERO: Self = Self([0; 32]);

    /// From the order in which the hash function writes it and other structures embed it.
    pub const fn from_internal(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The order to hash and serialise in.
    pub const fn as_internal(&self) -> &[u8; 32] {
        &self.0
    }

    /// The order in which the hash reads as a number, most significant byte first.
    pub fn to_display_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.to_display_bytes()))
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash32 {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        if text.len() != 64 {
            return Err(HexError::Length);
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(HexError::UpperCase);
        }
        let mut bytes: [u8; 32] = decode_hex(text)?.try_into().map_err(|_| HexError::Length)?;
        bytes.reverse();
        Ok(Self(bytes))
    }
}

impl Serialize for Hash32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// SHA-256 applied twice: the hash of headers, transactions and Merkle nodes.
pub fn sha256d(bytes: &[u8]) -> Hash32 {
    Hash32(Sha256::digest(Sha256::digest(bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

    #[test]
    fn text_is_the_reverse_of_the_inside() {
        let hash: Hash32 = GENESIS.parse().unwrap();
        assert_eq!(hash.as_internal()[31], 0);
        assert_eq!(hash.as_internal()[0], 0x6f);
        assert_eq!(hash.to_string(), GENESIS);
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{GENESIS}\""));
        assert_eq!(serde_json::from_str::<Hash32>(&json).unwrap(), hash);
        assert_eq!(serde_json::from_value::<Hash32>(GENESIS.into()).unwrap(), hash);
    }

    #[test]
    fn only_one_spelling_is_read() {
        assert_eq!(GENESIS.to_uppercase().parse::<Hash32>(), Err(HexError::UpperCase));
        assert_eq!(GENESIS[2..].parse::<Hash32>(), Err(HexError::Length));
        assert_eq!(format!("{GENESIS}00").parse::<Hash32>(), Err(HexError::Length));
        assert_eq!(GENESIS.replace('9', "g").parse::<Hash32>(), Err(HexError::Digit));
        assert_eq!(decode_hex("0"), Err(HexError::Length));
        assert_eq!(decode_hex("00é"), Err(HexError::Digit));
        assert_eq!(decode_hex("aBFf").unwrap(), [0xab, 0xff]);
    }

    #[test]
    fn double_hash_of_nothing() {
        // Known: SHA-256d of the empty string.
        assert_eq!(
            encode_hex(sha256d(b"").as_internal()),
            "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"
        );
    }
}
