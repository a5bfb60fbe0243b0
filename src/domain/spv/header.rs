//! The 80-byte block header and its proof of work.
//!
//! Layout (<https://developer.bitcoin.org/reference/block_chain.html#block-headers>), little-endian:
//! version 4, previous hash 32, Merkle root 32, time 4, nBits 4, nonce 4.

use serde::{Deserialize, Serialize};

use super::{
    HexError,
    bytes::Reader,
    decode_hex,
    hash::{Hash32, sha256d},
};

/// A block header, any 80 bytes; whether they are worth anything is [`Header::meets_target`] and the best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Block version and signalling bits.
    pub version: u32,
    /// Hash of the header before this one.
    pub prev_hash: Hash32,
    /// Root of the tree over the block's transaction ids.
    pub merkle_root: Hash32,
    /// Unix seconds, as the miner claims.
    pub time: u32,
    /// Target in compact form, see [`Header::target`].
    pub bits: u32,
    /// What the miner varied.
    pub nonce: u32,
}

/// Why bytes are not a header, or its target is not a number a hash can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HeaderError {
    /// Not hex at all.
    #[error("block header is not hex: {0}")]
    NotHex(#[from] HexError),
    /// Not exactly [`Header::SIZE`] bytes.
    #[error("block header has {0} bytes, not 80")]
    Size(usize),
    /// Not the header of the block that is named beside it.
    #[error("block header is of another block than the one named beside it")]
    OtherBlock,
    /// nBits with the sign bit set.
    #[error("target is negative")]
    NegativeTarget,
    /// nBits beyond 256 bits.
    #[error("target overflows 256 bits")]
    TargetOverflow,
    /// nBits of value zero, which no hash can meet.
    #[error("target is zero")]
    ZeroTarget,
}

impl Header {
    /// Bytes of a serialised header.
    pub const SIZE: usize = 80;

    /// Reads exactly [`Header::SIZE`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let size = |_| HeaderError::Size(bytes.len());
        if bytes.len() != Self::SIZE {
            return Err(HeaderError::Size(bytes.len()));
        }
        let mut reader = Reader(bytes);
        Ok(Self {
            version: reader.u32().map_err(size)?,
            prev_hash: Hash32::from_internal(reader.array().map_err(size)?),
            merkle_root: Hash32::from_internal(reader.array().map_err(size)?),
            time: reader.u32().map_err(size)?,
            bits: reader.u32().map_err(size)?,
            nonce: reader.u32().map_err(size)?,
        })
    }

    /// Reads the hex form an envelope carries.
    pub fn from_hex(text: &str) -> Result<Self, HeaderError> {
        Self::parse(&decode_hex(text)?)
    }

    /// The bytes that are hashed.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..4].copy_from_slice(&self.version.to_le_bytes());
        out[4..36].copy_from_slice(self.prev_hash.as_internal());
        out[36..68].copy_from_slice(self.merkle_root.as_internal());
        out[68..72].copy_from_slice(&self.time.to_le_bytes());
        out[72..76].copy_from_slice(&self.bits.to_le_bytes());
        out[76..].copy_from_slice(&self.nonce.to_le_bytes());
        out
    }

    /// The block hash.
    pub fn hash(&self) -> Hash32 {
        sha256d(&self.to_bytes())
    }

    /// The 256-bit target, most significant byte first.
    ///
    /// nBits is a base-256 float: one byte of exponent (length of the number in bytes), 23 bits of mantissa, and a sign
    /// bit. Refuses what Bitcoin Core's `arith_uint256::SetCompact` flags as negative or overflow, and zero.
    pub fn target(&self) -> Result<[u8; 32], HeaderError> {
        let exponent = (self.bits >> 24) as usize;
        let mantissa = (self.bits & 0x007f_ffff).to_be_bytes();
        let mut target = [0; 32];
        // The mantissa's last byte has weight 256^(exponent - 3); digits left of the point are dropped, as Core does.
        for (place, byte) in mantissa.into_iter().rev().enumerate().filter(|(_, b)| *b != 0) {
            let Some(power) = (exponent + place).checked_sub(3) else {
                continue;
            };
            let index = 31usize.checked_sub(power).ok_or(HeaderError::TargetOverflow)?;
            target[index] = byte;
        }
        if mantissa != [0; 4] && self.bits & 0x0080_0000 != 0 {
            return Err(HeaderError::NegativeTarget);
        }
        if target == [0; 32] {
            return Err(HeaderError::ZeroTarget);
        }
        Ok(target)
    }

    /// Whether the hash, read as a number, is at most the target the header itself names. Whether that target is the
    /// one the network demanded is for the chain to say.
    pub fn meets_target(&self) -> bool {
        self.target().is_ok_and(|target| self.hash().to_display_bytes() <= target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hex::encode_hex;

    /// The header of the genesis block.
    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac7\
                           2c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

    #[test]
    fn genesis_reads_hashes_and_has_its_work() {
        let header = Header::from_hex(GENESIS).unwrap();
        assert_eq!(header.hash().to_string(), "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
        assert_eq!(header.time, 1_231_006_505);
        assert_eq!(header.prev_hash, Hash32::ZERO);
        assert!(header.meets_target());
        assert_eq!(encode_hex(&header.to_bytes()), GENESIS);
        let mut other = header;
        other.nonce += 1;
        assert!(!other.meets_target());
    }

    #[test]
    fn block_100000_hashes() {
        let header = Header {
            version: 1,
            prev_hash: "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250".parse().unwrap(),
            merkle_root: "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766".parse().unwrap(),
            time: 1_293_623_863,
            bits: 0x1b04_864c,
            nonce: 274_148_111,
        };
        assert_eq!(header.hash().to_string(), "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506");
        assert!(header.meets_target());
    }

    #[test]
    fn only_eighty_bytes_are_a_header() {
        assert_eq!(Header::parse(&[0; 79]), Err(HeaderError::Size(79)));
        assert_eq!(Header::parse(&[0; 81]), Err(HeaderError::Size(81)));
        assert_eq!(Header::from_hex("zz"), Err(HeaderError::NotHex(HexError::Digit)));
    }

    #[test]
    fn compact_targets_as_core_reads_them() {
        let target = |bits| {
            let mut header = Header::from_hex(GENESIS).unwrap();
            header.bits = bits;
            header.target().map(|t| encode_hex(&t))
        };
        // The examples of Core's arith_uint256 tests.
        let small = |digits: &str| Ok(format!("{digits:0>64}"));
        assert_eq!(target(0x0112_3456), small("12"));
        assert_eq!(target(0x0212_3456), small("1234"));
        assert_eq!(target(0x0312_3456), small("123456"));
        assert_eq!(target(0x0412_3456), small("12345600"));
        assert_eq!(target(0x0500_9234), small("92340000"));
        assert_eq!(target(0x2012_3456), Ok(format!("{:0<64}", "123456")));
        assert_eq!(target(0x2200_0001), Ok(format!("{:0<64}", "01")));
        for bits in [0xff12_3456, 0x2300_0001, 0x2200_0100, 0x2101_0000] {
            assert_eq!(target(bits), Err(HeaderError::TargetOverflow), "{bits:x}");
        }
        for bits in [0x0492_3456, 0x01fe_dcba] {
            assert_eq!(target(bits), Err(HeaderError::NegativeTarget), "{bits:x}");
        }
        for bits in [0, 0x0012_3456, 0x0100_3456, 0x0480_0000, 0x0600_0000] {
            assert_eq!(target(bits), Err(HeaderError::ZeroTarget), "{bits:x}");
        }
    }
}
