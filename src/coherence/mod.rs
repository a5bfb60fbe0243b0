#![doc = include_str!("README.md")]

mod changes;
mod clock;
mod feed;
#[cfg(test)]
mod model;
mod poll;
pub mod prune;
mod replica;
mod tag;
mod token;
mod wake;

pub use changes::{Change, Changes, Cursor, Missed, Next, Position};
pub use clock::{Clock, Epoch, Moment};
pub use feed::{Config, Feed};
pub use replica::{Config as ReplicaConfig, Replicas, Stats as ReplicaStats, Verdict as ReplicaVerdict};
pub use tag::{Slots, Tag, Tags};
pub use token::{Consistency, Token};
