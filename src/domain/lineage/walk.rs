//! Walking a graph breadth first, level by level, within bounds. Where the steps come from is not known here.

use std::collections::{BTreeMap, BTreeSet};

/// How much of a graph is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most nodes, the first one included.
    pub nodes: usize,
    /// Most edges.
    pub edges: usize,
    /// Most bytes of what names the edges.
    pub bytes: usize,
}

/// An edge that leads from a node of the level to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step<N, E> {
    /// The node of the level.
    pub at: N,
    /// Where it leads.
    pub to: N,
    /// The edge itself, which may point either way.
    pub edge: E,
    /// What it takes of the bytes.
    pub bytes: usize,
}

/// What was found so far.
#[derive(Debug, Clone)]
pub struct Walk<N, E> {
    budget: Budget,
    level: Vec<N>,
    depths: BTreeMap<N, u32>,
    edges: BTreeSet<E>,
    bytes: usize,
    depth: u32,
    cut: BTreeSet<N>,
}

impl<N: Ord + Clone, E: Ord> Walk<N, E> {
    /// A walk that begins at these nodes.
    pub fn from(starts: impl IntoIterator<Item = N>, budget: Budget) -> Self {
        let (mut depths, mut cut) = (BTreeMap::new(), BTreeSet::new());
        for start in starts {
            if depths.len() < budget.nodes {
                depths.insert(start, 0);
            } else {
                cut.insert(start);
            }
        }
        let level = depths.keys().cloned().collect();
        Self { budget, level, depths, edges: BTreeSet::new(), bytes: 0, depth: 0, cut }
    }

    /// The nodes whose steps are to be taken next.
    pub fn level(&self) -> &[N] {
        &self.level
    }

    /// How far the level is from the beginning.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether a bound left something out.
    pub fn is_truncated(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Takes the steps of the whole level, the least first, and goes to the next. `unseen` are the nodes of the level
    /// whose steps are not all here.
    pub fn take(&mut self, mut steps: Vec<Step<N, E>>, unseen: impl IntoIterator<Item = N>) {
        steps.sort();
        self.cut.extend(unseen);
        let mut next = BTreeSet::new();
        for Step { at, to, edge, bytes } in steps {
            if self.edges.contains(&edge) {
                continue;
            }
            let is_new = !self.depths.contains_key(&to);
            let fits = self.edges.len() < self.budget.edges
                && self.bytes + bytes <= self.budget.bytes
                && (!is_new || self.depths.len() < self.budget.nodes);
            if !fits {
                self.cut.insert(at);
                continue;
            }
            if is_new {
                self.depths.insert(to.clone(), self.depth + 1);
                next.insert(to);
            }
            self.bytes += bytes;
            self.edges.insert(edge);
        }
        self.level = next.into_iter().collect();
        self.depth += 1;
    }

    /// The walk's end: nodes with their distances, edges, and the nodes whose steps were left out, of which `beyond` are those
    /// of the last level.
    pub fn end(self, beyond: impl IntoIterator<Item = N>) -> Found<N, E> {
        let is_truncated = self.is_truncated();
        let mut frontier = self.cut;
        frontier.extend(beyond);
        Found { depths: self.depths, edges: self.edges, frontier, is_truncated }
    }
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<N, E> {
    /// The nodes, each with its distance from the beginning.
    pub depths: BTreeMap<N, u32>,
    /// The edges that were followed.
    pub edges: BTreeSet<E>,
    /// The nodes that have more edges than are shown, because of a bound or of the depth.
    pub frontier: BTreeSet<N>,
    /// Whether a bound left something out.
    pub is_truncated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Budget = Budget { nodes: 100, edges: 100, bytes: 1_000 };

    fn steps(at: u32, to: &[u32]) -> Vec<Step<u32, (u32, u32)>> {
        to.iter().map(|to| Step { at, to: *to, edge: (at, *to), bytes: 10 }).collect()
    }

    #[test]
    fn a_walk_goes_level_by_level_and_knows_where_it_has_been() {
        let mut walk = Walk::from([1], WIDE);
        walk.take(steps(1, &[2, 3]), []);
        assert_eq!((walk.level(), walk.depth()), (&[2, 3][..], 1));
        walk.take([steps(2, &[3, 4]), steps(3, &[1])].concat(), []);
        assert_eq!(walk.level(), [4]);
        let found = walk.end([4]);
        assert_eq!(found.depths, BTreeMap::from([(1, 0), (2, 1), (3, 1), (4, 2)]));
        assert_eq!(found.edges, BTreeSet::from([(1, 2), (1, 3), (2, 3), (2, 4), (3, 1)]));
        assert_eq!((found.frontier, found.is_truncated), (BTreeSet::from([4]), false));
    }

    #[test]
    fn each_bound_cuts_and_says_where() {
        let cut = |budget: Budget| {
            let mut walk = Walk::from([1], budget);
            walk.take(steps(1, &[2, 3, 4]), []);
            let found = walk.end([]);
            (found.depths.len(), found.edges.len(), found.frontier.into_iter().collect::<Vec<_>>(), found.is_truncated)
        };
        assert_eq!(cut(WIDE), (4, 3, vec![], false));
        assert_eq!(cut(Budget { nodes: 4, edges: 3, bytes: 30 }), (4, 3, vec![], false));
        assert_eq!(cut(Budget { nodes: 3, ..WIDE }), (3, 2, vec![1], true));
        assert_eq!(cut(Budget { edges: 1, ..WIDE }), (2, 1, vec![1], true));
        assert_eq!(cut(Budget { bytes: 29, ..WIDE }), (3, 2, vec![1], true));
        let mut walk = Walk::from([1, 2], Budget { nodes: 1, ..WIDE });
        walk.take(steps(1, &[1]), [1]);
        assert_eq!(walk.end([]).frontier, BTreeSet::from([1, 2]));
    }
}
