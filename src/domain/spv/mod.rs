//! Simplified payment verification: hashes, headers, Merkle paths, transactions and the on-chain declaration.
//!
//! `room` holds the verbs, `chain` and `declared` the nouns as they are cached, `store` the SQL. Everything else is pure
//! format code: bytes in, facts out, no I/O, no clock, no other module of the project. It reads
//! bytes that strangers sent, so every count is checked against the bytes that remain before memory is taken, and a
//! format that allows two spellings of one thing is read in its one canonical spelling.
//!
//! Formats: block and transaction serialisation as in the Bitcoin developer reference
//! (<https://developer.bitcoin.org/reference/>), Bitcoin white paper section 8 for the proof itself; BUMP, BEEF and the
//! TSC proof as in the documents that their modules name.

pub mod beef;
pub mod bump;
mod bytes;
pub mod chain;
pub mod declaration;
pub mod declared;
pub mod envelope;
pub mod hash;
pub mod header;
pub mod incoming;
pub mod merkle;
#[cfg(test)]
mod real;
mod room;
pub mod source;
mod store;
pub mod tsc;
pub mod tx;
#[cfg(test)]
mod vectors;
pub mod verify;

pub use crate::domain::hex::{HexError, decode_hex, encode_hex};
pub use beef::{Beef, BeefError, BeefTransaction, RootClaim};
pub use bump::{Bump, BumpError};
pub use chain::{Block, View};
pub use declaration::{Declaration, DeclarationError, DeclarationKind};
pub use declared::{Declared, Flaw};
pub use envelope::{BlockRef, Envelope, Proof};
pub use hash::{Hash32, sha256d};
pub use header::{Header, HeaderError};
pub use incoming::{Incoming, IncomingError, ToldBlock};
pub use merkle::{MerkleError, PathStep, Position, merkle_path, merkle_root, root_from_path};
pub use room::Spv;
pub use tsc::{TscError, TscProof, TscTarget};
pub use tx::{Input, Output, Transaction, TxError};
pub use verify::{BestChain, ChainBlock, Checked, Refusal, Verified, verify_envelope};
