//! The cache costs what it should, and never breaks a read.

mod answers;
mod cost;
mod redis;
