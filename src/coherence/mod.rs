#![doc = include_str!("README.md")]

mod clock;
mod feed;
#[cfg(test)]
mod model;
pub mod prune;
mod tag;
mod token;
mod wake;

pub use clock::{Clock, Epoch, Moment};
pub use feed::{Config, Feed};
pub use tag::{Slots, Tag, Tags};
pub use token::{Consistency, Token};
