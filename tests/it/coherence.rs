//! A cached answer is never older than it may be, whoever wrote and by whatever way.

mod covered;
mod fresh;
mod history;
mod outage;
mod replica;
mod writes;

pub(crate) use fresh::ASSET;
