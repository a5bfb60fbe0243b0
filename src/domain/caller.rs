//! Who asks, and what is noted on their behalf.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::hex::encode_hex;
use crate::cache::Ledger;
use crate::coherence::Consistency;
use crate::error::{Error, Kind, Result};

/// One request's standing. Every verb takes it first.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    ledger: Arc<Ledger>,
    consistency: Consistency,
    standing: Standing,
    idempotency_key: Option<Arc<str>>,
}

#[derive(Debug, Clone, Default)]
enum Standing {
    #[default]
    Anonymous,
    Known(Identity),
    /// The request names somebody, and does not prove it: reads do not mind.
    Refused(Error),
}

/// Who asks, where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever reaches a server that is being developed with: may do everything.
    Developer,
    /// The holder of a key.
    Signer(Signer),
}

/// The holder of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Compressed secp256k1 public key, 66 hex digits.
    pub key: String,
    /// Whether the key may issue advisories and edit policies.
    pub is_admin: bool,
    /// Whether the request itself is signed, rather than sent within a session.
    pub has_signed: bool,
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

    /// The same caller, known as `identity`; an error says why what the request shows does not prove one.
    #[must_use]
    pub fn known_as(self, identity: Result<Identity>) -> Self {
        let standing = match identity {
            Ok(identity) => Standing::Known(identity),
            Err(error) => Standing::Refused(error),
        };
        Self { standing, ..self }
    }

    /// The same caller, who calls what it wants made `key`: the same again makes nothing new.
    ///
    /// # Errors
    /// `bad-request` unless the key is 1 to 200 visible ASCII characters, and the only one that is named.
    pub fn keyed(self, key: &str) -> Result<Self> {
        let wrong = |why: &str| Err(Error::invalid(format!("`Idempotency-Key` {why}")).hint("Idempotency-Key"));
        if !(1..=200).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("must be 1 to 200 visible ASCII characters");
        }
        if self.idempotency_key.as_deref().is_some_and(|other| other != key) {
            return wrong("is given twice, and not the same");
        }
        Ok(Self { idempotency_key: Some(key.into()), ..self })
    }

    /// The identifier of something the caller wants made: `prefix`, and 32 hex digits. One caller's idempotency key gives the
    /// same identifier each time; without a key it is a new one.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn new_id(&self, prefix: &str) -> Result<String> {
        let who = match self.identity()? {
            Identity::Developer => "developer",
            Identity::Signer(signer) => &signer.key,
        };
        let Some(key) = &self.idempotency_key else { return Ok(format!("{prefix}_{}", Uuid::now_v7().simple())) };
        let digest = Sha256::digest(format!("{prefix}|{who}|{key}"));
        Ok(format!("{prefix}_{}", encode_hex(&digest[..16])))
    }

    /// The error of an idempotency key that stands for something else.
    pub fn reused() -> Error {
        let message = "this Idempotency-Key stands for something else that you asked for: use a new one";
        Error::new(Kind::Invalid, "idempotency-key-reused", message).hint("Idempotency-Key")
    }

    /// Who asks.
    ///
    /// # Errors
    /// `identity-required` when nobody knows; why the request's proof of identity was refused.
    pub fn identity(&self) -> Result<&Identity> {
        match &self.standing {
            Standing::Known(identity) => Ok(identity),
            Standing::Refused(error) => Err(error.clone()),
            Standing::Anonymous => Err(Error::new(
                Kind::Unauthenticated,
                "identity-required",
                "this needs an identity: sign the request (X-Identity-Key, X-Nonce, X-Signature), or open a session and \
                 send `Authorization: Bearer`; a server for development takes everybody's with DEV_IDENTITY=true",
            )),
        }
    }

    /// The key of who asks.
    ///
    /// # Errors
    /// As [`Self::identity`]; `forbidden` for the developer, who has none.
    pub fn signer(&self) -> Result<&Signer> {
        match self.identity()? {
            Identity::Signer(signer) => Ok(signer),
            Identity::Developer => Err(forbidden("the developer's identity has no key: sign the request with one")),
        }
    }

    /// Whether the caller may change something of its own.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn may_write(&self) -> Result<()> {
        self.identity().map(|_| ())
    }

    /// Whether the caller may change what belongs to the holder of `identity_key`.
    ///
    /// # Errors
    /// As [`Self::identity`]; `forbidden` for everybody else.
    pub fn may_write_as(&self, identity_key: &str) -> Result<()> {
        match self.identity()? {
            Identity::Developer => Ok(()),
            Identity::Signer(signer) if signer.key == identity_key => Ok(()),
            Identity::Signer(_) => Err(forbidden("this belongs to the holder of another key, which must sign")),
        }
    }

    /// Whether the caller may issue advisories and edit policies.
    ///
    /// # Errors
    /// As [`Self::identity`]; `forbidden` when its key is not among `ADMIN_IDENTITY_KEYS`.
    pub fn may_administer(&self) -> Result<()> {
        match self.identity()? {
            Identity::Developer => Ok(()),
            Identity::Signer(signer) if signer.is_admin => Ok(()),
            Identity::Signer(_) => Err(forbidden("only the keys of ADMIN_IDENTITY_KEYS may do this")),
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

fn forbidden(message: &'static str) -> Error {
    Error::new(Kind::Forbidden, "forbidden", message)
}
