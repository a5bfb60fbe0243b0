//! How large an answer may become. What is long is counted before it is copied: a time-out does not stop an execution that
//! only copies, and a query of few words may ask for the same text a thousand times.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Kind, Result};

/// Bytes that an answer may still take.
pub(in crate::transport::graphql) struct Room {
    most: usize,
    taken: AtomicUsize,
}

impl Room {
    /// Room for `most` bytes.
    pub(in crate::transport::graphql) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// `response-too-large` when there is no room for them, and from then on.
    pub(in crate::transport::graphql) fn take(&self, bytes: usize) -> Result<()> {
        // Whoever comes late is refused as well: a little after what did not fit would fit.
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken <= self.most { Ok(()) } else { Err(self.too_large()) }
    }

    /// Whether something did not fit.
    pub(in crate::transport::graphql) fn is_exceeded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.most
    }

    /// The error of an answer that does not fit.
    pub(in crate::transport::graphql) fn too_large(&self) -> Error {
        let message = format!("the answer would be larger than {} bytes: ask for less at a time", self.most);
        Error::new(Kind::PayloadTooLarge, "response-too-large", message)
    }
}

/// Bytes, up to a number.
pub(in crate::transport::graphql) struct Writer {
    pub(in crate::transport::graphql) bytes: Vec<u8>,
    most: usize,
}

impl Writer {
    /// Nothing is written yet, `most` bytes may be.
    pub(in crate::transport::graphql) fn new(most: usize) -> Self {
        Self { bytes: Vec::with_capacity(1024), most }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
