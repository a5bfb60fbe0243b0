//! The on-chain declaration of an asset version: `[OP_FALSE] OP_RETURN "DLM1" <cbor>`.
//!
//! The CBOR (RFC 8949) is a map of `mh`, the 32-byte manifest hash, and optionally `p`, an array of 32-byte parent ids.
//! The reader knows this one shape, in definite lengths and shortest heads, keys in either order, nothing twice and
//! nothing else; the writer puts `mh` first. Tag and CBOR may share a push or have one each.

use super::{bytes::Reader, tx::Transaction};

const OP_RETURN: u8 = 0x6a;
const DLM1: &[u8] = b"DLM1";
const TRN1: &[u8] = b"TRN1";
/// CBOR head of a byte string of 32 bytes.
const BYTES_32: [u8; 2] = [0x58, 32];
/// CBOR major types as their head bits.
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;

/// What a version's transaction declares. Ids are SHA-256 in the order the function writes it, which is also how their
/// 64 hex digits read; they are *not* reversed as transaction ids are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// `mh`: the manifest hash, that is the version id.
    pub manifest_hash: [u8; 32],
    /// `p`: version ids of the parents; may be left out although the manifest names some.
    pub parents: Vec<[u8; 32]>,
}

/// What kind of declaration a transaction carries. What it declares of a version counts before all else it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclarationKind {
    /// A dataset or model version, see [`Declaration`].
    Dlm1,
    /// A training record; recognised, not read.
    Trn1,
    /// No tag that is known.
    Unknown,
}

/// Why an output tagged `DLM1` declares nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationError {
    /// More than a tag and a CBOR item, or something that is not a push.
    #[error("declaration is not one push of tag and CBOR, nor one of each")]
    Pushes,
    /// Not the CBOR map that is expected.
    #[error("declaration is not the CBOR map of `mh` and optional `p`")]
    Cbor,
}

impl DeclarationKind {
    /// The name the `declarations` table stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dlm1 => "DLM1",
            Self::Trn1 => "TRN1",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// `DLM1` when any output carries that tag, else the kind of the first that carries a known one.
    pub fn of(tx: &Transaction) -> Self {
        let kind = |script: &[u8]| {
            let first = *pushes(script)?.first()?;
            match first.get(..4)? {
                DLM1 => Some(Self::Dlm1),
                TRN1 => Some(Self::Trn1),
                _ => None,
            }
        };
        let kinds = || tx.outputs.iter().filter_map(|output| kind(&output.script));
        if kinds().any(|kind| kind == Self::Dlm1) { Self::Dlm1 } else { kinds().next().unwrap_or(Self::Unknown) }
    }
}

impl Declaration {
    /// The first output tagged `DLM1` and its index (`vout`); `None` when the transaction has none. One that is tagged
    /// but malformed is an error, not skipped: a later output must not take its place.
    pub fn find(tx: &Transaction) -> Result<Option<(u32, Self)>, DeclarationError> {
        for (vout, output) in (0..).zip(&tx.outputs) {
            if let Some(declaration) = Self::from_script(&output.script)? {
                return Ok(Some((vout, declaration)));
            }
        }
        Ok(None)
    }

    /// Reads a locking script; `None` when it is no data output or has another tag.
    pub fn from_script(script: &[u8]) -> Result<Option<Self>, DeclarationError> {
        let Some(pushes) = pushes(script) else {
            return Ok(None);
        };
        let cbor = match pushes[..] {
            [tag, cbor] if tag == DLM1 => cbor,
            [first] if first.starts_with(DLM1) => &first[DLM1.len()..],
            [first, ..] if first.starts_with(DLM1) => return Err(DeclarationError::Pushes),
            _ => return Ok(None),
        };
        Self::from_cbor(cbor).map(Some)
    }

    /// The locking script we write: `OP_FALSE OP_RETURN`, tag and CBOR in a push each.
    pub fn to_script(&self) -> Vec<u8> {
        let mut script = vec![0x00, OP_RETURN];
        push(&mut script, DLM1);
        push(&mut script, &self.to_cbor());
        script
    }

    /// The CBOR map, `p` only when there are parents.
    pub fn to_cbor(&self) -> Vec<u8> {
        let entries = 1 + u8::from(!self.parents.is_empty());
        let mut out = vec![MAP | entries, TEXT | 2, b'm', b'h'];
        out.extend(BYTES_32);
        out.extend(self.manifest_hash);
        if !self.parents.is_empty() {
            out.extend([TEXT | 1, b'p']);
            let count = self.parents.len() as u64;
            let bytes = count.to_be_bytes();
            match count {
                0..24 => out.push(ARRAY | bytes[7]),
                24..=0xff => out.extend([ARRAY | 24, bytes[7]]),
                0x100..=0xffff => out.extend([&[ARRAY | 25], &bytes[6..]].concat()),
                0x1_0000..=0xffff_ffff => out.extend([&[ARRAY | 26], &bytes[4..]].concat()),
                _ => out.extend([&[ARRAY | 27], &bytes[..]].concat()),
            }
            for parent in &self.parents {
                out.extend(BYTES_32);
                out.extend(parent);
            }
        }
        out
    }

    /// Reads the CBOR map; see the module for how strictly.
    pub fn from_cbor(cbor: &[u8]) -> Result<Self, DeclarationError> {
        let mut reader = Reader(cbor);
        read_map(&mut reader).filter(|_| reader.0.is_empty()).ok_or(DeclarationError::Cbor)
    }
}

fn read_map(reader: &mut Reader<'_>) -> Option<Declaration> {
    let (mut manifest_hash, mut parents) = (None, None);
    for _ in 0..read_head(reader, MAP)? {
        let length = read_head(reader, TEXT)?;
        match reader.take(length).ok()? {
            b"mh" if manifest_hash.is_none() => manifest_hash = Some(read_id(reader)?),
            b"p" if parents.is_none() => {
                let count = read_head(reader, ARRAY)?;
                // Checked before the vector is made: each id takes its head and 32 bytes.
                if count > reader.0.len() / (BYTES_32.len() + 32) {
                    return None;
                }
                parents = Some((0..count).map(|_| read_id(reader)).collect::<Option<_>>()?);
            }
            _ => return None,
        }
    }
    Some(Declaration { manifest_hash: manifest_hash?, parents: parents.unwrap_or_default() })
}

fn read_id(reader: &mut Reader<'_>) -> Option<[u8; 32]> {
    (reader.array().ok()? == BYTES_32).then(|| reader.array().ok())?
}

/// The count of a head of this major type, in its shortest form; counts beyond 65,535 do not fit a map of this use.
fn read_head(reader: &mut Reader<'_>, major: u8) -> Option<usize> {
    let [head] = reader.array().ok()?;
    if head & 0xe0 != major {
        return None;
    }
    let (count, least) = match head & 0x1f {
        small @ 0..24 => (u16::from(small), 0),
        24 => (u16::from(u8::from_be_bytes(reader.array().ok()?)), 24),
        25 => (u16::from_be_bytes(reader.array().ok()?), 0x100),
        _ => return None,
    };
    (count >= least).then_some(usize::from(count))
}

/// The pushes of a data output; `None` when the script is not one, or holds something that is not a push.
fn pushes(script: &[u8]) -> Option<Vec<&[u8]>> {
    let data = match script {
        [0x00, OP_RETURN, data @ ..] | [OP_RETURN, data @ ..] => data,
        _ => return None,
    };
    let mut reader = Reader(data);
    let mut pushes = Vec::new();
    while !reader.0.is_empty() {
        let [opcode] = reader.array().ok()?;
        let length = match opcode {
            0x01..=0x4b => usize::from(opcode),
            0x4c => usize::from(u8::from_le_bytes(reader.array().ok()?)),
            0x4d => usize::from(u16::from_le_bytes(reader.array().ok()?)),
            0x4e => usize::try_from(reader.u32().ok()?).ok()?,
            _ => return None,
        };
        pushes.push(reader.take(length).ok()?);
    }
    Some(pushes)
}

/// Appends the shortest push of these bytes.
fn push(script: &mut Vec<u8>, data: &[u8]) {
    let bytes = (data.len() as u64).to_le_bytes();
    match data.len() {
        0..=0x4b => script.push(bytes[0]),
        0x4c..=0xff => script.extend([0x4c, bytes[0]]),
        0x100..=0xffff => script.extend([&[0x4d], &bytes[..2]].concat()),
        _ => script.extend([&[0x4e], &bytes[..4]].concat()),
    }
    script.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(parents: u8) -> Declaration {
        Declaration { manifest_hash: [7; 32], parents: (0..parents).map(|i| [i; 32]).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        for parents in [0, 1, 2, 23, 24, 255] {
            let declaration = example(parents);
            assert_eq!(Declaration::from_script(&declaration.to_script()), Ok(Some(declaration)));
        }
        let many = Declaration { manifest_hash: [1; 32], parents: vec![[2; 32]; 3000] };
        assert_eq!(Declaration::from_script(&many.to_script()), Ok(Some(many)));
    }

    #[test]
    fn both_forms_with_and_without_op_false() {
        let declaration = example(2);
        let two = declaration.to_script();
        let mut one = vec![0x00, OP_RETURN];
        push(&mut one, &[DLM1, &declaration.to_cbor()].concat());
        for script in [&two[..], &two[1..], &one[..], &one[1..]] {
            assert_eq!(Declaration::from_script(script), Ok(Some(declaration.clone())));
        }
        assert_eq!(two[..7], *b"\x00\x6a\x04DLM1");
        assert_eq!(declaration.to_cbor()[..6], [0xa2, 0x62, b'm', b'h', 0x58, 0x20]);
    }

    #[test]
    fn what_is_declared_of_a_version_counts_before_all_else() {
        let output = |script: Vec<u8>| super::super::Output { satoshis: 0, script };
        let training = vec![OP_RETURN, 4, b'T', b'R', b'N', b'1'];
        let both = vec![output(training.clone()), output(example(0).to_script())];
        let tx = |outputs| Transaction { version: 1, inputs: vec![], outputs, lock_time: 0 };
        assert_eq!(DeclarationKind::of(&tx(both)), DeclarationKind::Dlm1);
        assert_eq!(DeclarationKind::of(&tx(vec![output(vec![]), output(training)])), DeclarationKind::Trn1);
        assert_eq!(DeclarationKind::of(&tx(vec![])), DeclarationKind::Unknown);
    }

    #[test]
    fn other_outputs_declare_nothing() {
        let p2pkh = [&[0x76, 0xa9, 0x14][..], &[1; 20], &[0x88, 0xac]].concat();
        for script in [&p2pkh[..], &[], &[OP_RETURN], &[0, OP_RETURN, 4, b'D', b'L', b'M', b'2'], &[OP_RETURN, 5, 1]] {
            assert_eq!(Declaration::from_script(script), Ok(None));
        }
    }

    #[test]
    fn malformed_declarations_are_errors() {
        let mut three = example(0).to_script();
        push(&mut three, b"more");
        assert_eq!(Declaration::from_script(&three), Err(DeclarationError::Pushes));
        let good = example(1).to_cbor();
        for length in 0..good.len() {
            assert_eq!(Declaration::from_cbor(&good[..length]), Err(DeclarationError::Cbor));
        }
        let hash = [&[0x58, 32][..], &[7; 32]].concat();
        let mh = [&[0x62, b'm', b'h'][..], &hash].concat();
        let p = [&[0x61, b'p', 0x81][..], &hash].concat();
        let cases = [
            [&good[..], &[0]].concat(),                                      // trailing byte
            [&[0xa2][..], &mh, &mh].concat(),                                // twice
            [&[0xa1][..], &p].concat(),                                      // no mh
            [&[0xa2][..], &mh, &[0x61, b'x'], &hash].concat(),               // unknown key
            [&[0xb8, 1][..], &mh].concat(),                                  // map head not shortest
            [&[0xbf][..], &mh, &[0xff]].concat(),                            // indefinite
            [&[0xa1, 0x62, b'm', b'h', 0x59, 0, 32][..], &[7; 32]].concat(), // length not shortest
            [&[0xa2][..], &mh, &[0x61, b'p', 0x99, 0xff, 0xff]].concat(),    // promises 65,535 parents
            [&[0xa2][..], &mh, &[0x61, b'p', 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(),
            [&[0xa1, 0x62, b'm', b'h', 0xd8, 0x40][..], &hash].concat(), // tagged
        ];
        for case in cases {
            assert_eq!(Declaration::from_cbor(&case), Err(DeclarationError::Cbor), "{case:?}");
        }
        assert!(Declaration::from_cbor(&[&[0xa2][..], &p, &mh].concat()).is_ok());
    }
}
