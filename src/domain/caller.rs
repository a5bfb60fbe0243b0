//! Who asks, and what is noted on their behalf.

use std::sync::Arc;

use crate::cache::Ledger;
use crate::coherence::Consistency;
use crate::error::{Error, Kind, Result};

/// One request's standing. Every verb takes it first.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    ledger: Arc<Ledger>,
    consistency: Consistency,
    identity: Option<Identity>,
}

/// Who asks, where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever reaches a server that is being developed with: may do everything.
    Developer,
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

    /// The same caller, known as `identity`.
    #[must_use]
    pub fn known_as(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Whether the caller may change something.
    ///
    /// # Errors
    /// `identity-required` when nobody knows who asks.
    pub fn may_write(&self) -> Result<()> {
        match self.identity {
            Some(Identity::Developer) => Ok(()),
            None => Err(Error::new(
                Kind::Unauthenticated,
                "identity-required",
                "writes need an identity; a server for development takes everybody's with DEV_IDENTITY=true",
            )),
        }
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
