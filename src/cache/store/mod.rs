//! Where entries are kept: process memory, and Redis for all processes together.

pub(super) mod memory;
pub(super) mod redis;
