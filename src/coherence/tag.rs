//! Names of things a cached value can depend on.
//!
//! A tag is text as the change feed's triggers write it: `asset:<id>`, `assets@producer:<id>`, `headers`. Its
//! **kind** is its leading run of `a-z_`; `<kind>:*` is the wildcard of the kind, `*` alone means everything.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Number of slots in a clock; a power of two. Two tags in one slot only cause spare misses.
pub(super) const SLOTS: usize = 1 << 20;

/// The tag that stands for everything.
pub(super) const EVERYTHING: &str = "*";

/// The name of one thing that can change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// A tag as the triggers spell it.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The leading run of `a-z_` of a tag's name.
fn kind(name: &str) -> &str {
    let end = name.bytes().position(|b| !(b.is_ascii_lowercase() || b == b'_')).unwrap_or(name.len());
    &name[..end]
}

/// The slot of a tag's own name.
pub(super) fn slot(name: &str) -> u32 {
    (xxh3_64(name.as_bytes()) as usize & (SLOTS - 1)) as u32
}

/// The slot of the wildcard that covers `name`.
fn wildcard_slot(name: &str) -> u32 {
    let kind = kind(name);
    let mut wildcard = String::with_capacity(kind.len() + 2);
    wildcard.push_str(kind);
    wildcard.push_str(":*");
    slot(&wildcard)
}

/// The tags of one cached value, with the clock slots to check them by, computed once. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tags(Arc<TagSet>);

#[derive(Debug, Default)]
struct TagSet {
    names: Box<[Tag]>,
    slots: Box<[u32]>,
}

impl Tags {
    /// A set of tags: duplicates are dropped, the order is by name.
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Self {
        let mut names: Vec<Tag> = tags.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut slots: Vec<u32> = names.iter().flat_map(|t| [slot(&t.0), wildcard_slot(&t.0)]).collect();
        slots.sort_unstable();
        slots.dedup();
        Self(Arc::new(TagSet { names: names.into(), slots: slots.into() }))
    }

    /// The tags by name.
    pub fn names(&self) -> &[Tag] {
        &self.0.names
    }

    /// Every clock slot a change of these tags would raise, wildcards included.
    pub fn slots(&self) -> &[u32] {
        &self.0.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_the_leading_run() {
        assert_eq!(kind("asset:00ff"), "asset");
        assert_eq!(kind("assets@producer:prd_1"), "assets");
        assert_eq!(kind("lineage@s3://bucket:x"), "lineage");
        assert_eq!(kind("policy_runs@asset:1"), "policy_runs");
        assert_eq!(kind("headers"), "headers");
    }

    #[test]
    fn a_set_covers_its_wildcards_and_drops_doubles() {
        let tags = Tags::new(["assets", "assets@producer:1", "assets"].map(Tag::new));
        assert_eq!(tags.names().len(), 2);
        for name in ["assets", "assets@producer:1", "assets:*"] {
            assert!(tags.slots().contains(&slot(name)), "{name}");
        }
        assert_eq!(tags.slots().len(), 3);
    }
}
