//! The cache costs what it should, and never breaks a read.

mod answers;
mod cluster;
mod cost;
mod hygiene;
mod lock;
mod redis;
mod secure;
mod sentinel;
mod warm;
