//! Identifiers with one spelling.

use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Identity of a published version: the SHA-256 of its canonical manifest.
///
/// Its only text form, in the database, in JSON and on the wire, is 64 lower-case hex digits. Upper case is refused and
/// not folded, so that one version cannot have two cache keys, tags or rows. The order is that of the text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct VersionId([u8; 32]);

/// Why a text is not a [`VersionId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionIdError {
    /// It is not 64 bytes long.
    Length(usize),
    /// The byte at this offset is not one of `0-9a-f`.
    Digit(usize),
}

/// Longest prefix of [`VersionId::prefixed`], bytes.
const MAX_PREFIX: usize = 32;

impl VersionId {
    /// The id of a manifest whose hash is known.
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash, in the order it is written in.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text form behind a prefix of at most [`MAX_PREFIX`] bytes. Keys and tags are made by the ten thousand, and formatting
    /// them takes several times as long.
    ///
    /// # Panics
    /// With a longer prefix.
    pub fn prefixed<T: for<'text> From<&'text str>>(&self, prefix: &str) -> T {
        let mut text = [0; MAX_PREFIX + 64];
        let (start, end) = (prefix.len(), prefix.len() + 64);
        text[..start].copy_from_slice(prefix.as_bytes());
        text[start..end].copy_from_slice(&self.to_hex());
        str::from_utf8(&text[..end]).expect("a text, and hex digits").into()
    }

    /// The text form, as bytes.
    pub fn to_hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

/// What each byte is worth as a lower-case hex digit; more than 15 when it is none.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl FromStr for VersionId {
    type Err = VersionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 {
            return Err(VersionIdError::Length(text.len()));
        }
        let mut hash = [0; 32];
        let mut seen = 0;
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            *byte = high << 4 | low;
            seen |= high | low;
        }
        if seen > 15 {
            let is_digit = |byte: &u8| VALUES[usize::from(*byte)] <= 15;
            return Err(VersionIdError::Digit(text.bytes().take_while(is_digit).count()));
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.to_hex()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({self})")
    }
}

impl fmt::Display for VersionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version id is 64 lower-case hex digits, ")?;
        match self {
            Self::Length(length) => write!(f, "but this is {length} bytes long"),
            Self::Digit(at) => write!(f, "but the byte at offset {at} is not one of 0-9a-f"),
        }
    }
}

impl std::error::Error for VersionIdError {}

impl Serialize for VersionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = VersionId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version id of 64 lower-case hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<VersionId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// SeaORM asks this of every primary key, for databases that number their rows; no number is a version.
impl TryFromU64 for VersionId {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("VersionId"))
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{Value, sea_query::ValueType};

    use super::*;

    const HEX: &str = "00ff0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";

    fn id(text: &str) -> VersionId {
        text.parse().expect("a valid id")
    }

    #[test]
    fn text_and_back() {
        assert_eq!(id(HEX).to_string(), HEX);
        assert_eq!(id(HEX).as_bytes()[..3], [0, 0xff, 1]);
        assert_eq!(VersionId::from_bytes([0xab; 32]).to_string(), "ab".repeat(32));
        assert_eq!(format!("{:?}", id(HEX)), format!("VersionId({HEX})"));
    }

    #[test]
    fn only_one_spelling() {
        assert_eq!(HEX.to_uppercase().parse::<VersionId>(), Err(VersionIdError::Digit(2)));
        assert_eq!("".parse::<VersionId>(), Err(VersionIdError::Length(0)));
        assert_eq!(HEX[1..].parse::<VersionId>(), Err(VersionIdError::Length(63)));
        assert_eq!(format!("{HEX} ").parse::<VersionId>(), Err(VersionIdError::Length(65)));
        assert_eq!(format!("{}g", &HEX[1..]).parse::<VersionId>(), Err(VersionIdError::Digit(63)));
        assert_eq!("é".repeat(32).parse::<VersionId>(), Err(VersionIdError::Digit(0)));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = HEX.to_uppercase().parse::<VersionId>().expect_err("upper case").to_string();
        assert_eq!(error, "a version id is 64 lower-case hex digits, but the byte at offset 2 is not one of 0-9a-f");
    }

    #[test]
    fn the_order_is_that_of_the_text() {
        let mut ids = ["ff", "0a", "a0", "09"].map(|byte| id(&byte.repeat(32)));
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()[..2].to_owned()), ["09", "0a", "a0", "ff"]);
    }

    #[test]
    fn json_is_the_text() {
        let json = serde_json::to_string(&id(HEX)).expect("serialisable");
        assert_eq!(json, format!("\"{HEX}\""));
        assert_eq!(serde_json::from_str::<VersionId>(&json).expect("the same text"), id(HEX));
        assert_eq!(serde_json::from_value::<VersionId>(HEX.into()).expect("an owned text"), id(HEX));
        assert!(serde_json::from_str::<VersionId>(&json.to_uppercase()).is_err());
        assert!(serde_json::from_str::<VersionId>("7").is_err());
    }

    #[test]
    fn the_column_is_the_text() {
        assert_eq!(Value::from(id(HEX)), Value::from(HEX));
        assert_eq!(<VersionId as ValueType>::try_from(Value::from(HEX)).ok(), Some(id(HEX)));
        assert!(<VersionId as ValueType>::try_from(Value::from("x")).is_err());
    }
}
