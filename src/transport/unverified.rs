//! What is answered while PostgreSQL is away and nothing can be verified: the finished answer, marked as what it is.

use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CONTENT_ENCODING, ETAG};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{Dressed, Finished, etag};
use super::asked::Asked;
use super::front::Front;
use super::opened::Opened;
use super::origin::Origin;
use crate::cache::{Digest, Kept};
use crate::coherence::Consistency;

impl Front {
    /// The kept answer to what is asked, its head written to `head`. Nothing while PostgreSQL answers, and nothing of what could
    /// not be marked.
    pub(super) async fn unverified(
        &self, asked: &Asked<'_>, digest: &Digest, known: Option<Arc<Kept<Finished>>>, opened: &Opened,
        head: &mut Vec<u8>,
    ) -> Option<Dressed> {
        let kept = self.served().answers.last_known(digest, known).await?;
        let origin = Origin::Unverified { age: kept.age().0, elapsed: opened.begun.elapsed() };
        // Nobody is to keep it: it is dressed as for who must have it fresh.
        let conditions = asked.conditions(Consistency::Strong);
        match asked.is_graphql() {
            true => Some(kept.answer.marked(self.http().response_limit)?.dress(&conditions, &origin, head)),
            false => Some(kept.answer.dress(&conditions, &origin, head)),
        }
    }
}

/// An answer of GraphQL.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    extensions: serde_json::Map<String, serde_json::Value>,
}

impl Finished {
    /// The same answer of GraphQL with `extensions.stale`, since its clients do not see headers. `None` when it is not one, or, packed,
    /// larger than `most` bytes.
    fn marked(&self, most: usize) -> Option<Self> {
        let is_packed = self.headers().any(|(name, _)| name == CONTENT_ENCODING);
        let mut unpacked = Vec::new();
        if is_packed {
            GzDecoder::new(&self.body[..]).take(most as u64).read_to_end(&mut unpacked).ok()?;
        }
        let mut told: Told<'_> = serde_json::from_slice(if is_packed { &unpacked } else { &self.body }).ok()?;
        told.extensions.insert("stale".into(), true.into());
        let body = serde_json::to_vec(&told).ok()?;
        let etag = etag(&body);
        let others = self.headers().filter(|(name, _)| *name != CONTENT_ENCODING && *name != ETAG);
        let lines: Vec<_> =
            others.chain([(ETAG.as_str(), &*etag)]).map(|(name, value)| (name, value.as_bytes())).collect();
        Some(Self::of(&lines, Bytes::from(body)))
    }
}
