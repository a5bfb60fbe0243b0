//! Who asks: signed requests, and sessions that one of them opens.
//!
//! A nonce is used up in PostgreSQL, because what it guarantees may not end with Redis. A session is kept in Redis alone, as
//! `sess:<sid>`: when Redis forgets it, its holder signs again.

mod signature;
mod store;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use signature::{Signed, digest};

use crate::cache::Redis;
use crate::db::Db;
use crate::domain::caller::{Caller, Identity, Signer};
use crate::domain::hex::encode_hex;
use crate::error::{Error, Kind, Result};

/// How long a nonce is remembered, seconds. Ten minutes are promised; a day costs little more.
const NONCE_RETENTION_S: i64 = 86_400;

/// Most sessions of one key.
const MAX_SESSIONS: usize = 100;

/// Length of a session's secret: 32 bytes in base64.
const SID_LENGTH: usize = 43;

/// A session that was opened. Its secret is told once.
#[derive(Debug)]
pub struct Opened {
    /// What `Authorization: Bearer` carries.
    pub sid: String,
    /// What is known of it.
    pub session: Session,
}

/// What is known of a session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Names it to its owner, and opens nothing: the first 16 hex digits of SHA-256 of the secret.
    pub session_id: String,
    /// Who opened it.
    pub identity_key: String,
    /// When.
    pub opened_at: DateTime<Utc>,
}

/// A session as Redis holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    identity_key: String,
    opened_at: DateTime<Utc>,
}

impl Held {
    fn session(self, sid: &str) -> Session {
        let session_id = encode_hex(&Sha256::digest(sid)[..8]);
        Session { session_id, identity_key: self.identity_key, opened_at: self.opened_at }
    }
}

/// The room. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    redis: Option<Redis>,
    admins: Arc<BTreeSet<String>>,
    ttl: Duration,
}

impl Sessions {
    /// A room over the database and Redis. The keys `admins` administer; a session ends when it is not used for `ttl`.
    pub fn new(db: Db, redis: Option<Redis>, admins: BTreeSet<String>, ttl: Duration) -> Self {
        Self { db, redis, admins: Arc::new(admins), ttl }
    }

    /// How long a session lasts unused.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Who signed the request, whose nonce is used up by this.
    ///
    /// # Errors
    /// `signature-invalid`; `nonce-used`; what the database answers.
    pub async fn signer(&self, signed: &Signed<'_>, body: &[u8]) -> Result<Identity> {
        signed.verify(body)?;
        // Only now: nobody uses up what is another's.
        if !store::burn(&self.db, signed.identity_key, signed.nonce, NONCE_RETENTION_S).await? {
            let message = "this key has used this nonce before: each request needs a new one";
            return Err(Error::new(Kind::Unauthenticated, "nonce-used", message).hint("X-Nonce"));
        }
        Ok(self.identity(signed.identity_key.to_owned(), true))
    }

    /// Whose session it is; it lasts on from now.
    ///
    /// # Errors
    /// `session-expired` when there is none of that secret; `unavailable` when Redis does not say.
    pub async fn resume(&self, sid: &str) -> Result<Identity> {
        let expired = || {
            let message = "no such session, or it ended: open another with a signed request";
            Error::new(Kind::Unauthenticated, "session-expired", message)
        };
        if sid.len() != SID_LENGTH || !sid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(expired());
        }
        let held = self.redis()?.touch(&key(sid), self.ttl).await.ok_or_else(away)?;
        let held: Held = held.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(expired)?;
        Ok(self.identity(held.identity_key, false))
    }

    /// Opens a session for who signed the request.
    ///
    /// # Errors
    /// `identity-required`; `forbidden` within a session, which opens no other; `too-many-sessions`; `unavailable` when Redis
    /// does not take it.
    pub async fn open(&self, caller: &Caller, now: DateTime<Utc>) -> Result<Opened> {
        let signer = caller.signer()?;
        if !signer.has_signed {
            let message = "a session opens no other: sign this request";
            return Err(Error::new(Kind::Forbidden, "forbidden", message));
        }
        if self.all(&signer.key).await?.len() >= MAX_SESSIONS {
            let message = format!("a key has at most {MAX_SESSIONS} sessions: close one");
            return Err(Error::new(Kind::Conflict, "too-many-sessions", message));
        }
        let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
        // Hashed, so that a UUID's fixed bits do not show and all 256 of the secret are random.
        let sid = URL_SAFE_NO_PAD.encode(Sha256::digest(random.as_flattened()));
        let held = Held { identity_key: signer.key.clone(), opened_at: now };
        let bytes = serde_json::to_vec(&held).map_err(Error::internal)?;
        let redis = self.redis()?;
        redis.hold(&key(&sid), bytes, self.ttl).await.ok_or_else(away)?;
        redis.join(&keys_of(&signer.key), &sid).await.ok_or_else(away)?;
        let session = held.session(&sid);
        Ok(Opened { sid, session })
    }

    /// The caller's sessions that have not ended, the oldest first.
    ///
    /// # Errors
    /// `identity-required`; `unavailable` when Redis does not say.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Session>> {
        let Identity::Signer(signer) = caller.identity()? else { return Ok(Vec::new()) };
        let mut sessions: Vec<Session> = self.all(&signer.key).await?.into_iter().map(|(_, session)| session).collect();
        sessions.sort_by(|a, b| (a.opened_at, &a.session_id).cmp(&(b.opened_at, &b.session_id)));
        Ok(sessions)
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `identity-required`; `not-found`; `unavailable` when Redis does not say.
    pub async fn close(&self, caller: &Caller, session_id: &str) -> Result<Session> {
        let signer = caller.signer()?;
        let mut all = self.all(&signer.key).await?.into_iter();
        let found = all.find(|(_, session)| session.session_id == session_id);
        let absent = || Error::not_found("you have no session of that id").hint("sessionId");
        let (sid, session) = found.ok_or_else(absent)?;
        let redis = self.redis()?;
        redis.release_now(&key(&sid)).await.ok_or_else(away)?;
        redis.leave(&keys_of(&signer.key), &[sid]).await.ok_or_else(away)?;
        Ok(session)
    }

    /// A key's sessions with their secrets. Those that have ended are struck off its list.
    async fn all(&self, identity_key: &str) -> Result<Vec<(String, Session)>> {
        let redis = self.redis()?;
        let sids = redis.members(&keys_of(identity_key)).await.ok_or_else(away)?;
        let (mut found, mut ended) = (Vec::new(), Vec::new());
        for sid in sids {
            match redis.look(&key(&sid)).await.ok_or_else(away)? {
                Some(bytes) => match serde_json::from_slice::<Held>(&bytes) {
                    Ok(held) => found.push((sid.clone(), held.session(&sid))),
                    Err(_) => ended.push(sid),
                },
                None => ended.push(sid),
            }
        }
        if !ended.is_empty() {
            redis.leave(&keys_of(identity_key), &ended).await.ok_or_else(away)?;
        }
        Ok(found)
    }

    fn identity(&self, key: String, has_signed: bool) -> Identity {
        Identity::Signer(Signer { is_admin: self.admins.contains(&key), key, has_signed })
    }

    fn redis(&self) -> Result<&Redis> {
        self.redis.as_ref().ok_or_else(away)
    }
}

fn away() -> Error {
    Error::unavailable("sessions are kept in Redis, which does not answer: sign the request, or try again later")
}

fn key(sid: &str) -> String {
    format!("sess:{sid}")
}

fn keys_of(identity_key: &str) -> String {
    format!("sess:of:{identity_key}")
}
