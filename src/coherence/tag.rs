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

/// The name of one thing that can change. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A tag as the triggers spell it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// What it is a tag of: its leading run of `a-z_`. There are as many as triggers and loaders name.
    pub fn kind(&self) -> &str {
        kind(&self.0)
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

/// The slot of a tag's own name. Processes tell each other slots: another rule needs another number for the format that
/// they are told in.
pub(super) fn slot(name: &str) -> u32 {
    slot_of(name.as_bytes())
}

fn slot_of(name: &[u8]) -> u32 {
    (xxh3_64(name) as usize & (SLOTS - 1)) as u32
}

/// The slot of the wildcard that covers `name`.
fn wildcard_slot(name: &str) -> u32 {
    let kind = kind(name);
    let mut wildcard = [0; 64];
    match wildcard.get_mut(..kind.len() + 2) {
        Some(wildcard) => {
            wildcard[..kind.len()].copy_from_slice(kind.as_bytes());
            wildcard[kind.len()..].copy_from_slice(b":*");
            slot_of(wildcard)
        }
        None => slot(&format!("{kind}:*")),
    }
}

/// The clock slots of a set of tags, wildcards included: all that a check needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(Box<[u32]>);

impl Slots {
    /// The slots of tags by name.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter();
        // As a rule they are of one kind.
        let (mut slots, mut last) = (Vec::with_capacity(names.size_hint().0 + 1), None);
        for name in names {
            slots.push(slot(name));
            // Tags are sorted, so that those of a kind follow each other.
            let kind = kind(name);
            if last.replace(kind) != Some(kind) {
                slots.push(wildcard_slot(name));
            }
        }
        Self::sorted(slots)
    }

    fn sorted(mut slots: Vec<u32>) -> Self {
        slots.sort_unstable();
        slots.dedup();
        Self(slots.into())
    }

    /// Slots as [`Self::iter`] told them, perhaps to another process. `None` when they cannot be such.
    pub fn checked(slots: Vec<u32>) -> Option<Self> {
        let is_sorted = slots.is_sorted_by(|a, b| a < b);
        let are_there = slots.last().is_none_or(|last| (*last as usize) < SLOTS);
        (is_sorted && are_there).then(|| Self(slots.into()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }
}

impl AsRef<Slots> for Slots {
    fn as_ref(&self) -> &Slots {
        self
    }
}

/// The tags of one cached value, with the clock slots to check them by, computed once. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tags(Arc<TagSet>);

#[derive(Debug, Default)]
struct TagSet {
    names: Box<[Tag]>,
    slots: Slots,
}

impl Tags {
    /// A set of tags: duplicates are dropped, the order is by name.
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Self {
        let mut names: Vec<Tag> = tags.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let slots = Slots::of(names.iter().map(Tag::as_str));
        Self(Arc::new(TagSet { names: names.into(), slots }))
    }

    /// All tags of several sets.
    pub fn union(sets: &[&Self]) -> Self {
        match sets {
            [one] => (*one).clone(),
            _ => {
                let mut names: Vec<&Tag> = sets.iter().flat_map(|set| set.names()).collect();
                names.sort_unstable();
                names.dedup();
                let names = names.into_iter().cloned().collect();
                let slots = Slots::sorted(sets.iter().flat_map(|set| set.slots().iter()).collect());
                Self(Arc::new(TagSet { names, slots }))
            }
        }
    }

    /// Whether a tag of this name is in the set.
    pub fn contains(&self, name: &str) -> bool {
        self.names().binary_search_by(|tag| tag.as_str().cmp(name)).is_ok()
    }

    /// The tags by name.
    pub fn names(&self) -> &[Tag] {
        &self.0.names
    }

    /// The wildcards that cover them, one for each kind.
    pub fn wildcards(&self) -> impl Iterator<Item = String> {
        // Tags are sorted, so that those of a kind follow each other.
        self.names().chunk_by(|a, b| a.kind() == b.kind()).map(|tags| format!("{}:*", tags[0].kind()))
    }

    /// Every clock slot a change of these tags would raise, wildcards included.
    pub fn slots(&self) -> &Slots {
        &self.0.slots
    }
}

impl AsRef<Slots> for Tags {
    fn as_ref(&self) -> &Slots {
        self.slots()
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
            assert!(tags.slots().iter().any(|s| s == slot(name)), "{name}");
        }
        assert_eq!(tags.slots().len(), 3);
        let union = Tags::union(&[&tags, &Tags::new(["assets", "asset:1"].map(Tag::new))]);
        assert!(union.contains("asset:1") && !union.contains("asset"));
        assert_eq!(union.names().len(), 3);
        assert_eq!(union.slots().len(), 5);
    }

    /// Processes of two versions share what Redis holds: a slot that moved would leave a change of one unseen by the other.
    #[test]
    fn slots_are_where_they_were() {
        let slots: Vec<_> = Tags::new(["asset:00ff", "headers"].map(Tag::new)).slots().iter().collect();
        assert_eq!(slots, [118_450, 498_214, 650_009, 759_803]);
        assert_eq!(slot(EVERYTHING), 978_189);
        assert_eq!(Slots::checked(slots.clone()).expect("as told").iter().collect::<Vec<_>>(), slots);
        for odd in [vec![2, 1], vec![1, 1], vec![SLOTS as u32]] {
            assert_eq!(Slots::checked(odd), None);
        }
    }

    #[test]
    fn a_kind_of_any_length_has_its_wildcard() {
        for length in [1, 60, 61, 62, 63, 64, 65, 200] {
            let kind = "k".repeat(length);
            assert_eq!(wildcard_slot(&format!("{kind}:1")), slot(&format!("{kind}:*")), "{length}");
        }
    }
}
