//! A cached answer is never older than it may be, whoever wrote and by whatever way.

mod covered;
mod fresh;
mod history;

pub(crate) use fresh::ASSET;
