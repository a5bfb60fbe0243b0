//! Transactions in the legacy serialisation, the one that is hashed to the transaction id.
//!
//! Layout (<https://developer.bitcoin.org/reference/transactions.html#raw-transaction-format>): version 4, count of
//! inputs, inputs, count of outputs, outputs, lock time 4. An input: previous txid 32, output index 4, script with its
//! length, sequence 4. An output: satoshis 8, script with its length. Integers are little-endian, counts `CompactSize`.

use super::{
    HexError,
    bytes::{ReadError, Reader, write_count},
    decode_hex,
    hash::{Hash32, sha256d},
};

/// Bytes of an input with an empty script: what a count of inputs promises at least.
const INPUT_BYTES: usize = 41;
/// Bytes of an output with an empty script.
const OUTPUT_BYTES: usize = 9;
/// All satoshis there will ever be; consensus refuses an output above it.
const MAX_SATOSHIS: u64 = 21_000_000 * 100_000_000;

/// A transaction as its bytes say; nothing is known about its signatures or whether its inputs exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Format version.
    pub version: u32,
    /// What is spent; never empty.
    pub inputs: Vec<Input>,
    /// What is created; never empty.
    pub outputs: Vec<Output>,
    /// Earliest height or time.
    pub lock_time: u32,
}

/// A reference to an output being spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The transaction that created the output; zero in a coinbase.
    pub prev_txid: Hash32,
    /// Which of its outputs.
    pub prev_vout: u32,
    /// Unlocking script.
    pub script: Vec<u8>,
    /// Sequence number.
    pub sequence: u32,
}

/// An amount and who may spend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Amount in satoshis, at most 21 million coins.
    pub satoshis: u64,
    /// Locking script.
    pub script: Vec<u8>,
}

/// Why bytes are not a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Not hex at all.
    #[error("transaction is not hex: {0}")]
    NotHex(#[from] HexError),
    /// Fewer bytes than its counts and lengths promise.
    #[error("transaction ends early, or promises more than its bytes hold")]
    Truncated,
    /// A count in a longer form than it needs: another spelling, and another hash, of the same transaction.
    #[error("a count is not in its shortest form")]
    NonCanonicalCount,
    /// No input, which is also how the segregated-witness and extended formats begin.
    #[error("transaction has no inputs, or is not in the legacy format")]
    NoInputs,
    /// No output.
    #[error("transaction has no outputs")]
    NoOutputs,
    /// An output above all the satoshis there are.
    #[error("output of {0} satoshis is more than exist")]
    ValueOutOfRange(u64),
    /// Bytes after the lock time.
    #[error("{0} bytes follow the transaction")]
    TrailingBytes(usize),
    /// 64 bytes: indistinguishable from an inner Merkle node (CVE-2017-12842).
    #[error("a transaction of 64 bytes cannot be told from a Merkle node")]
    SixtyFourBytes,
}

impl From<ReadError> for TxError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::NonCanonicalCount => Self::NonCanonicalCount,
        }
    }
}

impl Transaction {
    /// Reads a transaction that fills the bytes exactly. Memory taken is proportional to the bytes given.
    pub fn parse(bytes: &[u8]) -> Result<Self, TxError> {
        if bytes.len() == 64 {
            return Err(TxError::SixtyFourBytes);
        }
        match Self::parse_prefix(bytes)? {
            (tx, []) => Ok(tx),
            (_, rest) => Err(TxError::TrailingBytes(rest.len())),
        }
    }

    /// Reads the hex form an envelope carries.
    pub fn from_hex(text: &str) -> Result<Self, TxError> {
        Self::parse(&decode_hex(text)?)
    }

    /// Reads one transaction and returns the bytes after it, for formats that concatenate them. Here 64 bytes are not
    /// refused; who trusts a Merkle path must.
    pub fn parse_prefix(bytes: &[u8]) -> Result<(Self, &[u8]), TxError> {
        let mut reader = Reader(bytes);
        let version = reader.u32()?;

        let count = reader.count(INPUT_BYTES)?;
        if count == 0 {
            return Err(TxError::NoInputs);
        }
        let mut inputs = Vec::with_capacity(count);
        for _ in 0..count {
            inputs.push(Input {
                prev_txid: Hash32::from_internal(reader.array()?),
                prev_vout: reader.u32()?,
                script: script(&mut reader)?,
                sequence: reader.u32()?,
            });
        }

        let count = reader.count(OUTPUT_BYTES)?;
        if count == 0 {
            return Err(TxError::NoOutputs);
        }
        let mut outputs = Vec::with_capacity(count);
        for _ in 0..count {
            let satoshis = reader.u64()?;
            if satoshis > MAX_SATOSHIS {
                return Err(TxError::ValueOutOfRange(satoshis));
            }
            outputs.push(Output { satoshis, script: script(&mut reader)? });
        }

        let lock_time = reader.u32()?;
        Ok((Self { version, inputs, outputs, lock_time }, reader.0))
    }

    /// The bytes that are hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.version.to_le_bytes().to_vec();
        write_count(&mut out, self.inputs.len());
        for input in &self.inputs {
            out.extend(input.prev_txid.as_internal());
            out.extend(input.prev_vout.to_le_bytes());
            write_count(&mut out, input.script.len());
            out.extend(&input.script);
            out.extend(input.sequence.to_le_bytes());
        }
        write_count(&mut out, self.outputs.len());
        for output in &self.outputs {
            out.extend(output.satoshis.to_le_bytes());
            write_count(&mut out, output.script.len());
            out.extend(&output.script);
        }
        out.extend(self.lock_time.to_le_bytes());
        out
    }

    /// The transaction id. Counts are read in their one form only, so this is the hash of the bytes that were parsed.
    pub fn txid(&self) -> Hash32 {
        sha256d(&self.to_bytes())
    }
}

fn script(reader: &mut Reader<'_>) -> Result<Vec<u8>, ReadError> {
    let length = reader.count(1)?;
    reader.take(length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coinbase of the genesis block.
    const GENESIS: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d\
                           0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f\
                           66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0\
                           fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c38\
                           4df7ba0b8d578a4c702b6bf11d5fac00000000";

    #[test]
    fn genesis_coinbase() {
        let tx = Transaction::from_hex(GENESIS).unwrap();
        assert_eq!(tx.txid().to_string(), "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
        assert_eq!(tx.inputs[0].prev_txid, Hash32::ZERO);
        assert_eq!(tx.outputs[0].satoshis, 5_000_000_000);
        assert_eq!(tx.to_bytes(), decode_hex(GENESIS).unwrap());
    }

    #[test]
    fn every_cut_and_every_addition_is_refused() {
        let bytes = decode_hex(GENESIS).unwrap();
        for length in 0..bytes.len() {
            assert!(Transaction::parse(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0, 0]].concat();
        assert_eq!(Transaction::parse(&longer), Err(TxError::TrailingBytes(2)));
        assert_eq!(Transaction::parse_prefix(&longer).unwrap().1, [0, 0]);
    }

    #[test]
    fn counts_are_checked_before_memory_is_taken() {
        // Nine bytes that promise 100,000,000 inputs: 8 GB of `Vec` if believed.
        let mut bytes = vec![1, 0, 0, 0, 0xfe];
        bytes.extend(100_000_000u32.to_le_bytes());
        assert_eq!(bytes.len(), 9);
        assert_eq!(Transaction::parse(&bytes), Err(TxError::Truncated));
        let mut most = vec![1, 0, 0, 0, 0xff];
        most.extend(u64::MAX.to_le_bytes());
        assert_eq!(Transaction::parse(&most), Err(TxError::Truncated));
        // The count itself is what refuses them, not an attempt to read the items.
        assert_eq!(Reader(&bytes[4..]).count(INPUT_BYTES), Err(ReadError::Truncated));
        assert_eq!(Reader(&[2, 0, 0]).count(1), Ok(2));
        assert_eq!(Reader(&[3, 0, 0]).count(1), Err(ReadError::Truncated));
    }

    #[test]
    fn one_spelling_of_a_count() {
        assert_eq!(Reader(&[0xfd, 0xfc, 0]).count(0), Err(ReadError::NonCanonicalCount));
        assert_eq!(Reader(&[0xfe, 0xff, 0xff, 0, 0]).count(0), Err(ReadError::NonCanonicalCount));
        for count in [0, 0xfc, 0xfd, 0xffff, 0x1_0000] {
            let mut out = Vec::new();
            write_count(&mut out, count);
            assert_eq!(Reader(&out).count(0), Ok(count));
        }
    }

    #[test]
    fn what_is_not_a_transaction() {
        let parse = |edit: fn(&mut Transaction)| {
            let mut tx = Transaction::from_hex(GENESIS).unwrap();
            edit(&mut tx);
            Transaction::parse(&tx.to_bytes())
        };
        assert_eq!(parse(|tx| tx.inputs.clear()), Err(TxError::NoInputs));
        assert_eq!(parse(|tx| tx.outputs.clear()), Err(TxError::NoOutputs));
        assert_eq!(parse(|tx| tx.outputs[0].satoshis = u64::MAX), Err(TxError::ValueOutOfRange(u64::MAX)));
        // 60 bytes with empty scripts, so four bytes of script make the forbidden 64.
        let small = |length: usize| {
            let mut tx = Transaction::from_hex(GENESIS).unwrap();
            tx.inputs[0].script.clear();
            tx.outputs[0].script = vec![0x51; length];
            Transaction::parse(&tx.to_bytes())
        };
        assert_eq!(small(4), Err(TxError::SixtyFourBytes));
        assert!(small(3).is_ok() && small(5).is_ok());
        assert_eq!(Transaction::from_hex("0g"), Err(TxError::NotHex(HexError::Digit)));
    }
}
