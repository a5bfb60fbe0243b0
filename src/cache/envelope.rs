//! What Redis holds for a key: a line of JSON that says what the rest includes and for how long, then the rest. A person
//! reads it with `redis-cli get`.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::entry::now_ms;
use crate::coherence::{Consistency, Epoch, Moment, Tags};

/// Most bytes of an envelope. More is not written, and not parsed when somebody else has written it.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// Most tags an envelope may have before it is taken for garbage.
const MAX_TAGS: usize = 100_000;

/// Number of the format; another one is a miss.
const FORMAT: u8 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    v: u8,
    /// The key it belongs to: an envelope that was copied under another one is a miss.
    key: Cow<'a, str>,
    epoch: Cow<'a, str>,
    as_of: u64,
    tags: Vec<Cow<'a, str>>,
    stored_ms: u64,
    soft_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    demand: Option<String>,
    /// Length of the rest, bytes: a truncated one is a miss.
    bytes: usize,
}

/// When something was made, and when it is due to be made anew.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// ms since 1970.
    pub(super) stored_ms: u64,
    /// Age, ms.
    pub(super) soft_ms: u64,
}

/// The bytes for Redis. `demand` is how fresh the request asked the answer to be, where there was one.
pub(super) fn seal(key: &str, moment: Moment, tags: &Tags, times: Times, demand: Consistency, body: &[u8]) -> Vec<u8> {
    let head = Head {
        v: FORMAT,
        key: key.into(),
        epoch: moment.epoch.to_string().into(),
        as_of: moment.as_of,
        tags: tags.names().iter().map(|t| t.as_str().into()).collect(),
        stored_ms: times.stored_ms,
        soft_ms: times.soft_ms,
        demand: (demand != Consistency::Bounded).then(|| demand.to_string()),
        bytes: body.len(),
    };
    let mut out = serde_json::to_vec(&head).expect("texts and numbers are JSON");
    out.push(b'\n');
    out.extend_from_slice(body);
    out
}

/// An envelope that was read.
pub(super) struct Opened<'a> {
    pub(super) moment: Moment,
    pub(super) tags: Vec<Cow<'a, str>>,
    pub(super) times: Times,
    pub(super) demand: Consistency,
    /// Where the rest lies.
    pub(super) body: Range<usize>,
}

/// Reads an envelope. `None` for anything that is not exactly what [`seal`] writes for this key.
pub(super) fn open<'a>(key: &str, bytes: &'a [u8]) -> Option<Opened<'a>> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let body = end + 1..bytes.len();
    let head: Head<'_> = serde_json::from_slice(&bytes[..end]).ok()?;
    if head.v != FORMAT || head.key != key || head.bytes != body.len() || head.tags.len() > MAX_TAGS {
        return None;
    }
    Some(Opened {
        moment: Moment { epoch: Epoch::parse(&head.epoch)?, as_of: head.as_of },
        tags: head.tags,
        // A time in the future (a wrong clock, or garbage) would keep it fresh for ever.
        times: Times { stored_ms: head.stored_ms.min(now_ms()), soft_ms: head.soft_ms },
        demand: head.demand.map_or(Some(Consistency::Bounded), |text| Consistency::parse(&text))?,
        body,
    })
}
