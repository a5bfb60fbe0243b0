//! From the leaves a BUMP names to everything that follows from them.
//!
//! Level by level: what is given and what the level below hashes to must agree, every node on the way up needs its
//! sibling, and the rules of [`super::super::merkle`] about equal partners hold for the tree as a whole.

use std::collections::BTreeSet;

use super::{
    super::merkle::{MerkleError, believed_parent},
    Bump, BumpError, Form, Hash32, Leaf, LeafData, Nodes,
};

impl Bump {
    /// Sorts and checks the leaves of each level, and computes what they leave out.
    pub(super) fn assemble(block_height: u32, mut levels: Vec<Vec<Leaf>>, form: Form) -> Result<Self, BumpError> {
        let whole_block = whole_block_height(&levels);
        let height = whole_block.unwrap_or(levels.len());
        for (level, leaves) in levels.iter_mut().enumerate() {
            leaves.sort_unstable_by_key(|leaf| leaf.offset);
            if let Some([leaf, _]) = leaves.array_windows().find(|[one, next]| one.offset == next.offset) {
                return Err(BumpError::DuplicateOffset { level, offset: leaf.offset });
            }
            if let Some(&Leaf { offset, .. }) = leaves.last()
                && offset >> (height - level) != 0
            {
                return Err(BumpError::OffsetBeyondWidth { level, offset });
            }
        }
        if let [leaves] = &levels[..]
            && let &[leaf @ Leaf { offset: 0, .. }] = &leaves[..]
            && let Some(root) = leaf.hash()
        {
            return Ok(Self { block_height, levels, nodes: Vec::new(), root });
        }

        let level_0 = levels.first().into_iter().flatten();
        let mut climbing: BTreeSet<u64> = level_0.filter_map(|leaf| leaf.hash().map(|_| leaf.offset)).collect();
        let mut nodes = Vec::with_capacity(height);
        let mut computed = Nodes::new();
        let mut end = None;
        for level in 0..height {
            let given = levels.get(level).map_or(&[][..], Vec::as_slice);
            let mut known = computed;
            for leaf in given {
                if form == Form::Exact && level > 0 && !climbing.contains(&(leaf.offset ^ 1)) {
                    return Err(BumpError::NeedlessNode { level, offset: leaf.offset });
                }
                if let Some(hash) = leaf.hash() {
                    learn(&mut known, level, leaf.offset, hash)?;
                }
            }
            let implied = known.last_key_value().map(|(offset, _)| *offset);
            let implied = implied.filter(|last| whole_block.is_some() && last & 1 == 0).map(|last| last + 1);
            let duplicates = given.iter().filter(|leaf| leaf.data == LeafData::Duplicate).map(|leaf| leaf.offset);
            for offset in duplicates.chain(implied) {
                if offset & 1 == 0 {
                    return Err(MerkleError::SelfPaired.into());
                }
                let partner = BumpError::MissingNode { level, offset: offset ^ 1 };
                let hash = *known.get(&(offset ^ 1)).ok_or(partner)?;
                learn(&mut known, level, offset, hash)?;
            }

            if let Some(&alone) = climbing.iter().find(|offset| !known.contains_key(&(*offset ^ 1))) {
                return Err(BumpError::MissingNode { level, offset: alone ^ 1 });
            }
            end = end_of(&known, end)?;
            if level > 0 && end.is_some_and(|last| climbing.range(last + 1..).next().is_some()) {
                return Err(MerkleError::SelfPaired.into());
            }
            computed = Nodes::new();
            for (&offset, &left) in known.iter().filter(|(offset, _)| *offset & 1 == 0) {
                if let Some(&right) = known.get(&(offset ^ 1)) {
                    computed.insert(offset >> 1, believed_parent(left, right)?);
                }
            }
            climbing = climbing.into_iter().map(|offset| offset >> 1).collect();
            end = end.map(|last| last >> 1);
            nodes.push(known);
        }
        // Nodes that nobody needs have a root too, but without a transaction below it proves nothing.
        let root = computed.get(&0).filter(|_| !climbing.is_empty());
        let root = *root.ok_or(MerkleError::NoLeaf)?;
        Ok(Self { block_height, levels, nodes, root })
    }
}

/// Enters a node that must not be another than is known already.
pub(super) fn learn(known: &mut Nodes, level: usize, offset: u64, hash: Hash32) -> Result<(), BumpError> {
    if *known.entry(offset).or_insert(hash) != hash {
        return Err(BumpError::Inconsistent { level, offset });
    }
    Ok(())
}

/// The height of the tree when the only level is all transaction ids of a block of more than two.
fn whole_block_height(levels: &[Vec<Leaf>]) -> Option<usize> {
    let [leaves] = levels else { return None };
    let mut offsets: Vec<u64> = leaves.iter().map(|leaf| leaf.offset).collect();
    offsets.sort_unstable();
    let whole = leaves.len() > 2 && offsets.iter().zip(0..).all(|(offset, place)| *offset == place);
    whole.then(|| (leaves.len() as u64 - 1).ilog2() as usize + 1)
}

/// Offset of the level's last node, once it is known from a node that is paired with itself in this level or below.
/// No node stands behind it, save its own duplicate.
fn end_of(known: &Nodes, end: Option<u64>) -> Result<Option<u64>, MerkleError> {
    let equal = |offset: &u64| offset & 1 == 0 && known.get(&(offset ^ 1)) == known.get(offset);
    let mut end = end;
    for &offset in known.keys().filter(|offset| equal(offset)) {
        if end.is_some_and(|last| last != offset) {
            return Err(MerkleError::SelfPaired);
        }
        end = Some(offset);
    }
    let Some(last) = end else { return Ok(None) };
    let allowed = if equal(&last) { last + 1 } else { last };
    match known.last_key_value() {
        Some((&offset, _)) if offset > allowed => Err(MerkleError::SelfPaired),
        _ => Ok(end),
    }
}
