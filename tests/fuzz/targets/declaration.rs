//! Declarations: what is parsed is written as the same CBOR, and a script, a transaction and bare CBOR tell the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overlay::domain::spv::{Declaration, DeclarationError, DeclarationKind, Hash32, Input, Output, Transaction};
use overlay_fuzz::bounded;

fuzz_target!(|data: &[u8]| {
    cbor(data);
    script(data);
    made(data);
});

fn cbor(data: &[u8]) {
    let parsed = bounded(data, 4, || Declaration::from_cbor(data));
    // As a push of its own, and in one with the tag.
    let two = [&[0x00, 0x6a, 4], &b"DLM1"[..], &pushed(data)].concat();
    let one = [&[0x6a][..], &pushed(&[b"DLM1", data].concat())].concat();
    for script in [&two[..], &two[1..], &one] {
        assert_eq!(Declaration::from_script(script), parsed.clone().map(Some));
    }
    let Ok(declaration) = parsed else { return };
    let written = declaration.to_cbor();
    assert_eq!(Declaration::from_cbor(&written).as_ref(), Ok(&declaration));
    // The one shape has two freedoms: `p` may come first, and may be there without an id.
    let is_first = data[1..3] == [0x61, b'p'];
    match (declaration.parents.is_empty(), is_first) {
        (false, false) => assert_eq!(written, data),
        (false, true) => assert_eq!(written.len(), data.len()),
        (true, _) => assert!(written.len() == data.len() || written.len() + 3 == data.len()),
    }
}

/// The input as a script, alone and as the output of a transaction after one that says nothing.
fn script(data: &[u8]) {
    let parsed = bounded(data, 64, || Declaration::from_script(data));
    if data.first() == Some(&0x6a) {
        assert_eq!(Declaration::from_script(&[&[0x00], data].concat()), parsed);
    }
    if let Ok(Some(declaration)) = &parsed {
        assert!(data.windows(4).any(|bytes| bytes == b"DLM1"));
        assert!(declaration.to_script().len() <= data.len() + 8);
    }
    let output = |script: &[u8]| Output { satoshis: 0, script: script.to_vec() };
    let input = Input { prev_txid: Hash32::ZERO, prev_vout: 0, script: Vec::new(), sequence: 0 };
    let outputs = vec![output(&[0x51]), output(data)];
    let tx = Transaction { version: 1, inputs: vec![input], outputs, lock_time: 0 };
    assert_eq!(Declaration::find(&tx), parsed.clone().map(|found| found.map(|declaration| (1, declaration))));
    let kind = DeclarationKind::of(&tx);
    match parsed {
        Ok(Some(_)) | Err(DeclarationError::Pushes | DeclarationError::Cbor) => assert_eq!(kind, DeclarationKind::Dlm1),
        Ok(None) => assert_ne!(kind, DeclarationKind::Dlm1),
    }
}

/// A declaration of the input's bytes, 32 at a time.
fn made(data: &[u8]) {
    let Some((manifest_hash, parents)) = data.split_first_chunk::<32>() else { return };
    let declaration = Declaration { manifest_hash: *manifest_hash, parents: parents.as_chunks::<32>().0.to_vec() };
    assert_eq!(Declaration::from_cbor(&declaration.to_cbor()).as_ref(), Ok(&declaration));
    assert_eq!(Declaration::from_script(&declaration.to_script()), Ok(Some(declaration)));
}

/// A push of these bytes in the longest form, which is read as any other.
fn pushed(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("inputs are short");
    [&[0x4e], &length.to_le_bytes()[..], data].concat()
}
