//! Who asks, and what is noted on their behalf.

use std::sync::Arc;

use crate::cache::Ledger;

/// One request's standing. Every verb takes it first.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    ledger: Arc<Ledger>,
}

impl Caller {
    /// An anonymous caller: reads are public.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// What the request touched so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
