//! Transactions: what is parsed is written as the same bytes, and no other bytes are the same transaction.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overlay::domain::spv::{Transaction, TxError, encode_hex, sha256d};
use overlay_fuzz::bounded;

fuzz_target!(|data: &[u8]| {
    let parsed = bounded(data, 8, || Transaction::parse(data));
    assert_eq!(Transaction::from_hex(&encode_hex(data)), parsed);
    let (tx, rest) = match bounded(data, 8, || Transaction::parse_prefix(data)) {
        Ok(found) => found,
        Err(error) => {
            let error = if data.len() == 64 { TxError::SixtyFourBytes } else { error };
            return assert_eq!(parsed, Err(error));
        }
    };
    let raw = &data[..data.len() - rest.len()];
    match rest.len() {
        _ if data.len() == 64 => assert_eq!(parsed, Err(TxError::SixtyFourBytes)),
        0 => assert_eq!(parsed.as_ref(), Ok(&tx)),
        more => assert_eq!(parsed, Err(TxError::TrailingBytes(more))),
    }
    assert_eq!(tx.to_bytes(), raw);
    assert_eq!(tx.txid(), sha256d(raw));
    assert!(!tx.inputs.is_empty() && !tx.outputs.is_empty());
    if raw.len() != 65 {
        assert_eq!(Transaction::parse(&raw[..raw.len() - 1]), Err(TxError::Truncated));
    }
});
