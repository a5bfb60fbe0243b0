//! The cache costs what it should, and never breaks a read.

mod cost;
mod redis;
