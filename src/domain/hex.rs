//! Bytes as hex.

use serde::{Deserialize, Serialize};

/// Why a text is not the hex it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HexError {
    /// Odd, or not the length the type has.
    #[error("wrong number of hex digits")]
    Length,
    /// A hash in upper or mixed case; see [`Hash32`].
    #[error("hash is not in lower case")]
    UpperCase,
    /// Something else than `0-9a-fA-F`.
    #[error("not a hex digit")]
    Digit,
}

/// Lower-case hex of bytes in the order given.
pub fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Bytes of a hex text, in the order given; both cases are read, as raw bytes are never compared as text.
pub fn decode_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(HexError::Length);
    }
    pairs.iter().map(|&[high, low]| Ok(nibble(high)? << 4 | nibble(low)?)).collect()
}

fn nibble(digit: u8) -> Result<u8, HexError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(HexError::Digit),
    }
}
