//! The cache costs what it should, and never breaks a read.

mod answers;
pub(crate) mod cluster;
mod cost;
mod hygiene;
mod lock;
mod redis;
mod rows;
pub(crate) mod secure;
mod sentinel;
mod unverified;
mod warm;
