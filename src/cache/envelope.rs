//! What Redis holds for a key: a line of JSON that says what the rest includes and for how long, a line of JSON that names
//! its tags where somebody reads them, then the rest. A person reads it with `redis-cli get`.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::entry::now_ms;
use crate::coherence::{Consistency, Epoch, Moment, Slots, Tag, Tags};

/// Most bytes of an envelope. More is not written, and not parsed when somebody else has written it.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// Most bytes that an envelope's clock slots may take before it is taken for garbage.
const MAX_SLOTS: usize = 1 << 20;

/// Number of the format; another one is a miss.
const FORMAT: u8 = 3;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    v: u8,
    /// The key it belongs to: an envelope that was copied under another one is a miss.
    #[serde(borrow)]
    key: Text<'a>,
    epoch: Text<'a>,
    as_of: u64,
    /// The tags' clock slots: whoever only checks need not read the names. Four bytes each, the least significant first, in
    /// base64: as numbers of JSON they take longer to read than all the rest.
    #[serde(borrow)]
    slots: Text<'a>,
    stored_ms: u64,
    soft_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    demand: Option<String>,
    /// Length of all that follows this line, bytes: a truncated one is a miss.
    bytes: usize,
}

/// A text that is copied only where it holds escapes.
#[derive(Serialize, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// When something was made, and when it is due to be made anew.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// ms since 1970.
    pub(super) stored_ms: u64,
    /// Age, ms.
    pub(super) soft_ms: u64,
}

/// The bytes for Redis, of what depends on `slots`, which are those of tags that `names` may tell. `demand` is how fresh the
/// request asked the answer to be, where there was one.
pub(super) fn seal(
    key: &str, moment: Moment, slots: &Slots, names: &[Tag], times: Times, demand: Consistency, body: &[u8],
) -> Vec<u8> {
    let tag_line = serde_json::to_vec(&names.iter().map(Tag::as_str).collect::<Vec<_>>());
    let tag_line = tag_line.expect("texts are JSON");
    let head = Head {
        v: FORMAT,
        key: Text(key.into()),
        epoch: Text(moment.epoch.to_string().into()),
        as_of: moment.as_of,
        slots: Text(URL_SAFE_NO_PAD.encode(slots.iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>()).into()),
        stored_ms: times.stored_ms,
        soft_ms: times.soft_ms,
        demand: (demand != Consistency::Bounded).then(|| demand.to_string()),
        bytes: tag_line.len() + 1 + body.len(),
    };
    let mut out = serde_json::to_vec(&head).expect("texts and numbers are JSON");
    for part in [b"\n", &tag_line[..], b"\n", body] {
        out.extend_from_slice(part);
    }
    out
}

/// An envelope that was read.
pub(super) struct Opened {
    pub(super) moment: Moment,
    pub(super) slots: Slots,
    pub(super) times: Times,
    pub(super) demand: Consistency,
    /// Where the line of tags lies.
    tags: Range<usize>,
    /// Where the rest lies.
    pub(super) body: Range<usize>,
}

impl Opened {
    /// The tags, read from the `bytes` that were opened.
    pub(super) fn tags(&self, bytes: &[u8]) -> Option<Tags> {
        let names: Vec<Text<'_>> = serde_json::from_slice(&bytes[self.tags.clone()]).ok()?;
        let tags = Tags::new(names.iter().map(|name| Tag::new(&*name.0)));
        (*tags.slots() == self.slots).then_some(tags)
    }
}

/// Reads an envelope. `None` for anything that is not exactly what [`seal`] writes for this key.
pub(super) fn open(key: &str, bytes: &[u8]) -> Option<Opened> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let end = memchr::memchr(b'\n', bytes)?;
    let rest = &bytes[end + 1..];
    let head: Head<'_> = serde_json::from_slice(&bytes[..end]).ok()?;
    if head.v != FORMAT || head.key.0 != key || head.bytes != rest.len() || head.slots.0.len() > MAX_SLOTS {
        return None;
    }
    let slots = URL_SAFE_NO_PAD.decode(&*head.slots.0).ok()?;
    let (slots, []) = slots.as_chunks::<4>() else { return None };
    let tags = end + 1..end + 1 + memchr::memchr(b'\n', rest)?;
    Some(Opened {
        moment: Moment { epoch: Epoch::parse(&head.epoch.0)?, as_of: head.as_of },
        slots: Slots::checked(slots.iter().map(|slot| u32::from_le_bytes(*slot)).collect())?,
        // A time in the future (a wrong clock, or garbage) would keep it fresh for ever.
        times: Times { stored_ms: head.stored_ms.min(now_ms()), soft_ms: head.soft_ms },
        demand: head.demand.map_or(Some(Consistency::Bounded), |text| Consistency::parse(&text))?,
        body: tags.end + 1..bytes.len(),
        tags,
    })
}
