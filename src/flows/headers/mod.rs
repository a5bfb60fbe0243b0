//! Keeping the header mirror: what a source tells is compared with what is known, and a new best chain takes the place of the
//! old one in one transaction. A source that is broken, behind, or of another chain changes nothing.

mod follow;
mod store;

use crate::app::App;
use crate::domain::spv::Hash32;
use crate::domain::spv::source::{self, SourceBlock};
use crate::error::{Error, Kind, Result};

pub use follow::{Follower, Settings};

/// What a source changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The mirror is as the source is.
    Unchanged,
    /// The source ends below the mirror's tip, on the same chain: it is old, and the tip stays.
    Behind,
    /// Another process is at it.
    Busy,
    /// The best chain is another one now.
    Moved {
        /// Blocks that were put on.
        added: usize,
        /// Blocks that were taken off: more than none is a reorg.
        removed: u64,
        /// Height of the tip.
        height: u32,
    },
}

/// The code of a source that cannot be used.
const BROKEN: &str = "broken-header-source";

/// Brings the mirror up to what a source's bytes tell.
///
/// # Errors
/// `broken-header-source` with what is wrong; what the database answers. Nothing is then changed.
pub async fn sync(app: &App, bytes: &[u8]) -> Result<Outcome> {
    let broken = |cause: source::SourceError| Error::new(Kind::Invalid, BROKEN, cause.to_string());
    let anchored = match source::anchor(bytes).map_err(broken)? {
        Some(prev) if prev != Hash32::ZERO => store::height_of(&app.db, prev).await?,
        _ => None,
    };
    let chain = source::best_chain(bytes, anchored).map_err(broken)?;
    let tip = chain.last().ok_or_else(|| Error::new(Kind::Invalid, BROKEN, "the source has no headers"))?;
    // Looked at first, because it is what is found nearly every time, and a transaction would be one for nothing.
    let known = store::tip(&app.db).await?;
    if known.as_ref().is_some_and(|(hash, _)| *hash == tip.hash) {
        return Ok(Outcome::Unchanged);
    }
    let (outcome, _) =
        app.write("headers.sync", move |tx| Box::pin(async move { store::adopt(tx, chain).await })).await?;
    Ok(outcome)
}

/// Where a source's chain leaves the mirror's: the number of blocks, from the bottom, that the mirror's best chain has too.
/// `None` when they have nothing in common.
fn shared(chain: &[SourceBlock], is_known: impl Fn(&Hash32) -> bool) -> Option<usize> {
    chain.iter().rposition(|block| is_known(&block.hash)).map(|at| at + 1)
}
