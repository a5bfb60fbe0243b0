//! What names a source of an import: the hash of its bytes.

use std::fs::File;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::domain::hex::encode_hex;
use crate::error::{Error, Result};

/// Opens a file, or says which one cannot be opened.
///
/// # Errors
/// `bad-request` with the file's name.
pub fn opened(file: &Path) -> Result<File> {
    File::open(file).map_err(|cause| unreadable(file, &cause))
}

fn unreadable(file: &Path, cause: &std::io::Error) -> Error {
    Error::invalid(format!("{}: {cause}", file.display()))
}

/// SHA-256 of the bytes of files, one after the other, in hex; and how many bytes they are.
///
/// # Errors
/// `bad-request` with the name of the file that cannot be read.
pub fn digest(files: &[&Path]) -> Result<(String, u64)> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    for file in files {
        let read = std::io::copy(&mut opened(file)?, &mut Writer(&mut hash));
        bytes += read.map_err(|cause| unreadable(file, &cause))?;
    }
    Ok((encode_hex(&hash.finalize()), bytes))
}

struct Writer<'a>(&'a mut Sha256);

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
