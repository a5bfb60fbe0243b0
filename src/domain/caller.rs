//! Who asks, and what is noted on their behalf.

use std::sync::Arc;

use crate::cache::Ledger;
use crate::coherence::Consistency;

/// One request's standing. Every verb takes it first.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    ledger: Arc<Ledger>,
    consistency: Consistency,
}

impl Caller {
    /// An anonymous caller: reads are public.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// An anonymous caller whose reads are as fresh as `consistency` asks.
    pub fn reading(consistency: Consistency) -> Self {
        Self { consistency, ..Self::default() }
    }

    /// A caller whose reads all ask PostgreSQL itself, to check what the caches say.
    pub fn audit() -> Self {
        Self { ledger: Arc::new(Ledger::audit()), ..Self::default() }
    }

    /// The same caller, whose reads are as fresh as `consistency` asks.
    #[must_use]
    pub fn with(self, consistency: Consistency) -> Self {
        Self { consistency, ..self }
    }

    /// How fresh the caller's reads were asked to be.
    pub fn consistency(&self) -> Consistency {
        self.consistency
    }

    /// What the request touched so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
