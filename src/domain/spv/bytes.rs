//! A cursor over bytes from outside that cannot be talked into taking memory it does not have the bytes for.

/// The input ended early, or spelt a length in a longer way than it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// Fewer bytes remain than are asked for or announced.
    Truncated,
    /// A `CompactSize` written with more bytes than its value needs.
    NonCanonicalCount,
}

/// What remains to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(ReadError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A `CompactSize` number, in its shortest form only.
    pub(super) fn compact(&mut self) -> Result<u64, ReadError> {
        let [first] = self.array()?;
        let (value, least) = match first {
            0xfd => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            0xfe => (u64::from(self.u32()?), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            return Err(ReadError::NonCanonicalCount);
        }
        Ok(value)
    }

    /// A `CompactSize` count of items of at least `item_bytes` each, refused unless that many bytes remain: after
    /// this, `Vec::with_capacity(count)` is bounded by the size of the input.
    pub(super) fn count(&mut self, item_bytes: usize) -> Result<usize, ReadError> {
        usize::try_from(self.compact()?)
            .ok()
            .filter(|count| count.checked_mul(item_bytes).is_some_and(|need| need <= self.0.len()))
            .ok_or(ReadError::Truncated)
    }
}

/// Appends a count as a `CompactSize` in its shortest form.
pub(super) fn write_count(out: &mut Vec<u8>, count: usize) {
    write_compact(out, count as u64);
}

/// Appends a number as a `CompactSize` in its shortest form.
pub(super) fn write_compact(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xfc => out.push(bytes[0]),
        0xfd..=0xffff => out.extend([&[0xfd], &bytes[..2]].concat()),
        0x1_0000..=0xffff_ffff => out.extend([&[0xfe], &bytes[..4]].concat()),
        _ => out.extend([&[0xff], &bytes[..]].concat()),
    }
}
