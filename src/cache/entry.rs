//! What is kept of a value, in memory and in Redis.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::envelope::{self, Times};
use super::key::{Cached, Known};
use crate::coherence::{Consistency, Moment, Tag, Tags};
use crate::error::{Error, Result};

/// What a loader answers for one key: the value, or its absence, and what it depends on.
pub struct Loaded<V> {
    /// The value; `None` when there is no such thing.
    pub value: Option<V>,
    /// Everything whose change would change the answer, absence included.
    pub tags: Vec<Tag>,
}

/// A cached value: typed by whoever reads it, since memory holds values of many types.
pub(super) struct Entry {
    pub(super) moment: Moment,
    pub(super) tags: Tags,
    /// When it was loaded, ms since 1970.
    pub(super) stored_ms: u64,
    /// Age at which it is due for a refresh, ms.
    pub(super) soft_ms: u64,
    /// Bytes it is taken to occupy in memory.
    pub(super) weight: u64,
    value: Option<Arc<dyn Held>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("moment", &self.moment).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// What is asked of a value by who does not know its type.
trait Held: Any + Send + Sync {
    /// [`Cached::belongs`].
    fn belongs(&self, known: &mut Known<'_>) -> bool;
}

impl<V: Cached> Held for V {
    fn belongs(&self, known: &mut Known<'_>) -> bool {
        Cached::belongs(self, known)
    }
}

/// How an entry stands by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Past its soft TTL: serve and refresh.
    Due,
    /// Past its grace: a miss.
    Over,
}

/// Bytes an entry costs beside its data: key, map slots, tag set, counters. Measured roughly, on the large side.
const OVERHEAD: u64 = 400;

impl Entry {
    pub(super) fn new<V: Cached>(
        moment: Moment, tags: Tags, soft_ms: u64, value: Option<Arc<V>>, bytes: usize,
    ) -> Self {
        Self {
            moment,
            tags,
            stored_ms: now_ms(),
            soft_ms,
            weight: OVERHEAD + 2 * bytes as u64,
            value: value.map(|v| v as _),
        }
    }

    /// The value, if the entry is of the type asked for: `Err(())` tells that it is not.
    pub(super) fn value<V: Cached>(&self) -> Result<Option<Arc<V>>, ()> {
        let value = self.value.clone().map(|v| v as Arc<dyn Any + Send + Sync>);
        value.map(|v| v.downcast::<V>().map_err(|_| ())).transpose()
    }

    /// Whether its value belongs to any collection.
    pub(super) fn is_row(&self) -> bool {
        self.belongs(&mut |_| true)
    }

    /// Whether its value belongs to a collection that is `known`. What is absent belongs to none.
    pub(super) fn belongs(&self, known: &mut Known<'_>) -> bool {
        self.value.as_ref().is_some_and(|value| value.belongs(known))
    }

    pub(super) fn is_negative(&self) -> bool {
        self.value.is_none()
    }

    pub(super) fn age(&self, grace_ms: u64) -> Age {
        let age = now_ms().saturating_sub(self.stored_ms);
        match age {
            _ if age < self.soft_ms => Age::Fresh,
            _ if age < self.soft_ms + grace_ms => Age::Due,
            _ => Age::Over,
        }
    }
}

/// Milliseconds since 1970; shared with other processes through Redis, so it is wall-clock time. A clock that is off
/// makes an entry older or younger than it is, never valid when it is not.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A value as the JSON that Redis keeps.
pub(super) fn data<V: Cached>(value: Option<&V>) -> Result<Vec<u8>> {
    serde_json::to_vec(&value).map_err(Error::internal)
}

/// The bytes of an entry for Redis.
pub(super) fn encode(key: &str, entry: &Entry, data: &[u8]) -> Vec<u8> {
    let times = Times { stored_ms: entry.stored_ms, soft_ms: entry.soft_ms };
    envelope::seal(key, entry.moment, entry.tags.slots(), entry.tags.names(), times, Consistency::Bounded, data)
}

/// Reads an entry back. `None` for anything that is not exactly what [`encode`] writes for this key and a `V`.
pub(super) fn decode<V: Cached>(key: &str, bytes: &[u8]) -> Option<Entry> {
    let opened = envelope::open(key, bytes)?;
    let tags = opened.tags(bytes)?;
    let data = &bytes[opened.body];
    let value: Option<V> = serde_json::from_slice(data).ok()?;
    if value.is_none() && !V::MAY_BE_ABSENT {
        return None;
    }
    let entry = Entry::new(opened.moment, tags, opened.times.soft_ms, value.map(Arc::new), data.len());
    Some(Entry { stored_ms: opened.times.stored_ms, ..entry })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::cache::ttl::Kind;
    use crate::coherence::Epoch;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Noun(String);

    impl Cached for Noun {
        const KIND: Kind = Kind::Asset;
    }

    #[derive(Serialize, Deserialize)]
    struct Count(u8);

    impl Cached for Count {
        const KIND: Kind = Kind::Listing;
        const MAY_BE_ABSENT: bool = false;
    }

    fn bytes(value: Option<Noun>) -> Vec<u8> {
        let data = data(value.as_ref()).expect("serializes");
        let moment = Moment { epoch: Epoch::new("a", "b", "c"), as_of: 42 };
        let tags = Tags::new([Tag::new("asset:1"), Tag::new("lineage@a\n\"b")]);
        encode("k", &Entry::new(moment, tags, 1000, value.map(Arc::new), data.len()), &data)
    }

    #[test]
    fn an_entry_survives_the_journey() {
        for value in [None, Some("x\ny\0z")] {
            let entry = decode::<Noun>("k", &bytes(value.map(|v| Noun(v.into())))).expect("reads");
            assert_eq!(entry.moment.as_of, 42);
            assert_eq!(entry.tags.names().len(), 2);
            assert_eq!(entry.value::<Noun>().expect("type").as_deref(), value.map(|v| Noun(v.into())).as_ref());
        }
    }

    #[test]
    fn what_is_never_absent_is_not_read_as_absent() {
        assert!(decode::<Noun>("k", &bytes(None)).is_some());
        assert!(decode::<Count>("k", &bytes(None)).is_none());
    }

    #[test]
    fn truncated_foreign_and_garbage_is_a_miss() {
        let whole = bytes(Some(Noun("value".into())));
        for cut in 0..whole.len() {
            assert!(decode::<Noun>("k", &whole[..cut]).is_none(), "cut at {cut}");
        }
        assert!(decode::<Noun>("another", &whole).is_none());
        assert!(decode::<Noun>("k", b"").is_none());
        assert!(decode::<Noun>("k", b"{}\nnull").is_none());
        assert!(decode::<Noun>("k", b"\xff\xfe\n\0").is_none());
    }

    #[test]
    fn a_time_in_the_future_is_cut_to_now() {
        let text = String::from_utf8(bytes(None)).expect("text");
        let stored = text.split("\"storedMs\":").nth(1).and_then(|t| t.split(',').next()).expect("field").to_owned();
        let forged = text.replace(&stored, "99999999999999");
        let entry = decode::<Noun>("k", forged.as_bytes()).expect("reads");
        assert!(entry.stored_ms <= now_ms());
    }
}
